"""What a node does about alarms by itself: name members that differ, and take back NOSPACE."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from racos.mvcc.command import Alarm, AlarmKind, AlarmSwitch

CHECK_SECONDS = 1.0
ROOM_SHARE = 5  # that part of the quota must be free: what was refused is likely to fit then


class AlarmKeeper:
    """One per node. `propose` orders a command; nobody waits for what becomes of it."""

    __slots__ = ("_alarms", "_checked_at", "_has_room", "_member_ids", "_own", "_propose", "_quota")

    def __init__(
        self,
        own: int,
        member_ids: Sequence[int],
        alarms: Callable[[], Collection[Alarm]],
        propose: Callable[[AlarmSwitch], object],
        has_room: Callable[[int], bool],
        auto_disarm_quota: int,
    ) -> None:
        """`auto_disarm_quota` in bytes; 0 leaves the alarm to the operator."""
        self._own = Alarm(own, AlarmKind.NOSPACE)
        self._member_ids = member_ids
        self._alarms = alarms
        self._propose = propose
        self._has_room = has_room
        self._quota = auto_disarm_quota
        self._checked_at = 0.0

    def differ(self, lanes: Sequence[int]) -> None:
        """Raise CORRUPT for these members; for none in particular if there are none."""
        for member in [self._member_ids[lane] for lane in lanes] or [0]:
            self._propose(AlarmSwitch(Alarm(member, AlarmKind.CORRUPT), True))

    def tick(self, now: float) -> None:
        """Clear this member's own NOSPACE alarm once there is room again, if that is wanted."""
        if not self._quota or now - self._checked_at < CHECK_SECONDS:
            return
        self._checked_at = now
        if self._own in self._alarms() and self._has_room(self._quota // ROOM_SHARE):
            self._propose(AlarmSwitch(self._own, False))

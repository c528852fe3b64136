"""What a node does about alarms by itself: it names members that differ, and minds NOSPACE."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

from racos.mvcc.command import Alarm, AlarmKind, AlarmSwitch

CHECK_SECONDS = 1.0
ROOM_SHARE = 5  # that part of the quota must be free: what was refused is likely to fit then


class AutoDisarm(NamedTuple):
    """When NOSPACE is taken back without the operator."""

    wanted: bool
    quota_bytes: int  # 0: none


class AlarmKeeper:
    """One per node. `propose` orders a command; nobody waits for what becomes of it. `fits` says
    whether quota and disk allow so many bytes more, `is_short` whether the disk is full."""

    __slots__ = (
        "_alarms",
        "_auto",
        "_checked_at",
        "_fits",
        "_is_short",
        "_member_ids",
        "_own",
        "_propose",
    )

    def __init__(
        self,
        own: int,
        member_ids: Sequence[int],
        alarms: Callable[[], Collection[Alarm]],
        propose: Callable[[AlarmSwitch], object],
        is_short: Callable[[], bool],
        fits: Callable[[int], bool],
        auto: AutoDisarm,
    ) -> None:
        self._own = Alarm(own, AlarmKind.NOSPACE)
        self._member_ids = member_ids
        self._alarms = alarms
        self._propose = propose
        self._is_short = is_short
        self._fits = fits
        self._auto = auto
        self._checked_at = -CHECK_SECONDS

    def differ(self, lanes: Sequence[int]) -> None:
        """Raise CORRUPT for these members; for none in particular if there are none."""
        for member in [self._member_ids[lane] for lane in lanes] or [0]:
            self._propose(AlarmSwitch(Alarm(member, AlarmKind.CORRUPT), True))

    def hurry(self) -> None:
        """Something has changed: do not wait for the next check."""
        self._checked_at -= CHECK_SECONDS

    def tick(self, now: float) -> None:
        """Raise this member's own NOSPACE alarm while the disk is short; clear it once there is
        room again, if that is wanted."""
        if now - self._checked_at < CHECK_SECONDS:
            return
        self._checked_at = now
        if self._is_short():
            if self._own not in self._alarms():
                self._propose(AlarmSwitch(self._own, True))
        elif (
            self._auto.wanted
            and self._own in self._alarms()
            and self._fits(self._auto.quota_bytes // ROOM_SHARE)
        ):
            self._propose(AlarmSwitch(self._own, False))

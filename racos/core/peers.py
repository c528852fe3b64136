"""Who answers: suspicion and slowness of the other replicas.

Both only save time. A wrong suspicion costs a null slot and a proposal again in a later round; it
never harms agreement (docs/protocol.md, rule 2).
"""

from __future__ import annotations

from racos.core.messages import Beat
from racos.core.pace import Smoothed

SUSPICION_TIMES_MAX = 4  # no peer is given more than this much of the configured silence
PENALTY_SECONDS_MIN = 0.25
PENALTY_SECONDS_MAX = 8.0
BEHIND_WINDOWS = 2  # more than one, as beats tell of a frontier that has moved on since


class Peers:
    __slots__ = (
        "_beat_at",
        "_behind",
        "_down",
        "_gaps",
        "_heard",
        "_penalty",
        "_reach",
        "_silent",
        "_slow_until",
        "frontiers",
        "me",
        "suspect_after",
        "total",
        "wholes",
    )

    def __init__(
        self, total: int, me: int, suspect_after: float, now: float, rounds_max: int = 1 << 40
    ) -> None:
        """`rounds_max`: the window, beyond which a replica says nothing."""
        self.total = total
        self.me = me
        self.suspect_after = suspect_after  # seconds of silence
        self._heard = [now] * total
        self._down = [False] * total
        self._beat_at: list[float | None] = [None] * total  # when its last beat came
        self._gaps = [Smoothed() for _ in range(total)]  # between beats
        self._slow_until = [0.0] * total
        self._penalty = [PENALTY_SECONDS_MIN] * total
        self.frontiers = [0] * total  # by their own word; 0: nothing is known
        self._reach = BEHIND_WINDOWS * rounds_max * total  # positions
        self._behind = 0  # bit set of those further below this replica's frontier than that
        self._silent = 0  # bit set of those that say themselves that they have no memory
        self.wholes = [0] * total  # likewise (Beat.whole), as last said since this one started

    def heard(self, peer: int, now: float) -> None:
        self._heard[peer] = now
        self._down[peer] = False

    def beat(self, peer: int, beat: Beat, now: float) -> None:
        """Its regular sign of life came: what it says, and how regular these are."""
        self.frontiers[peer] = beat.frontier
        self.wholes[peer] = beat.whole
        self._silent &= ~(1 << peer)
        last = self._beat_at[peer]
        if last is not None and now - last <= SUSPICION_TIMES_MAX * self.suspect_after:
            self._gaps[peer].add(now - last)
        self._beat_at[peer] = now

    def became_silent(self, peer: int) -> None:
        """It has lost its memory: until its next beat it takes no part, whatever else it sends."""
        self._silent |= 1 << peer
        self.frontiers[peer] = self.wholes[peer] = 0
        self._beat_at[peer] = None

    def note_own_frontier(self, frontier: int) -> None:
        """How far this replica has applied: it tells who is too far behind to take part."""
        self.frontiers[self.me] = frontier
        self._behind = 0
        for peer, other in enumerate(self.frontiers):
            if 0 < other < frontier - self._reach:
                self._behind |= 1 << peer

    def silence(self, peer: int) -> float:
        """Seconds of silence that make it suspect: as configured, more if its beats come unevenly.

        The network between, or its own load, then explains a longer silence.
        """
        longest = SUSPICION_TIMES_MAX * self.suspect_after
        return min(max(self.suspect_after, self._gaps[peer].expected), longest)

    def became_down(self, peer: int) -> None:
        """Its connection broke: no need to wait for silence."""
        self._down[peer] = True
        self._beat_at[peer] = None

    def forgive(self, now: float) -> None:
        """This replica itself was paused: the silence was its own."""
        self._heard = [now] * self.total
        self._beat_at = [None] * self.total

    def mark_slow(self, peer: int, now: float) -> None:
        """Its promise did not come in time: don't wait for it for a while, longer each time."""
        self._slow_until[peer] = now + self._penalty[peer]
        self._penalty[peer] = min(2 * self._penalty[peer], PENALTY_SECONDS_MAX)

    def all_in_time(self) -> None:
        """Everyone's promise came in time."""
        for peer in range(self.total):
            self._penalty[peer] = max(self._penalty[peer] / 2, PENALTY_SECONDS_MIN)

    def suspected(self, now: float) -> int:
        """Bit set of replicas that are silent for too long, by vow, or disconnected."""
        mask = self._silent
        limit = now - self.suspect_after
        for peer in range(self.total):
            if peer == self.me:
                continue
            silent = self._heard[peer] < limit and self._heard[peer] < now - self.silence(peer)
            if self._down[peer] or silent:
                mask |= 1 << peer
        return mask

    def idle(self, now: float) -> int:
        """Bit set of replicas that propose nothing for now: suspected, or too far behind to say
        anything about the present rounds. Their lanes need not hold anybody up."""
        return self.suspected(now) | self._behind

    def absent(self, now: float) -> int:
        """Bit set of replicas not worth waiting for: suspected, behind, or slow lately."""
        mask = self.idle(now)
        for peer in range(self.total):
            if self._slow_until[peer] > now:
                mask |= 1 << peer
        return mask

    def note_own_whole(self, position: int) -> None:
        """This replica durably holds its own fragment of every coded batch below `position`."""
        self.wholes[self.me] = position

    @property
    def whole_everywhere(self) -> int:
        """Below it all replicas say that they hold their own fragments (Beat.whole)."""
        return min(self.wholes)

    @property
    def whole_elsewhere(self) -> int:
        """The same of all others."""
        return min(whole for peer, whole in enumerate(self.wholes) if peer != self.me)

    @property
    def passed_everywhere(self) -> int:
        """Below it all others say that they have applied everything; high if there is nobody."""
        others = [told for peer, told in enumerate(self.frontiers) if peer != self.me]
        return min(others, default=1 << 62)

    def most_advanced(self) -> int | None:
        """The connected peer that has applied most, None if none is ahead of nothing."""
        best = None
        for peer in range(self.total):
            if peer == self.me or self._down[peer]:
                continue
            if best is None or self.frontiers[peer] > self.frontiers[best]:
                best = peer
        return best

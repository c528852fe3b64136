"""Who proposes to switch lanes off and on, and when (docs/protocol.md, lanes that are off).

A lane whose owner has been suspect for long is switched off, so that its slots cost nothing; an
owner that is back, and as far as the others, asks for its lane in every beat. Either is proposed by
the first replica that answers and whose own lane is on; the next ones take over one after the
other if nothing comes of it. None of this matters to safety: see `racos.core.config`.
"""

from __future__ import annotations

from racos.core.config import Change, Config, Configs
from racos.core.messages import Beat
from racos.core.quorum import Quorum

TAKE_OVER_SECONDS = 0.5  # between the turn of one proposer and that of the next
AGAIN_TIMES = 4  # a lane that came on stays on for so many times the suspicion that switches it off
BEHIND_SHARE = 4  # an owner is back if it is not further behind than that part of the window


class Switch:
    """One replica's view of who is gone and who is back. Times in seconds."""

    __slots__ = (
        "_asked",
        "_back_since",
        "_configs",
        "_gone_since",
        "_me",
        "_on_at",
        "_quorum",
        "_rounds_behind_max",
        "_suspected",
        "_wish",
        "after",
        "statistics",
    )

    def __init__(
        self, me: int, quorum: Quorum, configs: Configs, after: float, rounds_max: int
    ) -> None:
        self.after = after  # of suspicion without a break
        self.statistics = {"lanes_off": 0, "lanes_on": 0}  # changes that took place
        self._me = me
        self._quorum = quorum
        self._configs = configs
        self._rounds_behind_max = max(1, rounds_max // BEHIND_SHARE)
        self._wish: Change | None = None  # not taken yet
        self._asked = False  # a change wished for here is under way; at most one is
        self._suspected = 0
        self._gone_since: list[float | None] = [None] * quorum.total
        self._back_since: list[float | None] = [None] * quorum.total
        self._on_at: list[float | None] = [None] * quorum.total  # when it was last switched on

    def tick(self, now: float, suspected: int) -> None:
        """Take note of who is suspect now, and of what is to be done about it."""
        self._suspected = suspected
        for lane in range(self._quorum.total):
            if not suspected >> lane & 1:
                self._gone_since[lane] = None
                continue
            self._back_since[lane] = None
            if self._gone_since[lane] is None:
                self._gone_since[lane] = now
        if not self._asked:
            self._wish = self._wanted(now)
            self._asked = self._wish is not None

    def take_wish(self) -> Change | None:
        """What this replica should propose now. There is no other wish before it was applied."""
        wish, self._wish = self._wish, None
        return wish

    def heard(self, peer: int, beat: Beat, round_: int, now: float) -> None:
        """A peer's beat, while this replica's lowest open round is `round_`."""
        behind = round_ - beat.frontier // self._quorum.total
        if not beat.back or behind > self._rounds_behind_max:
            self._back_since[peer] = None
        elif self._back_since[peer] is None:
            self._back_since[peer] = now

    def _wanted(self, now: float) -> Change | None:
        newest = self._configs.newest
        live = self._quorum.everyone & ~self._suspected
        alone = live.bit_count() < self._quorum.answers  # a change would only come too late
        if alone or newest.off >> self._me & 1:
            return None
        before_me = live & ~newest.off & ((1 << self._me) - 1)
        patience = before_me.bit_count() * TAKE_OVER_SECONDS
        for lane in range(self._quorum.total):
            on = bool(newest.off >> lane & 1)
            due = self._back_since[lane] if on else self._gone_at(lane)
            change = Change(lane, on, newest.epoch)
            if due is not None and now >= due + patience and self._configs.would_act(change):
                return change
        return None

    def _gone_at(self, lane: int) -> float | None:
        """When its suspicion has lasted long enough; longer for one that was off not long ago."""
        since, on_at = self._gone_since[lane], self._on_at[lane]
        if since is None:
            return None
        due = since + self.after
        return due if on_at is None else max(due, on_at + AGAIN_TIMES * self.after)

    def applied(self, owner: int, change: Change, config: Config | None, now: float) -> None:
        """A change that `owner` proposed was applied; `config` is what came of it."""
        if owner == self._me:
            self._asked = False
        if config is None:
            return
        self.statistics["lanes_on" if change.on else "lanes_off"] += 1
        if change.on:
            self._on_at[change.lane] = now
            self._back_since[change.lane] = None

"""Rule 2: a frontier that does not move. First the others are asked; after the suspicion time this
replica says 0 about the rounds that it waits for.
"""

from __future__ import annotations

from racos.core.agreement import Agreement
from racos.core.messages import Ask
from racos.core.nulls import Nulls
from racos.core.outbox import ALL, Outbox
from racos.core.peers import Peers
from racos.core.settings import Settings
from racos.core.window import Window


class Stuck:
    """One replica's patience with its frontier. Times in seconds."""

    __slots__ = (
        "_agreement",
        "_asked_at",
        "_at",
        "_nulls",
        "_outbox",
        "_peers",
        "_settings",
        "_since",
        "_window",
    )

    def __init__(
        self,
        settings: Settings,
        window: Window,
        peers: Peers,
        agreement: Agreement,
        nulls: Nulls,
        outbox: Outbox,
        now: float,
    ) -> None:
        self._settings = settings
        self._window = window
        self._peers = peers
        self._agreement = agreement
        self._nulls = nulls
        self._outbox = outbox
        self._at = -1  # the frontier that was looked at
        self._since = self._asked_at = now

    def tick(self, now: float, highest_round: int) -> None:
        """Time has passed; `highest_round` is the highest seen in use."""
        window, settings = self._window, self._settings
        frontier = window.frontier
        if frontier != self._at or window.round > highest_round:
            self._at = frontier
            self._since = now
            return
        waited = now - self._since
        if waited >= settings.ask_after and self.ask(self._whom(waited), now):
            slot = window.slots.get(frontier)
            if slot is not None:
                self._agreement.cover_stuck(slot)
        if waited >= settings.suspect_after:
            round_, lane = divmod(frontier, window.total)
            self._nulls.say(lane, round_, min(highest_round, round_ + self._nulls.ahead))

    def ask(self, whom: int, now: float) -> bool:
        """Ask for what is known from the frontier on, unless somebody was asked just now."""
        if now - self._asked_at < self._settings.ask_every:
            return False
        self.ask_at_once(whom, now)
        return True

    def ask_at_once(self, whom: int, now: float) -> None:
        self._asked_at = now
        self._outbox.send(whom, Ask(self._window.frontier))

    def _whom(self, waited: float) -> int:
        """The peer that is furthest ahead; everyone if none is, or if it does not answer."""
        best = self._peers.most_advanced()
        if best is None or self._peers.frontiers[best] <= self._window.frontier:
            return ALL
        return best if waited < 3 * self._settings.ask_every else ALL

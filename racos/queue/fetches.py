"""Batches that others name and this replica does not know: asked for after a moment (D5, D6)."""

from __future__ import annotations

from collections.abc import Callable

from racos.core.ballots import Pull
from racos.core.outbox import ALL, Outbox

FETCHES_MAX = 1000


class Fetches:
    __slots__ = ("_again", "_outbox", "_patience", "_wanted")

    def __init__(self, outbox: Outbox, patience: float, again: float) -> None:
        self._outbox = outbox
        self._patience = patience  # seconds: usually the batch is under way
        self._again = again  # seconds between two questions
        self._wanted: dict[int, tuple[int, float]] = {}  # name -> (whom to ask, when)

    def want(self, name: int, whom: int, now: float) -> None:
        """`whom` proposes it, or (ALL) it is decided: then it is asked for without patience."""
        known = self._wanted.get(name)
        if known is None and len(self._wanted) < FETCHES_MAX:
            self._wanted[name] = (whom, now + (0.0 if whom == ALL else self._patience))
        elif known is not None and known[0] != whom and known[0] != ALL:
            self._wanted[name] = (whom, known[1] if whom != ALL else now)

    def arrived(self, name: int) -> None:
        """It is here, or over."""
        self._wanted.pop(name, None)

    def forget(self, over: Callable[[int], bool]) -> None:
        """Drop names that nobody will need any more."""
        self._wanted = {name: want for name, want in self._wanted.items() if not over(name)}

    def tick(self, now: float) -> None:
        for name, (whom, due) in list(self._wanted.items()):
            if now >= due:
                self._wanted[name] = (whom, now + self._again)
                self._outbox.send(whom, Pull(name))

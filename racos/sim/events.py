"""Virtual time: a queue of what happens when."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any

Action = Callable[..., None]


class Events:
    """Actions by virtual time; those of one moment run in the order in which they were added."""

    __slots__ = ("_heap", "_number", "now")

    def __init__(self) -> None:
        self.now = 0.0  # seconds since the world began
        self._heap: list[tuple[float, int, Action, tuple[Any, ...]]] = []
        self._number = 0

    def after(self, delay: float, action: Action, *arguments: Any) -> None:
        """Run `action` in `delay` seconds."""
        self._number += 1
        heappush(self._heap, (self.now + delay, self._number, action, arguments))

    def run(self, end: float) -> int:
        """Run all that is due before `end`, which is the time then; returns how many ran."""
        heap, ran = self._heap, 0
        while heap and heap[0][0] < end:
            self.now, _, action, arguments = heappop(heap)
            action(*arguments)
            ran += 1
        self.now = end
        return ran

    def __len__(self) -> int:
        return len(self._heap)

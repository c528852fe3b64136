"""One node's monotonic clock: its own rate and start, the same in every life but for a jump."""

from __future__ import annotations

from racos.sim.events import Events


class Clock:
    """Calling it gives the node's seconds. `rate` may be changed at any moment."""

    __slots__ = ("_events", "_local", "_since", "rate")

    def __init__(self, events: Events, start: float) -> None:
        self._events = events
        self._local = start
        self._since = events.now
        self.rate = 1.0

    def __call__(self) -> float:
        return self._local + (self._events.now - self._since) * self.rate

    def set_rate(self, rate: float) -> None:
        """From now on the clock runs `rate` times as fast as the world."""
        self._local, self._since = self(), self._events.now
        self.rate = rate

    def jump(self, seconds: float) -> None:
        """Between two lives of a node: a monotonic clock starts anywhere after a boot."""
        self._local, self._since = seconds, self._events.now

"""How long the other replicas take, smoothed: what waits are derived from.

The wait for stragglers (rule 4) follows the time from this replica's own durable STATE 1 to theirs,
so that it fits a rack as well as a continent. Times come from the clock that the core is given,
whose steps are ticks, and only save time: a wait that is too short costs a vote and a wider batch,
one that is too long costs the difference.
"""

from __future__ import annotations

REST_SECONDS_MIN = 0.02
REST_SECONDS_MAX = 0.3
SAMPLES_MIN = 256  # fewer may not have shown the hiccups there are
NEAR_TIMES = 2  # a mean this much above that of a quorum is still worth waiting for
_MEAN_SHARE = 1 / 8  # of a new sample, as in TCP's retransmission timer (RFC 6298)
# A hiccup is remembered for a thousand samples, which is seconds under load, and a wait that is too
# short costs bytes (each wrong blame widens batches for a while), one too long only rare delays.
_DEVIATION_SHARE_UP = 1 / 4
_DEVIATION_SHARE_DOWN = 1 / 1024
_DEVIATIONS = 4


class Smoothed:
    """Mean and mean deviation of a time, in seconds, the last samples counting most."""

    __slots__ = ("_deviation", "count", "mean")

    def __init__(self) -> None:
        self.count = 0
        self.mean = 0.0
        self._deviation = 0.0

    def add(self, seconds: float) -> None:
        error = seconds - self.mean
        if self.count:
            self.mean += _MEAN_SHARE * error
            change = abs(error) - self._deviation
            share = _DEVIATION_SHARE_UP if change > 0 else _DEVIATION_SHARE_DOWN
            self._deviation += share * change
        else:
            self.mean, self._deviation = seconds, seconds / 2
        self.count += 1

    @property
    def expected(self) -> float:
        """Seconds within which the next one almost always comes."""
        return self.mean + _DEVIATIONS * self._deviation


class Pace:
    """Fed by `sample`; `rest` is refreshed by `settle`."""

    __slots__ = ("_answers", "_me", "_times", "rest")

    def __init__(self, total: int, me: int, answers: int, rest: float) -> None:
        self._me = me
        self._answers = answers  # n-f
        self._times = [Smoothed() for _ in range(total)]
        self.rest = rest  # seconds to wait for the remaining states once n-f are there

    def sample(self, peer: int, seconds: float) -> None:
        """The peer's promise came so long after this replica's own (0: before it)."""
        self._times[peer].add(seconds)

    def settle(self) -> None:
        """Wait as long as those need whose usual time is near that of the n-f quickest, this
        replica among them: one that is always slower must not make everyone slow."""
        known = [
            time
            for peer, time in enumerate(self._times)
            if peer != self._me and time.count >= SAMPLES_MIN
        ]
        if not known or len(known) < self._answers - 1:
            return
        quickest = sorted(time.mean for time in known)[max(self._answers - 1, 1) - 1]
        near = NEAR_TIMES * quickest + REST_SECONDS_MIN
        longest = max(time.expected for time in known if time.mean <= near)
        self.rest = min(max(longest, REST_SECONDS_MIN), REST_SECONDS_MAX)

"""How long the other replicas' promises take: the time from this replica's own durable STATE 1 to
theirs, smoothed per peer.

The wait for stragglers (rule 4) follows it, so that it fits a rack as well as a continent. Times
come from the clock that the core is given, whose steps are ticks, and only save time: a wait that
is too short costs a vote and a wider batch, one that is too long costs the difference.
"""

from __future__ import annotations

REST_SECONDS_MIN = 0.02
REST_SECONDS_MAX = 0.3
SAMPLES_MIN = 16  # fewer are not believed
NEAR_TIMES = 2  # a mean this much above that of a quorum is still worth waiting for
_MEAN_SHARE = 1 / 8  # of a new sample, as in TCP's retransmission timer (RFC 6298)
# A hiccup is remembered for hundreds of samples: they come by the thousand, and a wait that is too
# short costs bytes (each wrong blame widens batches for a while), one too long only rare delays.
_DEVIATION_SHARE_UP = 1 / 4
_DEVIATION_SHARE_DOWN = 1 / 256
_DEVIATIONS = 4


class Pace:
    """Fed by `sample`; `rest` is refreshed by `settle`."""

    __slots__ = ("_answers", "_deviations", "_me", "_means", "_samples", "rest")

    def __init__(self, total: int, me: int, answers: int, rest: float) -> None:
        self._me = me
        self._answers = answers  # n-f
        self._means = [0.0] * total  # seconds
        self._deviations = [0.0] * total
        self._samples = [0] * total
        self.rest = rest  # seconds to wait for the remaining states once n-f are there

    def sample(self, peer: int, seconds: float) -> None:
        """The peer's promise came so long after this replica's own (0: before it)."""
        error = seconds - self._means[peer]
        if self._samples[peer]:
            self._means[peer] += _MEAN_SHARE * error
            change = abs(error) - self._deviations[peer]
            share = _DEVIATION_SHARE_UP if change > 0 else _DEVIATION_SHARE_DOWN
            self._deviations[peer] += share * change
        else:
            self._means[peer], self._deviations[peer] = seconds, seconds / 2
        self._samples[peer] += 1

    def expected(self, peer: int) -> float:
        """Seconds within which the peer's promise almost always comes."""
        return self._means[peer] + _DEVIATIONS * self._deviations[peer]

    def settle(self) -> None:
        """Wait as long as those need whose usual time is near that of the n-f quickest, this
        replica among them: one that is always slower must not make everyone slow."""
        others = [peer for peer in range(len(self._means)) if peer != self._me]
        known = [peer for peer in others if self._samples[peer] >= SAMPLES_MIN]
        if not known or len(known) < self._answers - 1:
            return
        quickest = sorted(self._means[peer] for peer in known)[max(self._answers - 1, 1) - 1]
        near = NEAR_TIMES * quickest + REST_SECONDS_MIN
        longest = max(self.expected(peer) for peer in known if self._means[peer] <= near)
        self.rest = min(max(longest, REST_SECONDS_MIN), REST_SECONDS_MAX)

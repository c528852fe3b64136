"""What a load run observes: a latency histogram of fixed buckets and a time line of 10 ms buckets.

Both are plain counters that merge by addition, so several processes can each keep their own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

_SUB_BITS: Final = 7  # 128 to 255 steps per power of two: a value is known to better than 0.8 %
_SUB: Final = 1 << _SUB_BITS
_UNIT: Final = 1_000_000  # counts per second: values are whole microseconds
_BUCKETS: Final = _SUB * 32  # up to 2**38 us, three days


class Histogram:
    """Latencies in seconds, counted in log-linear buckets (the idea of HdrHistogram)."""

    def __init__(self) -> None:
        self.counts = [0] * _BUCKETS
        self.total = 0
        self.maximum = 0.0  # seconds, exact

    def record(self, seconds: float, count: int = 1) -> None:
        """Count a latency, or some that are alike.

        Negative ones count as 0, absurd ones in the last bucket.
        """
        value = int(seconds * _UNIT) if seconds > 0 else 0
        shift = value.bit_length() - _SUB_BITS - 1
        if shift > 0:
            index = (shift << _SUB_BITS) + (value >> shift)
        else:
            index = value
        self.counts[index if index < _BUCKETS else -1] += count
        self.total += count
        if seconds > self.maximum:
            self.maximum = seconds

    def merge(self, other: Histogram) -> None:
        """Add another histogram's counts."""
        self.counts = [
            mine + theirs for mine, theirs in zip(self.counts, other.counts, strict=True)
        ]
        self.total += other.total
        self.maximum = max(self.maximum, other.maximum)

    def quantile(self, fraction: float) -> float:
        """Seconds that `fraction` of the values do not exceed (a bucket's edge); 0 if empty."""
        rank = fraction * self.total
        seen = 0
        for upper, count in self.steps():
            seen += count
            if seen >= rank:
                return min(upper, self.maximum)
        return self.maximum

    def steps(self) -> Iterator[tuple[float, int]]:
        """(upper edge in seconds, count) of each bucket that is not empty, ascending."""
        for index, count in enumerate(self.counts):
            if count:
                yield _upper_edge(index) / _UNIT, count

    def to_json(self) -> dict[str, Any]:
        """As a JSON object: sparse pairs of bucket and count."""
        pairs = [[index, count] for index, count in enumerate(self.counts) if count]
        return {"counts": pairs, "max_s": self.maximum}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Histogram:
        """The inverse of `to_json`."""
        histogram = cls()
        for index, count in data["counts"]:
            histogram.counts[index] = count
            histogram.total += count
        histogram.maximum = data["max_s"]
        return histogram


def _upper_edge(index: int) -> int:
    """The first microsecond count above a bucket."""
    shift = (index >> _SUB_BITS) - 1
    if shift <= 0:
        return index + 1
    return ((index & _SUB - 1) + _SUB + 1) << shift


class Timeline:
    """Successes over time: per bucket of 10 ms their count, first and last time, and worst latency.

    Times are seconds since the start of the measured window; the length is fixed at construction.
    """

    STEP_S: Final = 0.01

    def __init__(self, seconds: float) -> None:
        if seconds <= 0:
            raise ValueError("a time line needs a window longer than 0 s")
        size = int(seconds / self.STEP_S) + 1
        self.seconds = seconds
        self.counts = [0] * size
        self.first = [0.0] * size
        self.last = [0.0] * size
        self.worst = [0.0] * size

    def record(self, at: float, latency: float, count: int = 1) -> None:
        """Count a success (or some at once) at a time within [0, seconds)."""
        index = int(at / self.STEP_S)
        if not self.counts[index]:
            self.first[index] = at
        self.counts[index] += count
        self.last[index] = at
        if latency > self.worst[index]:
            self.worst[index] = latency

    def merge(self, other: Timeline) -> None:
        """Add the time line of another process over the same window."""
        for index, count in enumerate(other.counts):
            if not count:
                continue
            first, last = other.first[index], other.last[index]
            if self.counts[index]:
                first, last = min(first, self.first[index]), max(last, self.last[index])
            self.first[index], self.last[index] = first, last
            self.counts[index] += count
            self.worst[index] = max(self.worst[index], other.worst[index])

    def until(self, seconds: float) -> Timeline:
        """Its first part, of a run that ended before the window did."""
        part = Timeline(min(seconds, self.seconds))
        size = len(part.counts)
        part.counts, part.first = self.counts[:size], self.first[:size]
        part.last, part.worst = self.last[:size], self.worst[:size]
        return part

    def longest_gap(self) -> tuple[float, float]:
        """(length, start) in seconds of the longest time without a success in the window.

        Exact across buckets; a gap inside one bucket is below 10 ms and not looked for.
        """
        gap, gap_start, previous = 0.0, 0.0, 0.0
        for count, first, last in zip(self.counts, self.first, self.last, strict=True):
            if count:
                if first - previous > gap:
                    gap, gap_start = first - previous, previous
                previous = last
        if self.seconds - previous > gap:
            gap, gap_start = self.seconds - previous, previous
        return gap, gap_start

    def to_json(self) -> dict[str, Any]:
        """As a JSON object: columns, times in seconds."""
        return {
            "step_s": self.STEP_S,
            "seconds": self.seconds,
            "counts": self.counts,
            "first_s": self.first,
            "last_s": self.last,
            "worst_latency_s": self.worst,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Timeline:
        """The inverse of `to_json`."""
        timeline = cls(data["seconds"])
        timeline.counts = list(data["counts"])
        timeline.first = list(data["first_s"])
        timeline.last = list(data["last_s"])
        timeline.worst = list(data["worst_latency_s"])
        return timeline

"""From which segment on a start has to read the log: it is written into the index with each step.

A replay has to find every promise about a slot that the index does not call applied, and the last
reservation of the own lane (docs/protocol.md, restart). Segments before that hold values only.
"""

from __future__ import annotations

import struct
from collections import deque

from racos.core.ballots import Ballot
from racos.core.messages import AppliedRecord, PayRecord, Record, ReserveRecord
from racos.mvcc.shelf import Shelf
from racos.node.checkpoint import Readable

KEY = b"t"
_LAYOUT = struct.Struct("<Q")


class Retention:
    """Segments by the highest slot that a record in them speaks about."""

    __slots__ = ("_reserving", "_segments", "_total", "reserved", "reserved_in", "start")

    def __init__(self, total: int, start: int) -> None:
        self._total = total
        # (segment, highest position up to its end), both ascending; only the last one still grows
        self._segments: deque[tuple[int, int]] = deque()
        self._reserving: deque[tuple[int, int]] = deque()  # (log sequence, segment), not durable
        self.reserved = 0  # the highest round reserved, durably or not
        self.reserved_in = 0  # segment of the last durable reservation; 0 if there is none
        self.start = start  # a start reads from there on: what the index says

    def note(self, record: Record, segment: int, sequence: int) -> None:
        """The log has a record in a segment."""
        if isinstance(record, ReserveRecord):
            self._reserving.append((sequence, segment))
            self.reserved = max(self.reserved, record.upto)
            return
        if isinstance(record, AppliedRecord):
            position = record.end - 1
        elif isinstance(record, PayRecord):
            position = record.round * self._total + record.lane
        else:
            assert not isinstance(record, Ballot), "the queue engine keeps all of its log"
            position = record.last * self._total + record.lane
        segments = self._segments
        highest = max(segments[-1][1], position) if segments else position
        if segments and segments[-1][0] == segment:
            segments[-1] = segment, highest
        else:
            segments.append((segment, highest))

    def durable(self, sequence: int) -> None:
        """The log is durable up to this record."""
        while self._reserving and self._reserving[0][0] <= sequence:
            self.reserved_in = self._reserving.popleft()[1]

    def first(self, position: int, last_segment: int) -> int:
        """The first segment with a record about a slot at or above `position`."""
        for segment, highest in self._segments:
            if highest >= position:
                return segment
        return last_segment

    def highest(self, segment: int) -> int:
        """The highest slot that a record in this or an earlier segment speaks about; -1 if none."""
        found = -1
        for number, highest in self._segments:
            if number > segment:
                break
            found = highest
        return found

    def needed(self, frontier: int, last_segment: int) -> int:
        """The segment from which a start would have to read if the index applied all below."""
        first = self.first(frontier, last_segment)
        return min(first, self.reserved_in) if self.reserved_in else first

    def reserve_again(self, frontier: int, last_segment: int) -> bool:
        """Whether nothing but the reservation, and no newer one, keeps a segment from going."""
        stale = 0 < self.reserved_in < self.first(frontier, last_segment)
        return stale and not self._reserving

    def forget(self, segment: int) -> None:
        """Segments before this one are of no interest any more."""
        while len(self._segments) > 1 and self._segments[0][0] < segment:
            self._segments.popleft()

    def advance(self, shelf: Shelf, frontier: int, last_segment: int) -> bool:
        """Write down where a start begins, as part of the index's step that applies all below;
        whether that has changed."""
        start = self.needed(frontier, last_segment)
        if start <= self.start:
            return False
        self.start = start
        write_start(shelf, start)
        return True


def write_start(shelf: Shelf, segment: int) -> None:
    shelf.put(KEY, _LAYOUT.pack(segment))


def read_start(shelf: Readable) -> int:
    """The segment from which this start has to read the log."""
    data = shelf.get(KEY)
    return 1 if data is None else int(_LAYOUT.unpack(data)[0])

"""Recent decided history: what can be told to a replica that is a little behind.

From the floor on, up to the last batch that was decided here. Below the floor the log may have
forgotten what a batch was; who needs it takes the whole state instead (racos.node.transfer).
"""

from __future__ import annotations

from bisect import bisect_left

from racos.core.effects import Chunk
from racos.core.messages import Payload
from racos.node.reading import Reading, Unreadable
from racos.storage.log import Place

# Small, since who serves or installs one does nothing else meanwhile: some milliseconds.
CHUNK_BYTES_MAX = 512 << 10
CHUNK_BATCHES_MAX = 200


class Past:
    """Decided batches by position, and the floor: everything from there on is known."""

    __slots__ = ("_applied", "_batches", "_reading", "end", "floor")

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._applied: list[int] = []  # positions of batches, ascending
        self._batches: dict[int, tuple[Place, bool]] = {}  # descriptor, whether it is coded
        self.floor = 0
        self.end = 0  # everything below is decided

    @property
    def ones(self) -> list[int]:
        """Positions of the batches from the floor on, ascending; the others there are null."""
        return self._applied

    def begin(self, position: int) -> None:
        """All that is known begins here."""
        self._applied.clear()
        self._batches.clear()
        self.floor = self.end = position

    def add(self, position: int, descriptor: Place, coded: bool) -> None:
        """The next batch, decided. Whatever lies between it and the one before is null."""
        self._applied.append(position)
        self._batches[position] = descriptor, coded
        self.end = position + 1

    def moved(self, position: int, descriptor: Place) -> None:
        """The log has a batch's descriptor in another place, too; the newest is used."""
        known = self._batches.get(position)
        if known is not None:
            self._batches[position] = descriptor, known[1]

    def descriptor(self, position: int) -> Place | None:
        known = self._batches.get(position)
        return None if known is None else known[0]

    def raise_floor(self, position: int) -> None:
        """Forget what lies below; the floor never sinks."""
        if position <= self.floor:
            return
        count = bisect_left(self._applied, position)
        for old in self._applied[:count]:
            del self._batches[old]
        del self._applied[:count]
        self.floor = position
        self.end = max(self.end, position)

    def chunk(self, start: int, frontier: int) -> Chunk:
        """Decided history from `start` (not below the floor) on, bounded in size.

        It ends before a batch that the log does not give back: another replica has that one.
        """
        assert start >= self.floor, "asked for what may be forgotten"
        batches: list[tuple[int, Payload]] = []
        size = 0
        first = bisect_left(self._applied, start)
        end = frontier
        for position in self._applied[first : first + CHUNK_BATCHES_MAX + 1]:
            if size >= CHUNK_BYTES_MAX or len(batches) == CHUNK_BATCHES_MAX:
                end = position
                break
            place, coded = self._batches[position]
            try:
                payload = Payload(self._reading.descriptor(position, place), coded)
            except Unreadable:
                end = position
                break
            batches.append((position, payload))
            size += len(payload.descriptor)
        return Chunk(start, end, tuple(batches), frontier)

"""Where the log keeps what: descriptors of all batches, and their fragments, by slot position.

The log is the value store; this is its index in memory. It is rebuilt from the log at start. What
the index does not name any more is dead: a log that rewrites its segments need not keep it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from racos.core.effects import Chunk
from racos.core.messages import AppliedRecord, Payload, PayRecord
from racos.core.quorum import bits
from racos.storage.log import Log, Place

CHUNK_BYTES_MAX = 4 << 20
CHUNK_BATCHES_MAX = 1000


class Library:
    __slots__ = ("_applied", "_coded", "_descriptors", "_fragments", "_log", "_total", "damaged")

    def __init__(self, log: Log, total: int) -> None:
        self._log = log
        self._total = total
        self._descriptors: dict[int, Place] = {}
        self._coded: set[int] = set()
        # position -> fragment index -> a place for each coded value of the batch
        self._fragments: dict[int, dict[int, tuple[Place, ...]]] = {}
        self._applied: list[int] = []  # positions of applied batches, ascending
        self.damaged: list[int] = []  # positions that lost a fragment since somebody took the list

    def add(self, record: PayRecord, blobs: Sequence[Place], values: int) -> int:
        """Note a batch, or more fragments of it, that the log has; returns its position.

        `values` is the number of blobs per fragment, behind the descriptor's.
        """
        position = record.round * self._total + record.lane
        self._descriptors.setdefault(position, blobs[0])
        if record.payload.coded:
            self._coded.add(position)
        if values:
            known = self._fragments.setdefault(position, {})
            for step, index in enumerate(bits(record.held)):
                known[index] = tuple(blobs[1 + step * values : 1 + (step + 1) * values])
        return position

    def descriptor(self, position: int) -> bytes:
        """A batch's descriptor, read from the log."""
        return self._log.read(self._descriptors[position])

    def payload(self, position: int) -> Payload:
        """A batch as a replica that restarts knows it: its fragments stay in the log."""
        return Payload(self.descriptor(position), position in self._coded)

    def fragments(self, position: int, value_index: int, want: int) -> dict[int, bytes]:
        """The wanted fragments, of one coded value, that this log holds. Not verified."""
        known = self._fragments.get(position, {})
        return {
            index: self._log.read(places[value_index])
            for index, places in known.items()
            if want >> index & 1 and value_index < len(places)
        }

    def held(self, position: int) -> int:
        """Bit set of the fragments that the log has of a coded batch."""
        return sum(1 << index for index in self._fragments.get(position, ()))

    def is_coded(self, position: int) -> bool:
        return position in self._coded

    def drop_fragment(self, position: int, index: int) -> None:
        """Forget a fragment that failed verification: it is never served again."""
        if self._fragments.get(position, {}).pop(index, None) is not None:
            self.damaged.append(position)

    def prune(self, position: int, keep: int) -> int:
        """Forget every fragment of a batch but one; returns how many bytes became dead."""
        known = self._fragments[position]
        self._fragments[position] = {keep: known.pop(keep)}
        return sum(place.length for places in known.values() for place in places)

    def note_order(self, record: AppliedRecord) -> None:
        """What `note_applied` will be told next; positions of lanes tell their order themselves."""

    def note_applied(self, position: int) -> None:
        self._applied.append(position)

    def chunk(self, start: int, frontier: int) -> Chunk:
        """Decided history from `start` on, bounded in size, for a replica that is behind."""
        batches: list[tuple[int, Payload]] = []
        size = 0
        first = bisect_left(self._applied, start)
        end = frontier
        for position in self._applied[first : first + CHUNK_BATCHES_MAX + 1]:
            if size >= CHUNK_BYTES_MAX or len(batches) == CHUNK_BATCHES_MAX:
                end = position
                break
            payload = self.payload(position)
            batches.append((position, payload))
            size += len(payload.descriptor)
        return Chunk(start, end, tuple(batches), frontier)

    @property
    def last_applied(self) -> int:
        """Position of the last applied batch, -1 if there is none."""
        return self._applied[-1] if self._applied else -1

    def slot(self, position: int) -> tuple[int, int]:
        """Round and lane."""
        return divmod(position, self._total)

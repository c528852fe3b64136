"""Where the log keeps what: descriptors of all batches, and their fragments, by slot position.

The log is the value store; this is its index in memory. It is rebuilt from the log at start. What
the index does not name any more is dead: a log that rewrites its segments need not keep it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence

from racos.core.effects import Chunk
from racos.core.messages import AppliedRecord, Payload, PayRecord
from racos.core.quorum import bits
from racos.node.records import BadDescriptor, unseal
from racos.storage.log import Log, LogError, Place

# Small, since who serves or installs one does nothing else meanwhile: some milliseconds.
CHUNK_BYTES_MAX = 512 << 10
CHUNK_BATCHES_MAX = 200


class Unreadable(Exception):
    """A batch's descriptor cannot be had from this log; one line says which and why."""


class Library:
    """`report` is told in one line, once each, of what the log does not give back any more."""

    __slots__ = (
        "_applied",
        "_coded",
        "_descriptors",
        "_fragments",
        "_log",
        "_report",
        "_total",
        "_unreadable",
        "damaged",
        "pruned",
    )

    def __init__(
        self, log: Log, total: int, report: Callable[[str], None] = lambda _text: None
    ) -> None:
        self._log = log
        self._total = total
        self._report = report
        self._unreadable: set[int] = set()  # positions whose descriptor was reported
        self._descriptors: dict[int, Place] = {}
        self._coded: set[int] = set()
        # position -> fragment index -> a place for each coded value of the batch
        self._fragments: dict[int, dict[int, tuple[Place, ...]]] = {}
        self._applied: list[int] = []  # positions of applied batches, ascending
        self.damaged: list[int] = []  # positions that lost a fragment since somebody took the list
        self.pruned: Callable[[int, int], None] | None = None  # told of `prune`'s arguments

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
        """A batch's descriptor, read from the log and checked. Raises Unreadable."""
        place = self._descriptors[position]
        try:
            return unseal(self._log.read(place))
        except (BadDescriptor, LogError, OSError) as error:
            where = f"{self._log.name(place.segment)}: offset {place.offset}: {_reason(error)}"
            if position not in self._unreadable:
                self._unreadable.add(position)
                self._report(f"log.unreadable position={position} {where}")
            raise Unreadable(where) from None

    def payload(self, position: int) -> Payload:
        """A batch as a replica that restarts knows it: its fragments stay in the log. Raises
        Unreadable."""
        return Payload(self.descriptor(position), position in self._coded)

    def fragments(self, position: int, value_index: int, want: int) -> dict[int, bytes]:
        """The wanted fragments, of one coded value, that this log holds. Not verified.

        One that cannot be read counts as damaged: it is dropped, and healed like any other.
        """
        found: dict[int, bytes] = {}
        for index, places in list(self._fragments.get(position, {}).items()):
            if want >> index & 1 and value_index < len(places):
                place = places[value_index]
                try:
                    found[index] = self._log.read(place)
                except (LogError, OSError) as error:
                    where = f"{self._log.name(place.segment)}: offset {place.offset}"
                    text = f"position={position} fragment={index} {where}: {_reason(error)}"
                    self._report(f"log.unreadable {text}")
                    self.drop_fragment(position, index)
        return found

    def held_places(self) -> list[tuple[int, int, Place]]:
        """Where each fragment of each coded value is: (position, fragment, place). O(fragments)."""
        return [
            (position, index, place)
            for position, known in self._fragments.items()
            for index, places in known.items()
            for place in places
        ]

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
        if self.pruned is not None:
            self.pruned(position, keep)
        known = self._fragments[position]
        self._fragments[position] = {keep: known.pop(keep)}
        return sum(place.length for places in known.values() for place in places)

    def note_order(self, record: AppliedRecord) -> None:
        """What `note_applied` will be told next; positions of lanes tell their order themselves."""

    def place(self, position: int) -> int:
        """Where the batch that `note_applied` was told last stands in the order."""
        return position

    def note_applied(self, position: int) -> None:
        self._applied.append(position)

    def chunk(self, start: int, frontier: int) -> Chunk:
        """Decided history from `start` on, bounded in size, for a replica that is behind.

        It ends before a batch that the log does not give back: another replica has that one.
        """
        batches: list[tuple[int, Payload]] = []
        size = 0
        first = bisect_left(self._applied, start)
        end = frontier
        for position in self._applied[first : first + CHUNK_BATCHES_MAX + 1]:
            if size >= CHUNK_BYTES_MAX or len(batches) == CHUNK_BATCHES_MAX:
                end = position
                break
            try:
                payload = self.payload(position)
            except Unreadable:
                end = position
                break
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


def _reason(error: Exception) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)

"""Where the log keeps what: descriptors and fragments of batches, by slot position.

The log is the value store. Batches that are not applied yet are known from the log alone, and kept
in memory; of coded ones that are applied the replica's index says where their parts are and how
many versions of keys still refer to them (racos.node.entries), written in the same step as what
applying them did. What the index does not name any more is dead: a segment of dead bytes goes.

A batch that nothing refers to any more is served for a while, in memory, to whoever began to read
it before; see `Library.free`.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from racos.core.effects import Chunk
from racos.core.messages import AppliedRecord, Pay, Payload, PayRecord
from racos.mvcc.shelf import Shelf
from racos.node import entries
from racos.node.entries import Entry
from racos.node.past import Past
from racos.node.reading import Reading, Unreadable
from racos.storage.log import Log, Place

__all__ = ["Library", "Unreadable"]

GRACE_SECONDS = 15.0  # above the time a read may take
NAMED_AT_ONCE = 200  # entries of the index, for the scrubber
LOADED_AT_ONCE = 2000  # entries of the index looked at in one go, after a start


class _Dying(NamedTuple):
    entry: Entry
    until: float
    killed_by: int  # position of the batch that ended its last reference


class Library:
    """`shelf` is the replica's index; `report` is told in one line, once each, of what the log does
    not give back any more. `live` is exact once `loaded`.
    """

    __slots__ = (
        "_cursor",
        "_decided",
        "_dying",
        "_grace_seconds",
        "_open",
        "_seen",
        "_shelf",
        "_total",
        "damaged",
        "dead",
        "dirty",
        "live",
        "live_bytes",
        "now",
        "past",
        "pruned",
        "reading",
        "serving",
    )

    def __init__(
        self,
        log: Log,
        total: int,
        shelf: Shelf,
        report: Callable[[str], None] = lambda _text: None,
        grace_seconds: float = GRACE_SECONDS,
    ) -> None:
        self.reading = Reading(log, report)
        self._total = total
        self._grace_seconds = grace_seconds
        self._shelf = shelf
        self._open: dict[int, Entry] = {}  # not applied yet, or not known to be
        # Decided, but not applied by the index's last step: (place in the order, position).
        self._decided: deque[tuple[int, int]] = deque()
        self._dying: dict[int, _Dying] = {}  # in the order in which they die
        self._cursor: bytes | None = entries.PREFIX  # entries from here on are not counted yet
        # Descriptors read back at start, of batches that the index calls applied.
        self._seen: dict[int, tuple[Place, bool]] = {}
        self.past = Past(self.reading)
        self.now = 0.0
        self.dirty = False  # written to the index since this was last set to False
        self.live: Counter[int] = Counter()  # segment -> bytes that the index names
        self.live_bytes = 0  # the sum
        self.serving: Counter[int] = Counter()  # segment -> places in it of batches that die
        self.damaged: list[int] = []  # positions that lost a fragment since somebody took the list
        self.dead: list[int] = []  # positions to which nothing refers any more, likewise
        self.pruned: Callable[[int, int], None] | None = None  # told of `prune`'s arguments

    # -- what the log has --------------------------------------------------------------------------

    def add(self, record: PayRecord, blobs: Sequence[Place], values: int) -> int:
        """Note a batch, or more fragments of it, that the log has; returns its position.

        `values` is the number of blobs per fragment, behind the descriptor's. Of what the log has
        twice the newest counts.
        """
        position = self.position(record)
        fragments = entries.joined(record.held, blobs, values) if values else {}
        self.past.moved(position, blobs[0])
        entry = self._open.get(position)
        if entry is None and self.knows(position):
            self._add_settled(position, blobs[0], fragments)
            return position
        if entry is None:
            entry = self._open[position] = Entry(blobs[0], coded=record.payload.coded)
        entry.descriptor = blobs[0]
        entry.fragments.update(fragments)
        return position

    def _add_settled(
        self, position: int, descriptor: Place, fragments: dict[int, tuple[Place, ...]]
    ) -> None:
        """More of a batch that is applied: healed, late or rewritten. Nobody needs a dead one's."""
        entry = self._settled(position)
        if entry is not None:
            self._count(position, entry, -1)
            entry.descriptor = descriptor
            entry.fragments.update(fragments)
            self._count(position, entry, 1)
            self._write(position, entry)

    def note_applied(self, position: int) -> None:
        """A batch is decided, and everything below it."""
        entry = self._open[position]
        self.past.add(position, entry.descriptor, entry.coded)
        self._decided.append((position, position))

    def note_order(self, record: AppliedRecord) -> None:
        """What `note_applied` will be told next; positions of lanes tell their order themselves."""

    def place(self, position: int) -> int:
        """Where the batch that `note_applied` was told last stands in the order."""
        return position

    def settle(self, end: int, changes: dict[int, int]) -> None:
        """All batches below `end` are applied. `changes`: position -> by how many versions more, or
        fewer, refer to that batch now. Call it before the step of the index that holds the rest.
        """
        while self._decided and self._decided[0][0] < end:
            position = self._decided.popleft()[1]
            entry = self._open.pop(position)
            if entry.coded:
                entry.references = changes.pop(position, 0)
                self._begin(position, entry, end - 1)
        for position, change in changes.items():
            self.refer(position, change, end - 1)

    def refer(self, position: int, change: int, cause: int) -> None:
        """That many versions more, or fewer, refer to a batch, by what was applied at `cause`."""
        entry = self._settled(position)
        if entry is None or not change:
            return
        entry.references += change
        assert entry.references >= 0, f"slot {position} is referred to {entry.references} times"
        if entry.references:
            self._write(position, entry)
        else:
            self._count(position, entry, -1)
            self._die(position, entry, cause)

    def _begin(self, position: int, entry: Entry, cause: int) -> None:
        if entry.references:
            self._count(position, entry, 1)
            self._write(position, entry)
        else:
            self._die(position, entry, cause)

    def _die(self, position: int, entry: Entry, cause: int) -> None:
        self._shelf.delete(entries.key_of(position))
        self.dirty = True
        self._dying[position] = _Dying(entry, self.now + self._grace_seconds, cause)
        for place in entry.places():
            self.serving[place.segment] += 1
        self.dead.append(position)

    def free(self, passed: int) -> None:
        """Forget dead batches after their time, if what killed them lies below `passed`: every
        replica that is behind it will take the state and not apply what needed the value.
        """
        for position, dying in list(self._dying.items()):
            if dying.until > self.now or dying.killed_by >= passed:
                return
            del self._dying[position]
            for place in dying.entry.places():
                self.serving[place.segment] -= 1

    # -- reading -----------------------------------------------------------------------------------

    def descriptor(self, position: int) -> bytes:
        """A batch's descriptor, read from the log and checked. Raises Unreadable."""
        place = self.past.descriptor(position)
        if place is None:
            entry = self._entry(position)
            if entry is None:
                raise Unreadable(f"nothing refers to the batch of slot {position} any more")
            place = entry.descriptor
        return self.reading.descriptor(position, place)

    def payload(self, position: int) -> Payload:
        """A batch as a replica that restarts knows it: its fragments stay in the log. Raises
        Unreadable."""
        entry = self._open[position]
        return Payload(self.reading.descriptor(position, entry.descriptor), entry.coded)

    def fragments(self, position: int, value_index: int, want: int) -> dict[int, bytes]:
        """The wanted fragments, of one coded value, that this log holds. Not verified.

        One that cannot be read counts as damaged: it is dropped, and healed like any other.
        """
        found: dict[int, bytes] = {}
        for index, place in self.places(position, value_index, want).items():
            data = self.reading.fragment(position, index, place)
            if data is None:
                self.drop_fragment(position, index)
            else:
                found[index] = data
        return found

    def places(self, position: int, value_index: int, want: int) -> dict[int, Place]:
        """Where the log has the wanted fragments of one coded value."""
        entry = self._entry(position)
        if entry is None:
            return {}
        return {
            index: places[value_index]
            for index, places in entry.fragments.items()
            if want >> index & 1 and value_index < len(places)
        }

    def descriptor_place(self, position: int) -> Place | None:
        entry = self._entry(position)
        return None if entry is None else entry.descriptor

    def held_places(self) -> list[tuple[int, int, Place]]:
        """Where each fragment of each coded value is: (position, fragment, place). O(fragments)."""
        stored = self._shelf.scan(entries.PREFIX, entries.END)
        named = [(entries.position_of(key), entries.decode(data)) for key, data in stored]
        return [
            (position, index, place)
            for position, entry in (*named, *self._open.items())
            for index, places in entry.fragments.items()
            for place in places
        ]

    def named(self, start: bytes) -> tuple[list[tuple[int, Entry]], bytes | None]:
        """What the index names from the entry `start` on, some at a time, and where to go on."""
        found: list[tuple[int, Entry]] = []
        for key, data in self._shelf.scan(start, entries.END):
            if len(found) == NAMED_AT_ONCE:
                return found, key
            found.append((entries.position_of(key), entries.decode(data)))
        return found, None

    def held(self, position: int) -> int:
        """Bit set of the fragments that the log has of a coded batch."""
        entry = self._entry(position)
        return 0 if entry is None else entry.held

    def is_coded(self, position: int) -> bool:
        """Whether a batch is coded and needed, as far as is known here."""
        entry = self._entry(position)
        return entry is not None and entry.coded

    def knows(self, position: int) -> bool:
        """Whether the batch is decided: until then the agreement looks after its fragments."""
        return position < self.past.end

    def is_dead(self, position: int) -> bool:
        """Whether a batch was applied here and nothing refers to it any more."""
        is_open = position in self._open
        return self.knows(position) and not is_open and self._settled(position) is None

    def is_null(self, position: int) -> bool:
        """Whether a slot was decided without the batch that the log has of it."""
        if position not in self._open or not self.knows(position):
            return False
        return all(position != decided for _, decided in self._decided)

    def known(self, position: int) -> Entry | None:
        """What is known of a batch, applied or not."""
        return self._entry(position)

    def settled(self, position: int) -> Entry | None:
        """What the index says of an applied batch; None if nothing refers to it."""
        return self._settled(position)

    def chunk(self, start: int, frontier: int) -> Chunk:
        """Decided history from `start` on, for a replica that is behind but not below the floor."""
        return self.past.chunk(start, frontier)

    def position(self, batch: PayRecord | Pay) -> int:
        return batch.round * self._total + batch.lane

    def slot(self, position: int) -> tuple[int, int]:
        """Round and lane."""
        return divmod(position, self._total)

    # -- giving up ---------------------------------------------------------------------------------

    def drop_fragment(self, position: int, index: int) -> None:
        """Forget a fragment that failed verification: it is never served again."""
        if self._remove(position, [index]):
            self.damaged.append(position)

    def prune(self, position: int, keep: int) -> int:
        """Forget every fragment of a batch but one; returns how many bytes became dead."""
        if self.pruned is not None:
            self.pruned(position, keep)
        entry = self._entry(position)
        surplus = [] if entry is None else [index for index in entry.fragments if index != keep]
        return self._remove(position, surplus)

    def _remove(self, position: int, indexes: Sequence[int]) -> int:
        entry = self._entry(position)
        if entry is None:
            return 0
        settled = position not in self._open and position not in self._dying
        if settled:
            self._count(position, entry, -1)
        found = [entry.fragments.pop(index) for index in indexes if index in entry.fragments]
        if settled:
            self._count(position, entry, 1)
            self._write(position, entry)
        elif position in self._dying:
            for place in [place for places in found for place in places]:
                self.serving[place.segment] -= 1
        return sum(place.length for places in found for place in places)

    def raise_floor(self, position: int) -> None:
        """Forget history below; batches there that became null are forgotten, too."""
        self.past.raise_floor(min(position, self.past.end))
        settled = min(self.past.floor, self._decided[0][0]) if self._decided else self.past.floor
        for old in [each for each in self._open if each < settled]:
            del self._open[old]

    # -- start -------------------------------------------------------------------------------------

    def replayed(
        self, record: PayRecord, blobs: Sequence[Place], values: int, frontier: int
    ) -> int:
        """As `add`, for a record read back at start. The index knows what is below `frontier`, but
        maybe not yet this record.
        """
        position = self.position(record)
        if position >= frontier:
            return self.add(record, blobs, values)
        self._seen[position] = blobs[0], record.payload.coded
        self.past.moved(position, blobs[0])
        if record.payload.coded:
            fragments = entries.joined(record.held, blobs, values) if values else {}
            self._add_settled(position, blobs[0], fragments)
        return position

    def replayed_applied(self, record: AppliedRecord, frontier: int) -> None:
        """A record of the log calls slots applied. Those below `frontier`, which the index has, are
        history, as far as the replay saw their batches.
        """
        if record.start >= frontier:
            self.replay_ended(frontier)
            return
        if record.start > self.past.end or not self.past.end:
            self.past.begin(record.start)
        for position in record.ones:
            if not self.past.end <= position < frontier:
                continue
            seen = self._seen.pop(position, None)
            if seen is None:
                self.past.begin(position + 1)
            else:
                self.past.add(position, *seen)
        self.past.end = max(self.past.end, min(record.end, frontier))

    def replay_ended(self, frontier: int) -> None:
        """Everything below `frontier` is applied, by the index, whether the log shows it or not."""
        self._seen.clear()
        if self.past.end < frontier:
            self.past.begin(frontier)

    @property
    def all_applied(self) -> bool:
        """Whether the index has applied every batch that is decided."""
        return not self._decided

    @property
    def loaded(self) -> bool:
        return self._cursor is None

    def load(self) -> list[tuple[int, int]]:
        """After a start: look at the next entries of the index; (position, held) of each."""
        if self._cursor is None:
            return []
        found: list[tuple[int, int]] = []
        for key, data in self._shelf.scan(self._cursor, entries.END):
            if len(found) == LOADED_AT_ONCE:
                self._cursor = key
                return found
            entry = entries.decode(data)
            for place in entry.places():
                self.live[place.segment] += place.length
                self.live_bytes += place.length
            found.append((entries.position_of(key), entry.held))
        self._cursor = None
        return found

    # -- the index ---------------------------------------------------------------------------------

    def _entry(self, position: int) -> Entry | None:
        entry = self._open.get(position)
        if entry is not None:
            return entry
        dying = self._dying.get(position)
        return self._settled(position) if dying is None else dying.entry

    def _settled(self, position: int) -> Entry | None:
        data = self._shelf.get(entries.key_of(position))
        return None if data is None else entries.decode(data)

    def _write(self, position: int, entry: Entry) -> None:
        self._shelf.put(entries.key_of(position), entries.encode(entry))
        self.dirty = True

    def _count(self, position: int, entry: Entry, sign: int) -> None:
        """Keep `live` right, but for what `load` has still to count."""
        if self._cursor is not None and entries.key_of(position) >= self._cursor:
            return
        for place in entry.places():
            self.live[place.segment] += sign * place.length
            self.live_bytes += sign * place.length

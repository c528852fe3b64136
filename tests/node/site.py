"""One replica's log, index and keeper without a cluster: batches are decided and applied by word.

Fragment i of a value is derived from the slot, so any byte that is read back can be checked.
"""

from __future__ import annotations

import random

from racos.core.messages import AppliedRecord, Payload, PayRecord, Record, ReserveRecord
from racos.mvcc.shelf import MemoryShelf
from racos.node import records
from racos.node.checkpoint import read_applied, write_applied
from racos.node.cleaner import Space
from racos.node.keeper import Keeper
from racos.node.scrubber import Scrubbing
from racos.storage.log import Log
from racos.storage.memdisk import MemDisk

TOTAL = 3
ME = 1
SIZE = 300  # bytes of a fragment
SEGMENT = 4096
STEP = 0.25  # seconds between two looks
SPACE = Space(bytes_per_second=1 << 20, history_bytes=3 * SEGMENT)


def fragment(position: int, index: int) -> bytes:
    return random.Random(f"{position}/{index}").randbytes(SIZE)


class Site:
    """`frontier`: below it all is applied. Versions referring to batches are in `references`."""

    def __init__(self, seed: int = 0, space: Space = SPACE) -> None:
        self.source = random.Random(seed)
        self.disk = MemDisk(self.source)
        self.shelf = MemoryShelf()
        self.space = space
        self.frontier = 0
        self.references: dict[int, int] = {}
        self.reports: list[str] = []
        self.now = 0.0
        self.start()
        self.log_record(ReserveRecord(100))
        self.sync()

    # -- life --------------------------------------------------------------------------------------

    def start(self) -> list[Record]:
        """Boot on what is there; what the replay showed."""
        self.log = Log.open(self.disk, member_id=1, cluster_id=1, segment_bytes=SEGMENT)
        self.keeper = Keeper(
            TOTAL,
            self.log,
            self.shelf,
            lambda _peer, _message: None,
            self.reports.append,
            space=self.space,
            scrubbing=Scrubbing(0),  # what stands for descriptors here names no values
            applied=self.frontier,
        )
        library = self.keeper.library
        library.now = self.now
        seen: list[Record] = []
        for entry in self.log.replay(self.keeper.retention.start):
            record, values = records.decode(entry.kind, entry.header)
            seen.append(record)
            self.keeper.replayed(record, entry, values, self.frontier)
        self.keeper.replay_ended(self.frontier)
        while not library.loaded:
            library.load()
        return seen

    def crash(self) -> list[Record]:
        """Power off and on: the index is as the last finished step left it."""
        self.shelf.crash(lambda count: self.source.randint(0, count))
        self.disk.crash()
        self.frontier = read_applied(self.shelf).position
        self.references = {}
        for key, value in self.shelf.scan(b"n", b"o"):
            self.references[int(key[1:])] = int(value)
        return self.start()

    # -- what a driver does ------------------------------------------------------------------------

    def log_record(self, record: Record) -> None:
        kind, header, blobs = records.encode(record)
        self.keeper.logged(record, self.log.append(kind, header, blobs))

    def sync(self) -> None:
        batch = self.log.take()
        if batch is not None:
            batch.run()
            durable = self.log.done(batch)
            self.shelf.durable(durable)
            self.keeper.durable(durable)

    def propose(self, position: int, held: int, *, coded: bool = True) -> None:
        """A batch comes, with these fragments of its one value."""
        round_, lane = divmod(position, TOTAL)
        parts = {i: [fragment(position, i)] for i in range(TOTAL) if coded and held >> i & 1}
        payload = Payload(b"descriptor %d" % position, coded, parts)
        self.log_record(PayRecord(lane, round_, payload, held if coded else 0, True))

    def apply(self, position: int, changes: dict[int, int]) -> None:
        """It is decided and applied, as the next one; `changes` of references to batches."""
        self.log_record(AppliedRecord(self.frontier, position + 1, (position,)))
        self.keeper.library.note_applied(position)
        self.apply_decided(position, changes)

    def apply_decided(self, position: int, changes: dict[int, int]) -> None:
        """The second half of `apply`."""
        for other, change in changes.items():
            self.refer(other, change)
        self.keeper._changes.update(changes)
        self.keeper.applied(position + 1)
        self.frontier = position + 1
        write_applied(self.shelf, self.frontier, self.log.last_sequence)
        self.shelf.commit(self.log.last_sequence)

    def refer(self, position: int, change: int) -> None:
        left = self.references.get(position, 0) + change
        key = b"n%012d" % position
        if left:
            self.references[position] = left
            self.shelf.put(key, b"%d" % left)
        else:
            del self.references[position]
            self.shelf.delete(key)

    def drop(self, position: int, count: int = 1) -> None:
        """Compaction drops versions that refer to a batch."""
        self.refer(position, -count)
        self.keeper._changes[position] -= count
        self.keeper.dropped()
        self.shelf.commit(self.log.last_sequence)

    def write(self, position: int, *, coded: bool = True) -> None:
        """One key is written in a batch of its own."""
        self.propose(position, 1 << ME, coded=coded)
        self.apply(position, {position: 1} if coded else {})

    def clean(self, seconds: float = 1.0, everywhere: int | None = None) -> None:
        """Time passes with nothing else to do. `everywhere`: what all have applied."""
        passed = self.frontier if everywhere is None else everywhere
        for _ in range(max(1, round(seconds / STEP))):
            self.now += STEP
            self.keeper.forget(passed)
            self.keeper.tick(self.now, self.frontier, between_batches=True)
            self.sync()
            if self.shelf.unflushed_bytes:
                self.shelf.flush()

    # -- what must hold ----------------------------------------------------------------------------

    def check(self, whole: bool = True) -> None:
        """Everything that is referred to can be read, and is right."""
        library = self.keeper.library
        for position in self.references:
            assert library.descriptor(position) == b"descriptor %d" % position
            found = library.fragments(position, 0, -1)
            assert ME in found or not whole, position
            for index, data in found.items():
                assert data == fragment(position, index)
        live: dict[int, int] = {}
        for position in self.references:
            entry = library.settled(position)
            assert entry is not None
            assert entry.references == self.references[position]
            for place in entry.places():
                live[place.segment] = live.get(place.segment, 0) + place.length
        assert {s: n for s, n in library.live.items() if n} == live

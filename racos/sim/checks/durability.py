"""The ghost ledger: what each disk must hold, against what was said and what is found there."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import combinations
from typing import NamedTuple
from zlib import crc32

from racos.core.messages import (
    Buffer,
    Hold,
    Message,
    Payload,
    PayRecord,
    Record,
    State,
    StateRecord,
    Vote,
    VoteRecord,
)
from racos.core.quorum import Quorum
from racos.node import records
from racos.node.records import Kind
from racos.sim.violation import Violation
from racos.storage.log import Replayed


class Print(NamedTuple):
    """What a record must look like when it is read back."""

    kind: int
    header_crc: int
    blob_lengths: tuple[int, ...]


class Shelf:
    """What one replica's disk must hold: known synced, or read back from it."""

    def __init__(self) -> None:
        self.said: dict[tuple[int, int], int] = {}  # (position, phase) -> state
        self.voted: dict[tuple[int, int], int] = {}
        self.coded: set[int] = set()  # positions whose batches have coded values (queue engine)
        self.held: dict[int, int] = {}  # position -> fragments; the descriptor if it is there
        self.dropped: dict[int, int] = {}  # position -> fragments pruned since
        self.prints: dict[int, Print] = {}  # by log sequence; not all are durable
        self.durable = 0  # log sequence
        self.former: dict[int, int] = {}  # what disks held that this one lost before
        self.waiting: deque[tuple[int, Record]] = deque()  # handed to the log, not durable yet


class Durability:
    """Verifies:

    - P-5: when a STATE, VOTE or HOLD reaches anyone, its record is durable at whoever made the
      promise; after each death every record that was synced is read back, by sequence, with the
      same kind, header and blob sizes (whose CRC the log checks);
    - P-7: whenever a batch is applied anywhere for the first time, and whenever a replica prunes
      fragments of it, the durable fragments that are not pruned (the durable descriptors, for a
      batch without coded values) survive the loss of any f disks. Between these moments what is
      durable only grows, so this holds at every moment. A pruned fragment counts as gone, though
      the log still has it, even after a restart.

    A disk that is lost is one of the f until its node has taken what it should hold from the
    others; P-7 holds for f again from then on. What was said from it before stays said.

    Not verified: the bytes of fragments (the end of the run decodes every live value from the
    replicas' answers), rot, and logs shortened on purpose by garbage collection.
    """

    def __init__(self, quorum: Quorum) -> None:
        self.quorum = quorum
        self.shelves = [Shelf() for _ in range(quorum.total)]
        self.replayed_records = 0
        self._covered: dict[int, bool] = {}  # positions applied somewhere -> whether coded
        self._lost = 0  # bit set of the disks that are

    # -- what the node does ----------------------------------------------------------------------

    def appended(
        self, lane: int, sequence: int, kind: int, header: bytes, blobs: Sequence[Buffer]
    ) -> None:
        """The log took a record."""
        shelf = self.shelves[lane]
        shelf.prints[sequence] = Print(kind, crc32(header), tuple(map(len, blobs)))
        if kind == Kind.KEPT:  # not one of the core's, of which `wrote` told before
            shelf.waiting.append((sequence, records.decode(kind, header)[0]))

    def wrote(self, lane: int, next_sequence: int, wrote: Sequence[Record]) -> None:
        """Records that will be appended from this sequence on."""
        shelf = self.shelves[lane]
        for sequence, record in enumerate(wrote, next_sequence):
            shelf.waiting.append((sequence, record))

    def synced(self, lane: int, sequence: int) -> None:
        """A batch of the log ran to its end."""
        shelf = self.shelves[lane]
        shelf.durable = sequence
        while shelf.waiting and shelf.waiting[0][0] <= sequence:
            self._keep(shelf, shelf.waiting.popleft()[1])

    def died(self, lane: int) -> None:
        self.shelves[lane].waiting.clear()

    def lost(self, lane: int, is_dead: Callable[[int], bool]) -> None:
        """A disk is empty, or everything on it was put aside."""
        old, new = self.shelves[lane], Shelf()
        new.said, new.voted, new.former = old.said, old.voted, old.former
        for position, held in old.held.items():
            new.former[position] = new.former.get(position, 0) | held
        self.shelves[lane] = new
        self._lost |= 1 << lane
        self._check_all(f"n{lane} loses its disk", is_dead)

    def recovered(self, lane: int, is_dead: Callable[[int], bool]) -> None:
        """Its node takes part again: from now on it holds what it should."""
        self._lost &= ~(1 << lane)
        self._check_all(f"n{lane} takes part again", is_dead)

    def covered(self) -> Iterable[int]:
        """Positions of all batches that were applied anywhere."""
        return self._covered.keys()

    def _check_all(self, what: str, is_dead: Callable[[int], bool]) -> None:
        """Of batches without coded values, states may hold what became of them: not checked."""
        for position, coded in self._covered.items():
            if coded and not is_dead(position):
                self._check_survives(position, coded, f"slot {position}: {what}")

    def replayed(self, lane: int, entry: Replayed) -> None:
        """A restarting replica reads a record back."""
        self.replayed_records += 1
        shelf = self.shelves[lane]
        lengths = tuple(place.length for place in entry.blob_places)
        found = Print(entry.kind, crc32(entry.header), lengths)
        if shelf.prints.get(entry.sequence) != found:
            raise Violation("P-5", f"n{lane} reads record {entry.sequence} back as {found}")
        if entry.sequence > shelf.durable:
            record, _ = records.decode(entry.kind, entry.header)
            self._keep(shelf, record)

    def replay_ended(self, lane: int, sequence: int) -> None:
        """The log ends here; what survived by luck is durable from now on, by the log's word."""
        shelf = self.shelves[lane]
        if sequence < shelf.durable:
            text = f"n{lane} lost records {sequence + 1}..{shelf.durable}, which were synced"
            raise Violation("P-5", text)
        shelf.durable = sequence

    def _keep(self, shelf: Shelf, record: Record) -> None:
        total = self.quorum.total
        if isinstance(record, PayRecord):
            position = record.round * total + record.lane
            shelf.held[position] = shelf.held.get(position, 0) | record.held
            if position in shelf.dropped:
                shelf.dropped[position] &= ~record.held
            if record.says_one:
                shelf.said[position, 0] = 1
        elif isinstance(record, StateRecord | VoteRecord):
            kept = shelf.said if isinstance(record, StateRecord) else shelf.voted
            for round_ in range(record.first, record.last + 1):
                kept[round_ * total + record.lane, record.phase] = record.value

    # -- what is said ----------------------------------------------------------------------------

    def received(self, sender: int, message: Message) -> None:
        """A promise reached someone."""
        if isinstance(message, State):
            self._check_said(sender, message, self.shelves[sender].said)
            if message.held:
                for round_ in range(message.first, message.last + 1):
                    position = round_ * self.quorum.total + message.lane
                    self._check_held(sender, position, message.held)
        elif isinstance(message, Vote):
            self._check_said(sender, message, self.shelves[sender].voted)
        elif isinstance(message, Hold):
            position = message.round * self.quorum.total + message.lane
            self._check_held(message.holder, position, message.held)

    def _check_said(
        self, sender: int, promise: State | Vote, kept: dict[tuple[int, int], int]
    ) -> None:
        total = self.quorum.total
        for round_ in range(promise.first, promise.last + 1):
            if kept.get((round_ * total + promise.lane, promise.phase)) != promise.value:
                raise Violation("P-5", f"n{sender} said {promise}, which its disk could deny")

    def _check_held(self, holder: int, position: int, mask: int) -> None:
        shelf = self.shelves[holder]
        if mask & ~(shelf.held.get(position, 0) | shelf.former.get(position, 0)):
            text = f"n{holder} is said to hold {mask:#b} of slot {position}, its disk does not"
            raise Violation("P-5", text)

    def applied(self, lane: int, position: int, payload: Payload) -> None:
        """A batch is applied somewhere: it must survive now."""
        if position in self._covered:
            return
        self._covered[position] = payload.coded
        self._check_survives(position, payload.coded, f"n{lane} applies slot {position}")

    def pruned(self, lane: int, position: int, keep: int) -> None:
        """A replica drops all fragments of a coded batch but one."""
        shelf = self.shelves[lane]
        shelf.dropped[position] = shelf.held.get(position, 0) & ~(1 << keep)
        self._check_survives(position, True, f"n{lane} prunes slot {position}")

    def _check_survives(self, position: int, coded: bool, what: str) -> None:
        held = [
            shelf.held[position] & ~shelf.dropped.get(position, 0)
            for lane, shelf in enumerate(self.shelves)
            if position in shelf.held and not self._lost >> lane & 1
        ]
        if not self._survives(held, coded):
            shown = [bin(mask) for mask in held]
            raise Violation("P-7", f"{what}, but f losses destroy it: holders {shown}")

    def _survives(self, held: Sequence[int], coded: bool) -> bool:
        """By counting, not by the production code's cover()."""
        losses = self.quorum.faults - self._lost.bit_count()
        need = self.quorum.data if coded else 0
        for kept in combinations(held, max(0, len(held) - losses)):
            fragments = {
                index for mask in kept for index in range(mask.bit_length()) if mask >> index & 1
            }
            if not kept or len(fragments) < need:
                return False
        return True

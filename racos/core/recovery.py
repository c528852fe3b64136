"""What a log says its replica did: fed record by record, it becomes the replica's starting state.

A restarted replica repeats what its log says it said, so crash recovery, and the power loss of all
replicas at once, need no protocol of their own.
"""

from __future__ import annotations

from racos.core.config import Change, Config
from racos.core.messages import (
    AppliedRecord,
    Payload,
    PayRecord,
    Record,
    ReserveRecord,
    StateRecord,
    VoteRecord,
)
from racos.core.slot import Slot


class SaidInSlot:
    """The promises found for one slot that was not applied yet."""

    __slots__ = ("held", "payload", "states", "votes")

    def __init__(self) -> None:
        self.payload: Payload | None = None
        self.held = 0
        self.states: dict[int, int] = {}  # phase -> value
        self.votes: dict[int, int] = {}

    @property
    def promises(self) -> bool:
        """Whether anything was said; a batch can be there that was only kept."""
        return bool(self.states or self.votes)


def take_up(slot: Slot, said: SaidInSlot, me: int) -> None:
    """Have a slot of the replica `me` as its log says that it was."""
    slot.payload = said.payload
    slot.recorded = said.payload is not None
    slot.stored = said.held
    if said.held:
        slot.add_holder(me, said.held)
    for phase, value in said.states.items():
        slot.at(phase).add_state(me, value)
    for phase, value in said.votes.items():
        slot.at(phase).add_vote(me, value)
    slot.promised_state = max(said.states, default=-1)
    slot.promised_vote = max(said.votes, default=-1)
    slot.phase = max(slot.promised_state, 0)


class Recovered:
    """The outcome of a replay. `frontier`: everything below is decided, batches at `ones`.

    A replay may begin behind an index that has applied everything below some frontier; what it has
    forgotten lies below the floor. `changes` are those of the configuration among the batches that
    were replayed, in order, upon `configs`, which is what was known before. Whoever replays looks
    into batches, and adds them.
    """

    __slots__ = (
        "changes",
        "configs",
        "floor",
        "frontier",
        "highest_one",
        "ones",
        "reserved",
        "slots",
        "total",
    )

    def __init__(self, total: int, frontier: int = 0) -> None:
        self.total = total
        self.floor = frontier
        self.frontier = frontier
        self.ones: set[int] = set()
        self.reserved = -1
        # Of what the index has applied: at least as high as any one there.
        self.highest_one = frontier - 1
        self.slots: dict[int, SaidInSlot] = {}
        self.configs: tuple[Config, ...] = (Config(),)
        self.changes: list[tuple[int, Change]] = []  # (position, change)

    def add(self, record: Record) -> list[int]:
        """Take the next record; returns the positions it shows to be applied, in order."""
        if isinstance(record, PayRecord):
            self._add_pay(record)
        elif isinstance(record, ReserveRecord):
            self.reserved = max(self.reserved, record.upto)
        elif isinstance(record, AppliedRecord):
            return self._add_applied(record)
        elif not isinstance(record, StateRecord | VoteRecord):
            raise ValueError(f"{type(record).__name__} is not a record of this engine")
        else:
            for round_ in range(record.first, record.last + 1):
                self._add_promise(record, round_ * self.total + record.lane)
        return []

    def _add_promise(self, record: StateRecord | VoteRecord, position: int) -> None:
        if position < self.frontier:
            return  # decided: this replica says nothing about it any more
        said = self._slot(position)
        if isinstance(record, VoteRecord):
            said.votes[record.phase] = record.value
            return
        said.states[record.phase] = record.value
        if record.value:
            self._note_one(position)

    def _slot(self, position: int) -> SaidInSlot:
        return self.slots.setdefault(position, SaidInSlot())

    def _note_one(self, position: int) -> None:
        self.highest_one = max(self.highest_one, position)

    def _add_pay(self, record: PayRecord) -> None:
        position = record.round * self.total + record.lane
        if position < self.frontier:
            return  # only more fragments of something applied
        said = self._slot(position)
        said.payload = record.payload
        said.held |= record.held
        if record.says_one:
            said.states[0] = 1
            self._note_one(position)

    def _add_applied(self, record: AppliedRecord) -> list[int]:
        if record.end <= self.frontier:
            return []
        assert record.start <= self.frontier, "the replay began behind something it needs"
        ones = [position for position in record.ones if position >= self.frontier]
        self.ones.update(ones)
        for position in ones:
            self._note_one(position)
        self.frontier = record.end
        for position in [known for known in self.slots if known < record.end]:
            del self.slots[position]
        return ones

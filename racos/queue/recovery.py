"""What a log says its replica did under the queue engine (compare `racos.core.recovery`)."""

from __future__ import annotations

from racos.core.ballots import Ballot, is_state
from racos.core.config import Change, Config
from racos.core.messages import AppliedRecord, Payload, PayRecord, Record, ReserveRecord
from racos.queue.pool import Settlement


class Held:
    """A batch that the log has and that was not applied."""

    __slots__ = ("held", "payload")

    def __init__(self, payload: Payload) -> None:
        self.payload: Payload | None = payload
        self.held = 0


class Recovered:
    """The outcome of a replay: the replica's starting state."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.frontier = 0
        self.reserved = -1  # stamps
        self.highest_one = -1
        self.configs: tuple[Config, ...] = (Config(),)
        self.changes: list[tuple[int, Change]] = []  # of lanes; there are none here
        self.slots: dict[int, Held] = {}  # batches by name
        self.ballots: dict[int, list[Ballot]] = {}  # by slot
        self.settlement = Settlement(total)

    def add(self, record: Record) -> list[int]:
        """Take the next record; returns the names of batches it shows to be applied, in order."""
        if isinstance(record, PayRecord):
            name = record.round * self.total + record.lane
            if not self.settlement.covers(name):
                self.slots.setdefault(name, Held(record.payload)).held |= record.held
        elif isinstance(record, Ballot):
            self.ballots.setdefault(record.slot, []).append(record)
            if is_state(record.step) and record.value == 1:
                self.highest_one = max(self.highest_one, record.slot)
        elif isinstance(record, ReserveRecord):
            self.reserved = max(self.reserved, record.upto)
        elif isinstance(record, AppliedRecord):
            return self._add_applied(record)
        else:
            raise ValueError(f"{type(record).__name__} is not a record of the queue engine")
        return []

    def _add_applied(self, record: AppliedRecord) -> list[int]:
        names: list[int] = []
        for slot, name in zip(record.ones, record.names, strict=True):
            if slot >= self.frontier:
                names.append(name)
                self.settlement.add(name)
                self.slots.pop(name, None)
                self.highest_one = max(self.highest_one, slot)
        self.frontier = max(self.frontier, record.end)
        self.ballots = {slot: said for slot, said in self.ballots.items() if slot >= self.frontier}
        return names

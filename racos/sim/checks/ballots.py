"""The same promises under the queue engine (docs/queue-engine.md), whose replicas say Ballots."""

from __future__ import annotations

from collections.abc import Sequence

from racos.core.ballots import NONE, PROPOSAL, Ballot, Settled, is_state, phase_of
from racos.core.messages import (
    UNSURE,
    AppliedRecord,
    Message,
    Payload,
    PayRecord,
    Record,
)
from racos.core.quorum import Quorum
from racos.sim.checks.agreement import Agreement
from racos.sim.checks.durability import Durability, Shelf
from racos.sim.violation import Violation


class QueueAgreement(Agreement):
    """Verifies what `Agreement` does, and with it:

    - P-1: one decision per slot, and it names the same batch everywhere (defects D2 and P1);
    - P-2: no batch is decided in two slots;
    - P-3: all 1s of a slot, in all steps after the proposals, name one batch.

    Not verified: which batch a queue should have put in front.
    """

    def __init__(self, total: int, secret: bytes = b"") -> None:
        super().__init__(total, secret)
        self._words: dict[tuple[int, int, int], Ballot] = {}  # (sender, slot, step)
        self._names: dict[int, int] = {}  # slot -> the name of its 1s
        self._slot_of: dict[int, int] = {}

    def received(self, sender: int, message: Message) -> None:
        if isinstance(message, Ballot):
            self._received_ballot(sender, message)
        elif isinstance(message, Settled):
            self._settle(message.slot, message.name, f"n{sender} told")
        else:
            super().received(sender, message)

    def _received_ballot(self, sender: int, ballot: Ballot) -> None:
        slot, step, value, name = ballot
        said = self._words.setdefault((sender, slot, step), ballot)
        if said != ballot:
            raise Violation("said-once", f"n{sender} said {said} and {ballot}")
        if step == PROPOSAL:
            self.inputs[slot] = self.inputs.get(slot, 0) | 1 << value
            self.phases.setdefault(slot, 1)
            return
        phase = phase_of(step)
        self.phases[slot] = max(self.phases.get(slot, 0), phase + 1)
        if value == 1 and self._names.setdefault(slot, name) != name:
            raise Violation("P-3", f"{ballot} of n{sender}; {self._names[slot]} was named before")
        if not is_state(step) and value != UNSURE:
            known = self._cast.setdefault((slot, phase), value)
            if known != value:
                raise Violation("P-3", f"votes for 0 and 1 in phase {phase} of slot {slot}")

    def wrote(
        self, lane: int, records: Sequence[Record], applied: Sequence[tuple[int, Payload]]
    ) -> None:
        for record in records:
            if isinstance(record, AppliedRecord):
                names = dict(zip(record.ones, record.names, strict=True))
                for slot in range(record.start, record.end):
                    self._settle(slot, names.get(slot, NONE), f"n{lane} applied")
        super().wrote(lane, records, applied)

    def _settle(self, slot: int, name: int, who: str) -> None:
        self._decide(slot, name, who)
        if name != NONE and self._slot_of.setdefault(name, slot) != slot:
            raise Violation("P-2", f"batch {name} in slots {self._slot_of[name]} and {slot}")

    def _note_applied(self, lane: int, record: AppliedRecord) -> None:
        del lane
        self.decided_upto = max(self.decided_upto, record.end)

    def truth(self) -> list[tuple[int, bytes]]:
        """In order of slots, which is the order in which anyone applied them first."""
        return sorted(self.applied.items(), key=lambda entry: self._slot_of[entry[0]])


class QueueDurability(Durability):
    """Verifies what `Durability` does; promises are Ballots, and a PROPOSAL of a batch is the word
    that its proposer's fragment is durable (the descriptor, if nothing is coded)."""

    def __init__(self, quorum: Quorum) -> None:
        super().__init__(quorum)
        self._kept: list[dict[tuple[int, int], Ballot]] = [{} for _ in range(quorum.total)]

    def _keep(self, shelf: Shelf, record: Record) -> None:
        if isinstance(record, Ballot):
            self._kept[self.shelves.index(shelf)][record.slot, record.step] = record
        else:
            super()._keep(shelf, record)
            if isinstance(record, PayRecord) and record.payload.coded:
                name = record.round * self.quorum.total + record.lane
                shelf.coded.add(name)

    def received(self, sender: int, message: Message) -> None:
        if not isinstance(message, Ballot):
            super().received(sender, message)
            return
        if self._kept[sender].get((message.slot, message.step)) != message:
            raise Violation("P-5", f"n{sender} said {message}, which its disk could deny")
        if message.step == PROPOSAL and message.value:
            shelf = self.shelves[sender]
            if message.name not in shelf.held:
                raise Violation("P-5", f"n{sender} proposes {message.name}, which it has not")
            if message.name in shelf.coded:
                self._check_held(sender, message.name, 1 << sender)

"""Agreement, order and validity of what replicas decide and say."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

from racos.core.messages import (
    UNSURE,
    AppliedRecord,
    Decide,
    Message,
    Pay,
    Payload,
    PayRecord,
    Record,
    State,
    Vote,
    VoteRecord,
)
from racos.sim.violation import Violation


class Agreement:
    """Verifies, for the whole run, across crashes:

    - P-1: no two replicas apply, or tell others, different decisions for a slot, and each applies
      every slot once, in order, without gaps within a life;
    - P-2: an applied batch is, byte for byte, the descriptor its lane's owner wrote down; an owner
      never writes two batches for one slot;
    - P-3: no two votes for 0 and 1 in one phase of one slot;
    - P-4: the coin. If somebody enters a phase with 1, somebody wrote a vote for 1 in the phase
      before down (it need not have been said: a replica that restarts counts its own from the log),
      or the coin of that phase is 1: computed here anew from the secret, position and phase alone;
    - no replica ever says two different things in one phase, whatever it forgot.

    Not verified: who enters a phase with 0 (a coin of 1 without cover allows it), decisions that no
    replica applied or told, and anything about times.
    """

    def __init__(self, total: int, secret: bytes = b"") -> None:
        self.total = total
        self.secret = secret
        self.applied: dict[int, bytes] = {}  # position -> descriptor
        self.decided_upto = 0  # everything below was applied by some replica
        self.phases: dict[int, int] = {}  # position -> highest phase someone spoke in, plus one
        self.inputs: dict[int, int] = {}  # position -> bit set of the values said in phase 0
        self._proposed: dict[int, bytes] = {}
        self._decided: dict[int, int] = {}
        self._states: dict[tuple[int, int, int], int] = {}
        self._votes: dict[tuple[int, int, int], int] = {}
        self._cast: dict[tuple[int, int], int] = {}
        self._ones_written: set[tuple[int, int]] = set()  # (position, phase) of votes for 1

    def received(self, sender: int, message: Message) -> None:
        """A message reached a replica (from itself, too: its own promises count when durable)."""
        if isinstance(message, State):
            self._received_state(sender, message)
        elif isinstance(message, Vote):
            self._received_vote(sender, message)
        elif isinstance(message, Decide):
            for round_ in range(message.first, message.last + 1):
                self._decide(round_ * self.total + message.lane, message.value, f"n{sender} told")
        elif isinstance(message, Pay):
            position = message.round * self.total + message.lane
            self._propose(position, message.payload.descriptor, f"n{sender} sent")

    def _received_state(self, sender: int, state: State) -> None:
        lane, first, last, phase, value, _ = state
        for round_ in range(first, last + 1):
            position = round_ * self.total + lane
            said = self._states.setdefault((sender, position, phase), value)
            if said != value:
                raise Violation("said-once", f"n{sender} said STATE {said} and {value} {state}")
            if phase and value and not self._may_enter_with_one(position, phase):
                raise Violation("P-4", f"n{sender} says {state}: no vote for 1, and the coin is 0")
            if phase == 0:
                self.inputs[position] = self.inputs.get(position, 0) | 1 << value
            if phase >= self.phases.get(position, 0):
                self.phases[position] = phase + 1

    def _may_enter_with_one(self, position: int, phase: int) -> bool:
        before = position, phase - 1
        return before in self._ones_written or _coin(self.secret, *before)

    def _received_vote(self, sender: int, vote: Vote) -> None:
        lane, first, last, phase, value = vote
        for round_ in range(first, last + 1):
            position = round_ * self.total + lane
            said = self._votes.setdefault((sender, position, phase), value)
            if said != value:
                raise Violation("said-once", f"n{sender} voted {said} and {value} {vote}")
            if value != UNSURE and self._cast.setdefault((position, phase), value) != value:
                raise Violation("P-3", f"votes for 0 and 1 in phase {phase} of slot {position}")

    def wrote(
        self, lane: int, records: Sequence[Record], applied: Sequence[tuple[int, Payload]]
    ) -> None:
        """A replica's turn handed these records to its log and these batches to its store."""
        for record in records:
            if isinstance(record, PayRecord) and record.lane == lane:
                position = record.round * self.total + lane
                self._propose(position, record.payload.descriptor, f"n{lane} wrote")
            elif isinstance(record, AppliedRecord):
                self._note_applied(lane, record)
            elif isinstance(record, VoteRecord) and record.value == 1:
                for round_ in range(record.first, record.last + 1):
                    self._ones_written.add((round_ * self.total + record.lane, record.phase))
        for position, payload in applied:
            descriptor = bytes(payload.descriptor)
            known = self.applied.setdefault(position, descriptor)
            if known != descriptor or self._proposed.get(position) != descriptor:
                raise Violation("P-2", f"n{lane} applies another batch in slot {position}")

    def _note_applied(self, lane: int, record: AppliedRecord) -> None:
        ones = set(record.ones)
        for position in range(record.start, record.end):
            self._decide(position, int(position in ones), f"n{lane} applied")
        self.decided_upto = max(self.decided_upto, record.end)

    def _propose(self, position: int, descriptor: object, who: str) -> None:
        batch = bytes(descriptor)  # type: ignore[call-overload]
        if self._proposed.setdefault(position, batch) != batch:
            raise Violation("P-2", f"{who} a second batch for slot {position}")

    def _decide(self, position: int, value: int, who: str) -> None:
        known = self._decided.setdefault(position, value)
        if known != value:
            raise Violation("P-1", f"{who} {value} in slot {position}; {known} was decided before")

    def contested(self) -> list[int]:
        """Phases of each slot about which some replica said 1 and another 0."""
        return [self.phases[position] for position, said in self.inputs.items() if said == 3]

    def truth(self) -> list[tuple[int, bytes]]:
        """All applied batches in order: (position, descriptor)."""
        return sorted(self.applied.items())


def _coin(secret: bytes, position: int, phase: int) -> bool:
    """As docs/protocol.md defines it; not the production code's function, which is on trial."""
    message = position.to_bytes(16, "big") + phase.to_bytes(8, "big")
    return blake2b(message, key=secret, digest_size=1).digest()[0] % 2 == 1

"""One slot: the binary agreement on "the owner's batch (1) or nothing (0)".

Pure bookkeeping and pure questions; `replica` asks them and acts. Bit sets over replicas, one bit
per lane, so that counting is `int.bit_count`. Weak-MVC of Rabia (SOSP 2021) with the proposal
exchange removed (only the owner can propose) and coverage added; the rule numbers are those of
docs/protocol.md.
"""

from __future__ import annotations

from enum import Enum

from racos.core.messages import UNSURE, Payload
from racos.core.quorum import Quorum


class Phase:
    """What was said in one phase, as bit sets of senders."""

    __slots__ = ("ones", "unsure", "vote_ones", "vote_zeros", "zeros")

    def __init__(self) -> None:
        self.ones = 0
        self.zeros = 0
        self.vote_ones = 0
        self.vote_zeros = 0
        self.unsure = 0

    def add_state(self, sender: int, value: int) -> None:
        if value:
            self.ones |= 1 << sender
        else:
            self.zeros |= 1 << sender

    def add_vote(self, sender: int, value: int) -> None:
        if value == UNSURE:
            self.unsure |= 1 << sender
        elif value:
            self.vote_ones |= 1 << sender
        else:
            self.vote_zeros |= 1 << sender

    @property
    def states(self) -> int:
        return self.ones | self.zeros

    @property
    def votes(self) -> int:
        return self.vote_ones | self.vote_zeros | self.unsure


class Need(Enum):
    """What a slot waits for before its next promise."""

    MORE = "more messages"
    REST = "the remaining states, for a moment"
    COVER = "enough durable fragments"


class Slot:
    """State of one undecided, or decided and not yet applied, slot."""

    __slots__ = (
        "cover_since",
        "cover_width",
        "decided",
        "held",
        "lane",
        "payload",
        "phase",
        "phases",
        "position",
        "promised_state",
        "promised_vote",
        "rebuilding",
        "recorded",
        "rest_since",
        "round",
        "said_at",
        "stored",
    )

    def __init__(self, position: int, total: int) -> None:
        self.position = position
        self.round, self.lane = divmod(position, total)
        self.payload: Payload | None = None
        self.recorded = False  # the batch is in this replica's log, or queued for it
        self.stored = 0  # bit set of fragments likewise
        self.decided: int | None = None
        self.phase = 0
        self.phases = [Phase()]
        self.promised_state = -1  # highest phase in which this replica's state was written down
        self.promised_vote = -1
        self.held: dict[int, int] = {}  # holder -> bit set of its durable fragments
        self.said_at: float | None = None  # when this replica's own state of phase 0 was durable
        self.rest_since: float | None = None  # when n-f states were first there
        self.cover_since: float | None = None  # when cover was first missed
        self.cover_width = 1  # width to which this replica has spread the batch, or its own share
        self.rebuilding = 0  # fragments asked of the node, not there yet

    def at(self, phase: int) -> Phase:
        """Phases are unbounded; a message may come from a later one than ours."""
        while len(self.phases) <= phase:
            self.phases.append(Phase())
        return self.phases[phase]

    def add_holder(self, replica: int, mask: int) -> None:
        self.held[replica] = self.held.get(replica, 0) | mask

    def covered(self, quorum: Quorum) -> bool:
        """cover() over everyone who said that the batch is durable there."""
        coded = self.payload.coded if self.payload is not None else True
        return quorum.cover(self.held.values(), coded=coded)


def decision(slot: Slot, quorum: Quorum) -> int | None:
    """Rules 3 and 6: all n said 1 in phase 0, or f+1 equal votes in any phase."""
    first = slot.phases[0]
    if first.ones == quorum.everyone and slot.covered(quorum):
        return 1
    need = quorum.faults + 1
    for phase in slot.phases:
        if phase.vote_ones and phase.vote_ones.bit_count() >= need:
            return 1
        if phase.vote_zeros and phase.vote_zeros.bit_count() >= need:
            return 0
    return None


def vote(
    slot: Slot, quorum: Quorum, me: int, *, absent: int, wait_rest: bool, wait_cover: bool
) -> int | Need:
    """Rules 4 and 5: this replica's vote in the slot's current phase, or what it must wait for.

    `absent` is the bit set of replicas not worth waiting for; `wait_rest` and `wait_cover` say
    whether the slot's patience for stragglers and for coverage lasts.
    """
    phase = slot.at(slot.phase)
    states = phase.states
    if not states >> me & 1 or states.bit_count() < quorum.answers:
        return Need.MORE
    if slot.phase:
        return majority_or_unsure(phase, quorum)
    expected = quorum.everyone & ~absent
    wait_rest = wait_rest and states & expected != expected
    if not phase.zeros:
        # Never '?' here: someone may have seen all n ones and decided.
        if wait_rest:
            return Need.REST
        return 1 if slot.covered(quorum) else Need.COVER
    return _mixed_vote(slot, phase, quorum, wait_rest=wait_rest, wait_cover=wait_cover)


def _mixed_vote(
    slot: Slot, phase: Phase, quorum: Quorum, *, wait_rest: bool, wait_cover: bool
) -> int | Need:
    """Rule 4 with some 0 seen."""
    if phase.zeros.bit_count() >= quorum.majority:
        return 0
    if phase.ones.bit_count() >= quorum.majority:
        if slot.covered(quorum):
            return 1
        return Need.COVER if wait_cover else UNSURE
    return Need.REST if wait_rest else UNSURE


def majority_or_unsure(phase: Phase, quorum: Quorum) -> int:
    """Rule 5."""
    if phase.ones.bit_count() >= quorum.majority:
        return 1
    if phase.zeros.bit_count() >= quorum.majority:
        return 0
    return UNSURE


def next_state(slot: Slot, quorum: Quorum, me: int, coin: int, *, wait_cover: bool) -> int | Need:
    """Rule 6: the state to enter the next phase with, once n-f votes (mine too) are there."""
    phase = slot.at(slot.phase)
    votes = phase.votes
    if not votes >> me & 1 or votes.bit_count() < quorum.answers:
        return Need.MORE
    if phase.vote_ones:
        return 1
    if phase.vote_zeros or not coin:
        return 0
    if slot.covered(quorum):
        return 1
    # Coin 1 without cover would let a batch be decided that f losses destroy.
    return Need.COVER if wait_cover else 0

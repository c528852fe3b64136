"""One slot: weak multi-valued consensus on "this batch, or none" (Rabia, SOSP 2021).

Pure questions; `agreement` asks them and acts. A slot is a sequence of steps, in each of which each
replica says one thing: its PROPOSAL, then STATE and VOTE of phase 0, 1, .. Corrections against the
published code carry the numbers of docs/queue-engine.md.
"""

from __future__ import annotations

from collections import Counter
from enum import Enum

from racos.core.ballots import NONE, PROPOSAL, Ballot, phase_of
from racos.core.messages import UNSURE
from racos.core.quorum import Quorum

Word = tuple[int, int]  # value and name, as in a Ballot


class Wait(Enum):
    """Why a replica says nothing yet."""

    MORE = "more messages"
    REST = "the remaining proposals, for a moment"


class Slot:
    """What was said in one slot at or above the frontier."""

    __slots__ = ("decided", "idle_since", "number", "rest_since", "said", "words")

    def __init__(self, number: int) -> None:
        self.number = number
        self.words: list[dict[int, Ballot]] = []  # by step: what each replica said
        self.said = PROPOSAL - 1  # the last step in which this replica's word was written down
        self.decided: int | None = None  # a batch's name, or NONE
        self.idle_since: float | None = None  # when this replica first had nothing to propose
        self.rest_since: float | None = None  # when it first waited for remaining proposals

    def at(self, step: int) -> dict[int, Ballot]:
        """Phases are unbounded; a word may come from a later one than ours."""
        while len(self.words) <= step:
            self.words.append({})
        return self.words[step]

    def hear(self, sender: int, ballot: Ballot) -> None:
        self.at(ballot.step).setdefault(sender, ballot)

    def proposed(self) -> Counter[int]:
        """How often each name was proposed."""
        return Counter(ballot.name for ballot in self.at(PROPOSAL).values() if ballot.value)

    def best(self) -> tuple[int, int]:
        """The name proposed most often (of equals the oldest), and how often; NONE, 0 if none."""
        counts = self.proposed()
        if not counts:
            return NONE, 0
        name = min(counts, key=lambda each: (-counts[each], each))
        return name, counts[name]


def holders_needed(quorum: Quorum, *, coded: bool) -> int:
    """Proposals of one batch that allow STATE 1 (correction D1).

    A proposal says that the proposer's fragment is durable. The published majority does not make
    the batch survive: k fragments must be left when f of its holders are gone.
    """
    return max(quorum.majority, quorum.data + quorum.faults) if coded else quorum.majority


def first_state(
    slot: Slot, quorum: Quorum, need: int, absent: int, *, patient: bool
) -> Word | Wait:
    """STATE of phase 0. `need` is `holders_needed` of the best name; `absent` (bit set) are not
    worth waiting for."""
    proposals = slot.at(PROPOSAL)
    name, count = slot.best()
    if count >= need:
        return 1, name  # two names cannot both get here: any two majorities meet in one proposer
    if len(proposals) < quorum.answers:
        return Wait.MORE
    missing = quorum.everyone & ~absent & ~sum(1 << sender for sender in proposals)
    if patient and missing and count + missing.bit_count() >= need:
        return Wait.REST
    return 0, NONE


def vote(slot: Slot, quorum: Quorum, step: int) -> Word | Wait:
    """VOTE of the phase whose STATEs are those of `step`."""
    states = slot.at(step)
    if len(states) < quorum.answers:
        return Wait.MORE
    ones = _count(states, 1)
    if ones >= quorum.majority:
        return 1, _name(states)
    return (0, NONE) if _count(states, 0) >= quorum.majority else (UNSURE, NONE)


def next_state(slot: Slot, quorum: Quorum, step: int, coin: int) -> Word | Wait:
    """STATE of the phase after the VOTEs of `step`.

    With the coin on 1 the name comes from this phase's STATEs (correction P1): this replica voted
    '?', so among the n-f >= majority STATEs that it saw not all were 0. As every STATE 1 descends
    from one in phase 0 the batch has its holders, and only one name is ever about.
    """
    votes = slot.at(step)
    if len(votes) < quorum.answers:
        return Wait.MORE
    if _count(votes, 1):
        return 1, _name(votes)
    if _count(votes, 0) or not coin:
        return 0, NONE
    return 1, _name(slot.at(step - 1))


def decision(slot: Slot, quorum: Quorum) -> int | None:
    """The name (or NONE) for which f+1 voted in one phase, however late their votes came."""
    for votes in slot.words[PROPOSAL + 2 :: 2]:
        if _count(votes, 1) > quorum.faults:
            return _name(votes)
        if _count(votes, 0) > quorum.faults:
            return NONE
    return None


def phases(slot: Slot) -> int:
    """How many phases this replica has spoken in."""
    return phase_of(max(slot.said, PROPOSAL + 1)) + 1


def _count(words: dict[int, Ballot], value: int) -> int:
    return sum(ballot.value == value for ballot in words.values())


def _name(words: dict[int, Ballot]) -> int:
    return next(ballot.name for ballot in words.values() if ballot.value == 1)

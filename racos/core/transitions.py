"""Every transition of one slot at one replica, by name: counted, drawn, and covered by tests.

`Agreement.statistics` counts by these names. The verdicts themselves are in `slot`; the functions
below only name what was taken, after the fact, off the way of a fast decision. The diagrams of
docs/protocol.md are generated from the table (`python -m tests.transitions`).
"""

from __future__ import annotations

from typing import Final, NamedTuple

from racos.core.messages import UNSURE
from racos.core.quorum import Quorum
from racos.core.slot import Slot

# Places of a slot: what this replica said last about it.
SILENT: Final = "silent"
ONE: Final = "said 1"
ZERO: Final = "said 0"
VOTED: Final = "voted in phase 0"
LATER: Final = "said a state of phase p"
VOTED_LATER: Final = "voted in phase p"
DECIDED_ONE: Final = "decided 1"
DECIDED_ZERO: Final = "decided 0"
ANY: Final = "any, undecided"


class Transition(NamedTuple):
    name: str
    rule: str  # of docs/protocol.md
    sources: tuple[str, ...]
    target: str  # ANY: it stays where it is
    when: str  # and what is said, if anything


_FIRST: Final = (ONE, ZERO)
_BOTH: Final = (VOTED, VOTED_LATER)

TRANSITIONS: Final = (
    Transition("stores", "1", (SILENT,), ONE, "PAY came / STATE 1"),
    Transition("stores_late", "1", (ANY,), ANY, "PAY came after STATE 0 / HOLD"),
    Transition("holds_more", "1", (ANY,), ANY, "more fragments came / HOLD"),
    Transition("asks_rebuild", "1", (ANY,), ANY, "fragments are wanted, and others hold k"),
    Transition("widened", "4", (ANY,), ANY, "the owner spreads further fragments / PAY"),
    Transition("says_zero", "2", (SILENT,), ZERO, "suspicion / STATE 0"),
    Transition("waits_rest", "4", (ANY,), ANY, "n-f states, the rest may come"),
    Transition("waits_cover", "4, 6", (ANY,), ANY, "a 1 is to be said, cover is missing"),
    Transition("votes_1_no_zero", "4", (ONE,), VOTED, "no 0 seen, covered / VOTE 1"),
    Transition("votes_1_majority", "4", _FIRST, VOTED, "a 0 seen, most said 1, covered / VOTE 1"),
    Transition("votes_0", "4", _FIRST, VOTED, "most said 0 / VOTE 0"),
    Transition("votes_unsure_split", "4", _FIRST, VOTED, "no majority / VOTE ?"),
    Transition("votes_unsure_cover", "4", _FIRST, VOTED, "a 0 seen, cover given up / VOTE ?"),
    Transition("votes_1_later", "5", (LATER,), VOTED_LATER, "most said 1 / VOTE 1"),
    Transition("votes_0_later", "5", (LATER,), VOTED_LATER, "most said 0 / VOTE 0"),
    Transition("votes_unsure_later", "5", (LATER,), VOTED_LATER, "no majority / VOTE ?"),
    Transition("follows_1", "6", _BOTH, LATER, "some vote is 1 / STATE 1"),
    Transition("follows_0", "6", _BOTH, LATER, "some vote is 0 / STATE 0"),
    Transition("coin_1", "6", _BOTH, LATER, "all ?, coin 1, covered / STATE 1"),
    Transition("coin_0", "6", _BOTH, LATER, "all ?, coin 0 / STATE 0"),
    Transition("coin_1_given_up", "6", _BOTH, LATER, "all ?, coin 1, cover given up / STATE 0"),
    Transition("fast", "3", (ONE,), DECIDED_ONE, "all n said 1"),
    Transition("voted_one", "6", (ANY,), DECIDED_ONE, "f+1 votes 1"),
    Transition("voted_zero", "6", (ANY,), DECIDED_ZERO, "f+1 votes 0"),
)
NAMES: Final = tuple(transition.name for transition in TRANSITIONS)


def vote_taken(slot: Slot, quorum: Quorum, vote: int) -> str:
    """By which transition this replica votes so in the slot's phase."""
    phase = slot.phases[slot.phase]
    if slot.phase:
        return ("votes_0_later", "votes_1_later", "votes_unsure_later")[vote]
    if vote == UNSURE:
        most = phase.ones.bit_count() >= quorum.majority
        return "votes_unsure_cover" if most else "votes_unsure_split"
    if vote:
        return "votes_1_majority" if phase.zeros else "votes_1_no_zero"
    return "votes_0"


def state_taken(slot: Slot, coin: int, state: int) -> str:
    """By which transition this replica leaves the slot's phase with that state."""
    phase = slot.phases[slot.phase]
    if phase.vote_ones or phase.vote_zeros:
        return "follows_1" if state else "follows_0"
    if coin:
        return "coin_1" if state else "coin_1_given_up"
    return "coin_0"

"""Verdicts of one slot."""

from __future__ import annotations

import pytest

from racos.core.ballots import NONE, PROPOSAL, Ballot
from racos.core.messages import UNSURE
from racos.core.quorum import Quorum
from racos.queue.slot import (
    Slot,
    Wait,
    decision,
    first_state,
    holders_needed,
    next_state,
    phases,
    vote,
)

FIVE = Quorum(5, 1, 3)
X, Y = 5, 9
STATE, VOTE = PROPOSAL + 1, PROPOSAL + 2


def said(step: int, *words: tuple[int, int] | None) -> Slot:
    """A slot in which replica i said words[i] in that step."""
    slot = Slot(0)
    for sender, word in enumerate(words):
        if word is not None:
            slot.hear(sender, Ballot(0, step, *word))
    return slot


def one(name: int) -> tuple[int, int]:
    return 1, name


ZERO = (0, NONE)
MAYBE = (UNSURE, NONE)


@pytest.mark.parametrize(
    ("shape", "coded", "needed"),
    [
        ((3, 1, 1), True, 2),
        ((5, 1, 3), True, 4),
        ((5, 2, 1), True, 3),
        ((7, 2, 3), True, 5),
        ((5, 1, 3), False, 3),
    ],
)
def test_proposals_needed_survive_f_losses(
    shape: tuple[int, int, int], coded: bool, needed: int
) -> None:
    quorum = Quorum(*shape)
    assert holders_needed(quorum, coded=coded) == needed
    assert needed <= quorum.answers  # or a batch could never pass with f replicas away


def test_enough_proposals_of_one_name_are_a_state_1_at_once() -> None:
    slot = said(PROPOSAL, one(X), one(X), one(X), one(X))
    assert first_state(slot, FIVE, 4, 0, patient=True) == (1, X)


def test_a_name_that_may_still_get_there_is_waited_for_while_patience_lasts() -> None:
    slot = said(PROPOSAL, one(X), one(X), one(X), ZERO)
    assert first_state(slot, FIVE, 4, 0, patient=True) is Wait.REST
    assert first_state(slot, FIVE, 4, 0, patient=False) == ZERO
    assert first_state(slot, FIVE, 4, 1 << 4, patient=True) == ZERO  # it is away


def test_fewer_than_n_minus_f_proposals_say_nothing_yet() -> None:
    assert first_state(said(PROPOSAL, one(X), one(Y)), FIVE, 4, 0, patient=False) is Wait.MORE


def test_of_equals_the_oldest_is_best() -> None:
    assert said(PROPOSAL, one(Y), one(X), one(X), one(Y)).best() == (X, 2)
    assert said(PROPOSAL, ZERO).best() == (NONE, 0)


@pytest.mark.parametrize(
    ("states", "verdict"),
    [
        ((one(X), one(X), one(X), ZERO), (1, X)),
        ((ZERO, ZERO, ZERO, one(X)), ZERO),
        ((one(X), one(X), ZERO, ZERO), MAYBE),
        ((one(X), one(X), one(X)), Wait.MORE),
    ],
)
def test_votes_follow_a_majority_of_states(
    states: tuple[tuple[int, int], ...], verdict: tuple[int, int] | Wait
) -> None:
    assert vote(said(STATE, *states), FIVE, STATE) == verdict


def test_the_next_state_follows_any_vote_then_the_coin_which_takes_its_name_from_the_states() -> (
    None
):
    assert next_state(said(VOTE, MAYBE, MAYBE, one(X), MAYBE), FIVE, VOTE, 0) == (1, X)
    assert next_state(said(VOTE, MAYBE, ZERO, MAYBE, MAYBE), FIVE, VOTE, 1) == ZERO
    unsure = said(VOTE, MAYBE, MAYBE, MAYBE, MAYBE)
    unsure.hear(2, Ballot(0, STATE, 1, X))
    assert next_state(unsure, FIVE, VOTE, 0) == ZERO
    assert next_state(unsure, FIVE, VOTE, 1) == (1, X)
    assert next_state(said(VOTE, MAYBE), FIVE, VOTE, 1) is Wait.MORE


def test_f_plus_one_equal_votes_decide_in_whatever_phase() -> None:
    assert decision(said(VOTE, one(X), MAYBE, MAYBE, MAYBE), FIVE) is None
    assert decision(said(VOTE, one(X), one(X)), FIVE) == X
    assert decision(said(VOTE + 4, ZERO, ZERO), FIVE) == NONE


def test_phases_are_counted_by_the_last_word() -> None:
    slot = Slot(0)
    assert phases(slot) == 1
    slot.said = VOTE
    assert phases(slot) == 1
    slot.said = VOTE + 1
    assert phases(slot) == 2

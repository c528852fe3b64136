"""One slot never decides two ways, nor what f losses destroy; and the search finds seeded bugs."""

from __future__ import annotations

import os

import pytest

from racos.core.quorum import Quorum
from tests.core.one_slot import (
    OneSlot,
    Rules,
    coin_one_without_cover,
    decision_of_f_votes,
    fast_decision_of_a_quorum,
    unsure_without_a_zero,
    vote_one_without_cover,
)

SHAPES = [(2, 0, 2), (3, 1, 2), (4, 1, 3), (5, 1, 3), (5, 2, 3), (7, 3, 4)]
RUNS = 50 * int(os.environ.get("RACOS_SEEDS", "6"))


def explore(shape: tuple[int, int, int], rules: Rules, runs: int) -> int:
    """How many runs decided."""
    quorum = Quorum(*shape)
    decided = 0
    for seed in range(runs):
        slot = OneSlot(quorum, seed, rules)
        slot.run(steps=40 * quorum.total)
        decided += slot.decided is not None
    return decided


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_one_slot_is_decided_one_way_and_recoverable(shape: tuple[int, int, int]) -> None:
    assert explore(shape, Rules(), RUNS) > RUNS // 5


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rules", "shape", "runs"),
    [
        (Rules(vote=unsure_without_a_zero), (3, 1, 2), 5000),
        (Rules(next_state=coin_one_without_cover), (5, 2, 3), 5000),
        (Rules(decision=fast_decision_of_a_quorum), (3, 1, 2), 5000),
        (Rules(decision=decision_of_f_votes), (3, 1, 2), 5000),
        (Rules(vote=vote_one_without_cover), (3, 1, 2), 5000),
    ],
    ids=["unsure", "coin", "fast", "f votes", "cover"],
)
def test_the_search_finds_seeded_bugs(rules: Rules, shape: tuple[int, int, int], runs: int) -> None:
    with pytest.raises(AssertionError, match="decided"):
        explore(shape, rules, runs)

"""Random schedules of delivery, sync, crash, restart, cuts, pauses and replays over the queue
engine: order, promises, names, reads and coverage never break, and everything settles.

RACOS_SEEDS=300 runs more of them.
"""

from __future__ import annotations

import os

import pytest

from tests.core.schedules import ReadSchedule, run_and_settle
from tests.queue.world import QueueWorld

SEEDS = int(os.environ.get("RACOS_SEEDS", "2"))
SHAPES = [(1, 0, 1), (2, 0, 2), (3, 1, 1), (4, 1, 2), (5, 1, 3), (5, 2, 1), (7, 2, 3)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("seed", range(SEEDS))
def test_random_schedules_agree_cover_and_settle(shape: tuple[int, int, int], seed: int) -> None:
    run_and_settle(*shape, seed, kind=QueueWorld)


@pytest.mark.parametrize("shape", SHAPES[1:], ids=str)
def test_reads_see_what_was_acknowledged_before_they_began(shape: tuple[int, int, int]) -> None:
    for seed in range(SEEDS):
        ReadSchedule(*shape, seed, kind=QueueWorld).run(300)

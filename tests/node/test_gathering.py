"""Lanes under load propose together; one that is alone, or has little, waits for nobody."""

from __future__ import annotations

import random
from math import inf

import pytest

from racos.core.engine import LANES, QUEUE
from racos.mvcc.command import Put, Result
from racos.node.gathering import Gathering, Patience
from tests.node.cluster import Cluster, Outcome

LATENCY = 0.004


def lane(*, commands: int = 20, patience: Patience = Patience()) -> Gathering:  # noqa: B008
    """One that has proposed batches in rounds up to 9, in company, until second 1."""
    gathering = Gathering(patience)
    for _ in range(100):
        gathering.heard(9, 1.0)
        gathering.proposed(9, commands, 1.0)
        gathering.decided(LATENCY)
    return gathering


def test_a_lane_in_company_waits_for_part_of_a_decision() -> None:
    gathering = lane()
    gathering.began(1.001)
    assert gathering.due(1.001) == pytest.approx(1.001 + LATENCY / 2, rel=0.01)


def test_it_joins_a_round_that_another_has_begun() -> None:
    gathering = lane()
    gathering.began(1.001)
    gathering.heard(10, 1.0015)
    assert gathering.due(1.0015) <= 1.0015


def test_a_round_that_was_passed_over_is_not_joined() -> None:
    gathering = lane()
    gathering.heard(10, 1.001)  # nothing was waiting then: the lane is skipped
    gathering.began(1.002)
    assert gathering.due(1.002) > 1.002


@pytest.mark.parametrize(
    ("commands", "patience"),
    [(3, Patience()), (20, Patience(share=0.0)), (20, Patience(seconds_max=0.0))],
)
def test_small_batches_do_not_wait(commands: int, patience: Patience) -> None:
    gathering = lane(commands=commands, patience=patience)
    gathering.began(1.001)
    assert gathering.due(1.001) <= 1.001


def test_a_lane_whose_company_has_gone_does_not_wait() -> None:
    gathering = lane()
    gathering.began(1.0 + 4 * LATENCY)
    assert gathering.due(1.0 + 4 * LATENCY) <= 1.0 + 4 * LATENCY


def test_no_lane_waits_longer_than_a_bound() -> None:
    gathering = lane(patience=Patience(seconds_max=0.001))
    gathering.began(1.002)
    assert gathering.due(1.002) == pytest.approx(1.003)


def load(cluster: Cluster) -> int:
    """Ten clients of each lane come back together, some time after their last answer; how often a
    lane waited for others."""
    source = random.Random(1)
    lanes = cluster.alive()
    waiting: list[list[Outcome[Result]]] = [[] for _ in lanes]
    back_at = [0.0 for _ in lanes]
    waited = 0
    for _ in range(300):
        for each in lanes:
            if waiting[each] and all(outcome.done() for outcome in waiting[each]):
                waiting[each] = []
                back_at[each] = cluster.now + source.uniform(0.0, 0.002)
            if not waiting[each] and cluster.now >= back_at[each]:
                puts = [Put(b"k%d" % source.randrange(99), b"v") for _ in range(10)]
                waiting[each] = [cluster.submit(each, put) for put in puts]
        cluster.step()
        cluster.now += 0.0005
        for each in lanes:
            waited += cluster.driver(each).wake_at < inf
            cluster.driver(each).wake_at = inf
    return waited


def batches_per_round(share: float) -> float:
    cluster = Cluster(3, 1, 2)
    for each in cluster.alive():
        cluster.driver(each).batcher.gathering = Gathering(Patience(share))
    load(cluster)
    replica = cluster.driver(0).replica
    return replica.agreement.statistics["fast"] / (replica.window.frontier / 3)


def test_lanes_that_gather_share_their_rounds() -> None:
    assert batches_per_round(0.5) > 1.3 * batches_per_round(0.0)


@pytest.mark.parametrize(("engine", "waits"), [(LANES, True), (QUEUE, False)])
def test_only_an_engine_whose_rounds_are_shared_waits_for_others(engine: str, waits: bool) -> None:
    cluster = Cluster(3, 1, 1, engine=engine)
    cluster.run(0.1)
    assert bool(load(cluster)) == waits

"""Lanes off and on, with whole nodes: what a dead member costs, and how its lane comes back."""

from __future__ import annotations

from collections import Counter

from racos.core.config import Config
from racos.core.messages import State, Vote
from racos.mvcc.command import Put
from racos.node import wire
from tests.node.cluster import Cluster

AFTER = 0.5
W = 128


def settled(dead: tuple[int, ...] = (2,), total: int = 3, faults: int = 1) -> Cluster:
    """A cluster in which these are gone, and their lanes off by a change not yet in force."""
    cluster = Cluster(total, faults, total - faults, lane_off_after=AFTER)
    cluster.run(0.2)
    for lane in dead:
        cluster.crash(lane)
    cluster.run(3.0, lambda: all(off(cluster, lane) == mask(dead) for lane in cluster.alive()))
    return cluster


def mask(lanes: tuple[int, ...]) -> int:
    return sum(1 << lane for lane in lanes)


def off(cluster: Cluster, lane: int) -> int:
    return cluster.driver(lane).replica.configs.newest.off


def pass_rounds(cluster: Cluster, lane: int, rounds: int) -> None:
    end = cluster.driver(lane).replica.window.round + rounds
    while cluster.driver(lane).replica.window.round < end:
        cluster.do(lane, Put(b"k", b"v"))


def said(cluster: Cluster, writes: int) -> Counter[str]:
    """Promises sent during some writes, told apart by whether they are about lane 2."""
    counts: Counter[str] = Counter()
    for _ in range(writes):
        outcome = cluster.submit(0, Put(b"k", b"v"))
        while not outcome.done():
            for _, _, header, blobs in cluster.flight:
                for message in wire.decode(header, blobs, cluster.quorum.total):
                    if isinstance(message, State | Vote):
                        counts["dead" if message.lane == 2 else "live"] += 1
            cluster.step()
            cluster.now += 0.001
    return counts


def test_a_dead_lane_costs_promises_until_it_is_off_and_none_afterwards() -> None:
    cluster = settled()
    before = said(cluster, W)
    pass_rounds(cluster, 0, 2)
    after = said(cluster, W)
    print(f"promises in {W} writes: {dict(before)} before, {dict(after)} with the lane off")
    assert before["dead"] >= W // 32
    assert after["dead"] == 0
    assert after["live"] <= before["live"]


def test_an_owner_that_is_back_has_its_lane_within_milliseconds_in_an_idle_cluster() -> None:
    cluster = settled()
    pass_rounds(cluster, 0, W + 2)
    cluster.start(2)
    begun = cluster.now
    outcome = cluster.submit(2, Put(b"back", b"again"))
    cluster.run(2.0, outcome.done)
    took = cluster.now - begun
    print(f"the first write of a member that is back: after {1000 * took:.0f} ms")
    assert outcome.get().revision == cluster.driver(0).store.revision
    assert took < 0.25, "it had to be told the history, ask for its lane, and propose"
    assert [off(cluster, lane) for lane in range(3)] == [0, 0, 0]
    configs = {cluster.driver(lane).replica.configs.newest for lane in range(3)}
    assert len(configs) == 1
    assert [line.split(" epoch")[0] for line in cluster.reports] == (
        ["lane.off lane=2"] * 3 + ["lane.on lane=2"] * 3
    )


def test_lanes_stay_off_when_everybody_restarts() -> None:
    cluster = settled()
    pass_rounds(cluster, 1, 5)
    known = cluster.driver(0).replica.configs.newest
    assert known == Config(1, known.first, 0b100)
    cluster.run(0.2)  # what was applied is written down lazily
    for lane in (0, 1):
        cluster.crash(lane)
    for lane in (0, 1):
        cluster.start(lane)
    cluster.do(1, Put(b"k", b"v"))
    assert [cluster.driver(lane).replica.configs.newest for lane in (0, 1)] == [known, known]
    pass_rounds(cluster, 1, W + 2)
    assert said(cluster, 5)["dead"] == 0


def test_two_of_five_are_off_and_two_others_may_fail_once_they_are_back() -> None:
    cluster = settled(dead=(0, 3), total=5, faults=2)
    pass_rounds(cluster, 1, W + 2)
    for lane in (0, 3):
        cluster.start(lane)
    cluster.run(2.0, lambda: all(off(cluster, lane) == 0 for lane in cluster.alive()))
    cluster.crash(1)
    cluster.crash(2)
    for lane in (0, 3, 4):
        cluster.do(lane, Put(b"%d" % lane, b"x" * 200))
    cluster.run(4.0, lambda: all(off(cluster, lane) == 0b00110 for lane in cluster.alive()))
    assert {off(cluster, lane) for lane in cluster.alive()} == {0b00110}


def test_a_write_at_an_owner_that_stays_off_ends_with_its_deadline() -> None:
    cluster = settled()
    pass_rounds(cluster, 0, W + 2)
    cluster.split(2, 0)
    cluster.split(2, 1)
    cluster.start(2)
    outcome = cluster.submit(2, Put(b"k", b"lost"))
    cluster.run(3.0, outcome.done)
    assert type(outcome.error).__name__ == "RequestTimedOut"

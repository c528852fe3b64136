"""Whole nodes that lose their disks: silent until they have taken what the others have."""

from __future__ import annotations

import pytest

from racos.core.messages import (
    Pay,
    PayRecord,
    Probe,
    ProbeReply,
    Record,
    Skip,
    State,
    StateRecord,
    Vote,
    VoteRecord,
)
from racos.core.replica import Replica
from racos.core.vow import Vow
from racos.mvcc.command import Put
from racos.node import records, wire
from racos.node.healer import Healing
from racos.node.silence import TELL_SECONDS
from racos.storage.log import Log
from racos.storage.vow import read_vow
from tests.node.cluster import Cluster
from tests.node.test_healing import assert_readable, is_clean, large

SHAPES = [(3, 1, 2), (5, 2, 3), (4, 1, 3)]


def vow_of(cluster: Cluster, lane: int) -> Vow:
    replica = cluster.driver(lane).replica
    assert isinstance(replica, Replica)
    return replica.vow


def speaking(cluster: Cluster) -> list[int]:
    return [lane for lane in cluster.alive() if not vow_of(cluster, lane).silent]


def put(cluster: Cluster, numbers: range) -> None:
    """k<number> with a large value, through the nodes that speak."""
    up = speaking(cluster)
    for number in numbers:
        cluster.do(up[number % len(up)], Put(b"k%d" % number, large(number)))


def begun(*shape: int) -> Cluster:
    """A new cluster with k0 to k5."""
    total, faults, data = shape
    cluster = Cluster(total, faults, data, vows=True)
    cluster.run(0.1)
    put(cluster, range(6))
    cluster.run(0.3)
    return cluster


def lose(cluster: Cluster, lane: int) -> None:
    cluster.crash(lane)
    cluster.wipe(lane)


def run_until_all_speak(cluster: Cluster, seconds: float = 8.0) -> None:
    cluster.run(seconds, lambda: speaking(cluster) == cluster.alive())
    assert speaking(cluster) == cluster.alive(), cluster.reports


def told(cluster: Cluster, sender: int) -> list[wire.NodeMessage]:
    """What this node says in its frames that are under way."""
    return [
        message
        for one, _, header, blobs in cluster.flight
        if one == sender
        for message in wire.decode(header, blobs, cluster.quorum.total)
    ]


def logged(cluster: Cluster, lane: int) -> list[Record]:
    """What a node's log says, as a start would read it."""
    cluster.crash(lane)
    log = Log.open(cluster.disks[lane], member_id=lane + 1, cluster_id=9)
    return [records.decode(entry.kind, entry.header)[0] for entry in log.replay()]


@pytest.mark.parametrize("shape", SHAPES)
def test_a_new_cluster_comes_up_with_a_quorum(shape: tuple[int, int, int]) -> None:
    cluster = Cluster(*shape, vows=True)
    for lane in range(shape[1]):
        lose(cluster, lane)
    cluster.run(0.1)
    assert speaking(cluster) == cluster.alive()
    put(cluster, range(3))
    assert not [report for report in cluster.reports if "vow" in report]


def test_who_held_more_than_its_own_fragments_holds_them_again() -> None:
    """Fast as they were, some batches rest on wider shares, since one member is away."""
    cluster = begun(5, 2, 3)
    cluster.crash(4)
    cluster.run(1.0)
    put(cluster, range(6, 12))
    cluster.run(0.3)
    lose(cluster, 0)
    cluster.start(0)
    run_until_all_speak(cluster)
    driver = cluster.driver(0)
    positions = {position for position, *_ in driver.library.held_places()}
    assert {driver.library.held(position) for position in positions} == {0b00111}
    cluster.start(4)
    cluster.run(8.0, lambda: is_clean(cluster))
    assert is_clean(cluster)
    assert {driver.library.held(position) for position in positions} == {0b00001}
    for lane in (1, 2):
        cluster.crash(lane)
    assert_readable(cluster, range(12))


def test_who_starts_for_the_first_time_later_joins_as_if_it_had_lost_its_disk() -> None:
    cluster = Cluster(3, 1, 2, vows=True)
    lose(cluster, 2)
    cluster.run(0.1)
    put(cluster, range(3))
    cluster.start(2)
    run_until_all_speak(cluster)
    assert vow_of(cluster, 2).memory.upto > 0
    cluster.crash(0)
    put(cluster, range(3, 6))
    assert_readable(cluster, range(6))


@pytest.mark.parametrize("shape", SHAPES)
def test_a_lost_disk_comes_back_and_f_others_may_go_then(shape: tuple[int, int, int]) -> None:
    cluster = begun(*shape)
    lose(cluster, 1)
    put(cluster, range(6, 10))
    cluster.start(1)
    put(cluster, range(10, 12))
    run_until_all_speak(cluster)
    put(cluster, range(12, 14))
    cluster.run(1.0)
    assert is_clean(cluster)
    for lane in [lane for lane in cluster.alive() if lane != 1][: shape[1]]:
        cluster.crash(lane)
    assert_readable(cluster, range(14))
    put(cluster, range(14, 16))


def test_nothing_is_said_or_promised_before_and_nothing_of_those_rounds_ever() -> None:
    cluster = begun(3, 1, 2)
    lose(cluster, 1)
    cluster.start(1)
    read, write = cluster.barrier(1), cluster.submit(1, Put(b"waits", b"x"))
    kinds = (State, Vote, Skip, ProbeReply, Pay, Probe)
    for number in range(1000):
        cluster.submit(0, Put(b"k%d" % number, large(number)))
        cluster.step()
        if 1 in speaking(cluster):
            break
        assert not [message for message in told(cluster, 1) if isinstance(message, kinds)]
        assert read.error or not read.done()
        assert write.error or not write.done()
        cluster.now += 0.005
    assert number > 10
    upto = vow_of(cluster, 1).memory.upto
    cluster.run(1.0)
    put(cluster, range(3))
    said = [
        record.round if isinstance(record, PayRecord) else record.first
        for record in logged(cluster, 1)
        if isinstance(record, StateRecord | VoteRecord)
        or (isinstance(record, PayRecord) and record.says_one)
    ]
    assert said
    assert min(said) > upto


def test_what_an_earlier_life_was_counted_on_for_is_made_again_in_full() -> None:
    """With node 4 away, batches are as wide as four holders need; node 0 is one of them."""
    cluster = begun(5, 2, 3)
    cluster.crash(4)
    cluster.run(0.5)
    put(cluster, range(6, 12))
    cluster.run(0.3)
    lose(cluster, 0)
    cluster.start(0)
    run_until_all_speak(cluster)
    library = cluster.driver(0).library
    coded = [position for position in library.past.ones if library.is_coded(position)]
    other = cluster.driver(1).library
    held = [other.held(position) for position in other.past.ones if other.is_coded(position)]
    assert any(mask & ~(1 << 1) for mask in held), "nothing was wide"
    assert not cluster.driver(0).healer.holdings.missing
    surplus = cluster.driver(0).healer.holdings.surplus
    assert len(surplus) >= len(coded)
    for lane in (1, 2):
        cluster.crash(lane)
    assert_readable(cluster, range(12))
    for lane in (1, 2, 4):
        cluster.start(lane)
    cluster.run(8.0, lambda: is_clean(cluster))
    assert is_clean(cluster)


def test_crashes_on_the_way_leave_it_silent_with_what_it_has_taken() -> None:
    cluster = begun(3, 1, 2)
    lose(cluster, 1)
    vows, frontiers = [], [0]
    for life in range(40):
        cluster.start(1)
        frontiers.append(cluster.driver(1).replica.window.frontier)
        cluster.run(0.02 * life)
        if 1 in speaking(cluster):
            break
        written = read_vow(cluster.disks[1])
        assert written is not None
        assert not written.kept
        vows.append(written.upto)
        cluster.crash(1)
    assert 5 < life < 39
    assert len({upto for upto in vows if upto >= 0}) == 1, "what was known stays known"
    assert frontiers == sorted(frontiers)
    cluster.crash(0)
    assert_readable(cluster, range(6))


def test_it_has_no_vote_before_its_fragments_are_healed() -> None:
    cluster = begun(3, 1, 2)
    lose(cluster, 1)
    usual = cluster.options
    cluster.options = usual._replace(healing=Healing(bytes_per_second=1))
    cluster.start(1)
    cluster.run(4.0)
    silence = cluster.driver(1).silence
    assert silence is not None
    progress = silence.progress
    assert progress is not None
    assert progress.applied > progress.upto > 0
    assert progress.missing > 0
    cluster.crash(1)
    cluster.options = usual
    cluster.start(1)
    run_until_all_speak(cluster)


def test_the_vow_outlives_a_restart() -> None:
    cluster = begun(3, 1, 2)
    lose(cluster, 1)
    cluster.start(1)
    run_until_all_speak(cluster)
    memory = vow_of(cluster, 1).memory
    cluster.crash(1)
    cluster.start(1)
    assert vow_of(cluster, 1).memory == memory
    assert speaking(cluster) == [0, 1, 2]
    put(cluster, range(6, 9))


def test_two_of_five_at_once() -> None:
    cluster = begun(5, 2, 3)
    for lane in (1, 4):
        lose(cluster, lane)
    for lane in (1, 4):
        cluster.start(lane)
    run_until_all_speak(cluster)
    put(cluster, range(6, 9))
    cluster.run(1.0)
    assert is_clean(cluster)
    for lane in (0, 2):
        cluster.crash(lane)
    assert_readable(cluster, range(9))


def test_more_than_f_are_silent_for_ever_and_say_why() -> None:
    cluster = begun(3, 1, 2)
    for lane in (0, 1):
        lose(cluster, lane)
    for lane in (0, 1):
        cluster.start(lane)
    cluster.run(2 * TELL_SECONDS + 1)
    assert speaking(cluster) == [2]
    why = "upto_round=unknown: 1 of 2 others with their memory have answered"
    assert len([report for report in cluster.reports if why in report]) == 4
    assert not cluster.barrier(2).done()


def test_one_that_never_was_there_does_not_vouch_for_a_new_cluster() -> None:
    """Node 2 starts for the first time and does not hear node 1; node 0 has lost its disk. They
    are as fresh as each other, but node 0 hears of node 1's memory."""
    cluster = Cluster(3, 1, 2, vows=True)
    lose(cluster, 2)
    cluster.run(0.1)
    put(cluster, range(3))
    cluster.split(1, 2)
    cluster.start(2)
    lose(cluster, 0)
    cluster.start(0)
    cluster.run(0.5)
    assert 2 in speaking(cluster)
    assert vow_of(cluster, 0).upto not in (None, -1)
    cluster.heal()
    run_until_all_speak(cluster)
    assert_readable(cluster, range(3))


def test_it_is_told_how_far_it_is() -> None:
    cluster = begun(3, 1, 2)
    lose(cluster, 1)
    cluster.start(1)
    silence = cluster.driver(1).silence
    assert silence is not None
    progress = silence.progress
    assert progress is not None
    assert progress == (-1, 0, 0)
    cluster.run(0.1)
    progress = silence.progress
    assert progress is not None
    assert progress.upto > 0
    run_until_all_speak(cluster)
    silence = cluster.driver(1).silence
    assert silence is not None
    assert silence.progress is None
    assert any("vow.kept" in report for report in cluster.reports)


def test_a_state_is_taken_on_an_empty_log() -> None:
    """Without coded values nothing of it goes into the log."""
    cluster = Cluster(3, 1, 2, vows=True)
    cluster.run(0.1)
    for number in range(20):
        cluster.do(number % 3, Put(b"small", b"%d" % number))
    cluster.run(2.0)
    assert cluster.driver(0).library.past.floor > 0
    lose(cluster, 1)
    cluster.start(1)
    run_until_all_speak(cluster)
    assert 1 in cluster.installed
    assert cluster.value(1, b"small") == b"19"

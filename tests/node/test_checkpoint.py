"""The index of a node: what a start takes from it, and what it never takes on trust."""

from __future__ import annotations

import random

import pytest

from racos.mvcc.command import (
    Command,
    Compact,
    DeleteRange,
    LeaseGrant,
    LeaseGrantResult,
    Put,
    Range,
    Txn,
)
from racos.mvcc.encoding import PAST, after
from racos.mvcc.shelf import MemoryShelf
from racos.node.checkpoint import Flushes, read_applied
from racos.storage.log import LogError
from racos.storage.memdisk import MemDisk
from tests.node.cluster import Cluster


def put_many(cluster: Cluster, count: int, start: int = 0) -> None:
    for number in range(start, start + count):
        cluster.do(number % cluster.quorum.total, Put(b"key%d" % number, b"value%d" % number))


def digests(cluster: Cluster) -> set[bytes]:
    return {cluster.driver(lane).store.state_digest() for lane in cluster.alive()}


def flush(cluster: Cluster) -> None:
    cluster.run(0.2)  # the log becomes durable, what promises nothing too
    for lane in cluster.alive():
        cluster.driver(lane).store.shelf.flush()


def power_cut(cluster: Cluster) -> None:
    for lane in range(cluster.quorum.total):
        cluster.crash(lane)
    for lane in range(cluster.quorum.total):
        cluster.start(lane)


def test_a_start_applies_only_what_the_index_lacks() -> None:
    cluster = Cluster(3, 1, 2)
    put_many(cluster, 30)
    flush(cluster)
    put_many(cluster, 5, start=30)
    cluster.run(0.2)
    before = digests(cluster)
    cluster.shelves[0].crash()
    cluster.crash(0)
    driver = cluster.start(0)
    assert 5 <= driver.applier.commands < 30
    cluster.run(0.5)
    assert digests(cluster) == before


def test_an_index_that_has_everything_leaves_nothing_to_apply() -> None:
    cluster = Cluster(3, 1, 2)
    put_many(cluster, 10)
    flush(cluster)
    power_cut(cluster)
    assert [cluster.driver(lane).applier.commands for lane in range(3)] == [0, 0, 0]
    assert cluster.value(0, b"key9") == b"value9"
    put_many(cluster, 3, start=10)
    cluster.run(0.2)
    assert len(digests(cluster)) == 1


def test_a_lost_index_is_rebuilt_from_the_log() -> None:
    cluster = Cluster(3, 1, 2)
    put_many(cluster, 20)
    flush(cluster)
    before = digests(cluster)
    cluster.crash(1)
    cluster.shelves[1] = MemoryShelf()
    assert cluster.start(1).applier.commands == 20
    assert digests(cluster) == before


def test_an_older_copy_of_the_index_is_brought_up_to_date() -> None:
    cluster = Cluster(3, 1, 2)
    put_many(cluster, 10)
    flush(cluster)
    copy = MemoryShelf()
    for key, value in cluster.shelves[2].scan(b"", b"\xff"):
        copy.put(key, value)
    copy.commit()
    put_many(cluster, 10, start=10)
    flush(cluster)
    before = digests(cluster)
    cluster.crash(2)
    cluster.shelves[2] = copy
    cluster.start(2)
    assert digests(cluster) == before


def test_an_index_ahead_of_its_log_is_refused_in_one_line() -> None:
    cluster = Cluster(3, 1, 2)
    put_many(cluster, 10)
    flush(cluster)
    cluster.crash(0)
    cluster.disks[0] = MemDisk(random.Random(1))
    with pytest.raises(LogError, match="log and index do not belong together") as refused:
        cluster.start(0)
    assert "\n" not in str(refused.value)


def test_the_index_is_never_ahead_of_what_the_log_has_durable() -> None:
    cluster = Cluster(3, 1, 2)
    for seed in range(6):
        put_many(cluster, 4, start=4 * seed)
        for lane in range(3):
            shelf, driver = cluster.shelves[lane], cluster.driver(lane)
            shelf.flush()
            assert shelf.flushed_sequence <= driver.log.durable_sequence
            assert read_applied(shelf).sequence >= shelf.flushed_sequence


def test_leases_and_their_keys_are_there_after_a_start() -> None:
    cluster = Cluster(3, 1, 2)
    granted = cluster.do(0, LeaseGrant(7, 2))
    assert isinstance(granted, LeaseGrantResult)
    cluster.do(1, Put(b"leased", b"x", lease=7))
    flush(cluster)
    power_cut(cluster)
    (lease,) = cluster.driver(0).store.leases
    assert (lease.id, lease.ttl, lease.sorted_keys()) == (7, 2, [b"leased"])
    cluster.run(6.0, lambda: cluster.driver(0).store.count(b"leased") == 0)
    assert cluster.driver(0).store.count(b"leased") == 0
    assert len(cluster.driver(0).store.leases) == 0


def test_compacted_versions_are_dropped_in_the_background_on_every_node() -> None:
    cluster = Cluster(3, 1, 2)
    for number in range(200):
        cluster.submit(0, Put(b"k", b"%d" % number))
    cluster.run(1.0)
    cluster.do(0, Compact(cluster.driver(0).store.revision))
    before = digests(cluster)
    counts = [len(list(shelf.keys(PAST, after(PAST)))) for shelf in cluster.shelves]
    assert max(counts) > 100  # a tick looks at a few only
    cluster.run(1.0)
    assert [len(list(shelf.keys(PAST, after(PAST)))) for shelf in cluster.shelves] == [0, 0, 0]
    assert digests(cluster) == before


def test_the_index_is_flushed_after_a_while_without_much_traffic() -> None:
    cluster = Cluster(1, 0, 1)
    put_many(cluster, 3)
    cluster.run(0.2)
    assert cluster.shelves[0].flushed_sequence == 0
    cluster.now += Flushes().seconds
    cluster.run(0.2)
    assert cluster.shelves[0].flushed_sequence > 0
    assert cluster.shelves[0].unflushed_bytes == 0


def test_keys_are_loaded_in_the_background_after_a_start() -> None:
    cluster = Cluster(1, 0, 1)
    put_many(cluster, 30)
    flush(cluster)
    power_cut(cluster)
    store = cluster.driver(0).store
    assert not store.load_some(1)
    cluster.run(0.2)
    assert store.load_some(1)
    assert store.count(b"key", b"kez") == 30


def random_command(rng: random.Random) -> Command:
    key = b"k%d" % rng.randrange(12)
    kind = rng.random()
    if kind < 0.6:
        return Put(key, bytes(rng.randrange(150)))  # some of them coded
    if kind < 0.75:
        return DeleteRange(key, rng.choice((b"", b"k5")))
    if kind < 0.9:
        return Txn(success=(Put(key, b"t"), Range(key), DeleteRange(b"k3")))
    return Compact(rng.randrange(2, 60))


@pytest.mark.parametrize("seed", range(4))
def test_power_cuts_at_any_moment_leave_equal_states_and_lose_nothing(seed: int) -> None:
    rng = random.Random(seed)
    cluster = Cluster(3, 1, 2, seed=seed)
    for _ in range(8):
        done = [cluster.submit(rng.randrange(3), random_command(rng)) for _ in range(12)]
        for _ in range(rng.randrange(14)):
            cluster.step()
        for shelf in cluster.shelves:
            if rng.random() < 0.3:
                shelf.flush()
        reached = max(
            (outcome.result.revision for outcome in done if outcome.result is not None),
            default=1,
        )
        power_cut(cluster)
        cluster.do(rng.randrange(3), Put(b"afterwards"))
        cluster.run(3.0, lambda: len(digests(cluster)) == 1)
        assert len(digests(cluster)) == 1
        assert all(cluster.driver(lane).store.revision >= reached for lane in range(3))


def test_a_lane_that_is_off_stays_off_after_a_start_from_the_index() -> None:
    cluster = Cluster(3, 1, 2, lane_off_after=0.5)
    put_many(cluster, 6)
    cluster.crash(2)
    cluster.run(3.0, lambda: cluster.driver(0).replica.configs.newest.off == 0b100)
    for number in range(300):
        cluster.do(number % 2, Put(b"more%d" % number))
    flush(cluster)
    for lane in range(2):
        before = cluster.driver(lane).replica.configs.newest
        assert before.off == 0b100
        cluster.crash(lane)
        driver = cluster.start(lane)
        assert driver.applier.commands == 0
        assert driver.replica.configs.newest == before

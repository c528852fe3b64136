"""The driver: writes, reads, crashes and large values over real logs on memory disks."""

from __future__ import annotations

import random

import pytest

from racos.errors import RequestTimedOut, ServerStopped, TooManyRequests
from racos.mvcc.command import CodedValue, Compare, CompareResult, CompareTarget, Put, Range, Txn
from racos.mvcc.errors import LeaseNotFound
from tests.node.cluster import Cluster

SHAPES = [(1, 0, 1), (2, 0, 2), (3, 1, 2), (5, 2, 3), (4, 1, 3)]
LARGE = random.Random(1).randbytes(5000)


@pytest.mark.parametrize("shape", SHAPES)
def test_what_one_node_acknowledged_every_node_has(shape: tuple[int, int, int]) -> None:
    cluster = Cluster(*shape)
    for lane in cluster.alive():
        cluster.do(lane, Put(b"key%d" % lane, b"small"))
        cluster.do(lane, Put(b"large%d" % lane, LARGE + b"%d" % lane))
    cluster.run(0.2)
    for lane in cluster.alive():
        for owner in cluster.alive():
            assert cluster.value(lane, b"key%d" % owner) == b"small"
            assert cluster.value(lane, b"large%d" % owner) == LARGE + b"%d" % owner
    digests = {cluster.driver(lane).store.state_digest() for lane in cluster.alive()}
    assert len(digests) == 1


@pytest.mark.parametrize("shape", SHAPES)
def test_after_the_power_loss_of_all_every_acknowledged_write_is_there(
    shape: tuple[int, int, int],
) -> None:
    cluster = Cluster(*shape)
    for number in range(10):
        lane = number % shape[0]
        cluster.do(lane, Put(b"k%d" % number, LARGE[: number * 100]))
    for lane in cluster.alive():
        cluster.crash(lane)
    for lane in range(shape[0]):
        cluster.start(lane)
    cluster.run(1.0)
    for lane in cluster.alive():
        for number in range(10):
            assert cluster.value(lane, b"k%d" % number) == LARGE[: number * 100]
    revision = cluster.do(0, Put(b"after", b"")).revision
    assert revision == 12


@pytest.mark.parametrize(("shape", "down"), [((3, 1, 2), [1]), ((5, 2, 3), [0, 3])])
def test_with_f_nodes_gone_the_others_go_on_and_the_values_survive_f_more(
    shape: tuple[int, int, int], down: list[int]
) -> None:
    cluster = Cluster(*shape)
    cluster.do(2, Put(b"before", LARGE))
    for lane in down:
        cluster.crash(lane)
    start = cluster.now
    cluster.do(2, Put(b"during", LARGE + b"!"))
    assert cluster.now - start < 0.5
    for lane in down:
        cluster.start(lane)
    cluster.run(1.5)
    others = [lane for lane in cluster.alive() if lane not in down]
    for lane in others[: shape[1]]:
        cluster.crash(lane)
    for lane in down:
        assert cluster.value(lane, b"before") == LARGE
        assert cluster.value(lane, b"during") == LARGE + b"!"


def test_a_node_that_missed_thousands_of_slots_catches_up() -> None:
    cluster = Cluster(3, 1, 2)
    cluster.crash(1)
    waiting = [cluster.submit(0, Put(b"k%d" % (n % 50), b"v%d" % n)) for n in range(400)]
    for number in range(60):
        cluster.do(2 * (number % 2), Put(b"one%d" % number, b"x"))
    assert all(outcome.done() for outcome in waiting)
    cluster.start(1)
    cluster.run(2.0)
    digests = {cluster.driver(lane).store.state_digest() for lane in cluster.alive()}
    assert len(digests) == 1
    assert cluster.do(1, Put(b"back", b"")).revision == 462


def test_an_isolated_node_times_out_and_answers_locally_until_healed() -> None:
    cluster = Cluster(3, 1, 2)
    cluster.do(0, Put(b"k", b"old"))
    cluster.run(0.2)
    cluster.split(0, 1)
    cluster.split(0, 2)
    write, read = cluster.submit(0, Put(b"k", b"lost?")), cluster.barrier(0)
    cluster.do(1, Put(b"k", b"new"))
    cluster.run(3.0)
    assert isinstance(write.error, RequestTimedOut)
    assert isinstance(read.error, RequestTimedOut)
    assert cluster.value(0, b"k") == b"old"
    cluster.heal()
    again = cluster.barrier(0)
    cluster.run(2.0, again.done)
    again.error is None or pytest.fail(str(again.error))
    assert cluster.value(0, b"k") in (b"new", b"lost?")
    digests = {cluster.driver(lane).store.state_digest() for lane in cluster.alive()}
    assert len(digests) == 1


def test_a_read_that_follows_an_acknowledged_write_sees_it_on_any_node() -> None:
    cluster = Cluster(3, 1, 2)
    for number in range(30):
        writer, reader = number % 3, (number + 1) % 3
        cluster.do(writer, Put(b"k", b"%d" % number))
        read = cluster.barrier(reader)
        cluster.run(1.0, read.done)
        kvs = cluster.driver(reader).store.range(Range(b"k")).kvs
        assert kvs[0].value == b"%d" % number


def test_a_refused_command_tells_its_caller_only() -> None:
    cluster = Cluster(3, 1, 2)
    first = cluster.submit(0, Put(b"a", b"1"))
    bad = cluster.submit(0, Put(b"b", b"2", lease=5))
    last = cluster.submit(0, Put(b"c", b"3"))
    cluster.run(1.0, last.done)
    assert isinstance(bad.error, LeaseNotFound)
    assert last.get().revision == first.get().revision + 1


def test_a_guard_on_the_order_of_a_large_value_loads_it_on_every_node() -> None:
    cluster = Cluster(3, 1, 2)
    cluster.do(0, Put(b"k", b"m" * 500))
    guard = Compare(CompareResult.GREATER, CompareTarget.VALUE, b"k", b"l")
    result = cluster.do(1, Txn((guard,), (Put(b"won", b"yes"),), (Put(b"lost", b"no"),)))
    assert result.succeeded  # type: ignore[union-attr]
    cluster.run(0.5)
    for lane in cluster.alive():
        assert cluster.value(lane, b"won") == b"yes"


def test_a_damaged_fragment_is_named_never_served_and_healed() -> None:
    cluster = Cluster(3, 1, 2)
    cluster.do(0, Put(b"k", LARGE))
    cluster.run(0.2)
    driver = cluster.driver(1)
    driver.values.cache.bytes_max = 0
    (kv,) = driver.store.range(Range(b"k")).kvs
    assert isinstance(kv.value, CodedValue)
    position = driver.values.position(kv.value)
    good = driver.library.fragments(position, 0, -1)
    assert list(good) == [1]
    disk = cluster.disks[1]
    for name in disk.list():
        file = disk.open(name)
        at = file.read(0, file.size()).find(good[1])
        if at >= 0:
            file.write(bytes([good[1][0] ^ 1]), at)
    assert cluster.value(1, b"k") == LARGE
    assert any("bad_fragment" in line and "fragment=1" in line for line in cluster.reports)
    cluster.run(0.2)
    assert driver.library.fragments(position, 0, -1) == good
    assert driver.healer.statistics().missing == 0


def test_overload_is_refused_at_once() -> None:
    cluster = Cluster(3, 1, 2)
    cluster.options = cluster.options._replace(
        limits=cluster.options.limits._replace(waiting_commands=3)
    )
    cluster.crash(0)
    cluster.start(0)
    outcomes = [cluster.submit(0, Put(b"k", b"")) for _ in range(5)]
    refused = [outcome for outcome in outcomes if outcome.done()]
    assert [type(outcome.error) for outcome in refused] == [TooManyRequests] * 2
    cluster.run(1.0)
    assert all(outcome.done() for outcome in outcomes)


def test_a_stopping_node_answers_everyone_who_waits() -> None:
    cluster = Cluster(3, 1, 2)
    cluster.split(0, 1)
    cluster.split(0, 2)
    write, read = cluster.submit(0, Put(b"k", b"")), cluster.barrier(0)
    cluster.step()
    late = cluster.submit(0, Put(b"k", b""))
    cluster.driver(0).stop(ServerStopped())
    for outcome in (write, read, late):
        assert isinstance(outcome.error, ServerStopped)


def test_members_learn_each_others_client_urls() -> None:
    cluster = Cluster(3, 1, 2)
    cluster.run(0.1)
    assert cluster.driver(0).hellos[2].client_urls == ("http://2",)


@pytest.mark.parametrize("seed", range(8))
def test_crashes_at_random_moments_lose_nothing_that_was_acknowledged(seed: int) -> None:
    source = random.Random(seed)
    cluster = Cluster(3, 1, 2, seed=seed)
    acknowledged: dict[bytes, bytes] = {}
    waiting = []
    for number in range(120):
        up = cluster.alive()
        key, value = b"k%d" % number, LARGE[: source.choice([5, 300, 2000])] + b"%d" % number
        waiting.append((key, value, cluster.submit(source.choice(up), Put(key, value))))
        for _ in range(source.randrange(4)):
            cluster.step()
        cluster.now += source.choice([0.0, 0.005, 0.02])
        if source.random() < 0.06:
            if len(up) == 3:
                cluster.crash(source.choice(up))
            else:
                cluster.start(next(lane for lane in range(3) if lane not in up))
        acknowledged |= {k: v for k, v, o in waiting if o.done() and o.error is None}
    for lane in cluster.alive():
        cluster.crash(lane)
    for lane in range(3):
        cluster.start(lane)
    cluster.run(2.0)
    assert len(acknowledged) > 40
    for lane in range(3):
        for key, value in acknowledged.items():
            assert cluster.value(lane, key) == value
    assert len({cluster.driver(lane).store.state_digest() for lane in range(3)}) == 1

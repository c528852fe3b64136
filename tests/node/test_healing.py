"""Missing fragments come back, surplus ones go, and values survive f losses all the while."""

from __future__ import annotations

import copy
import random
from itertools import combinations

import pytest

from racos.core.messages import Buffer, PayRecord
from racos.core.recovery import Recovered
from racos.mvcc.command import CodedValue, Put, Range
from racos.mvcc.shelf import MemoryShelf
from racos.node import entries, records
from racos.node.batch import BatchEncoder
from racos.node.healer import Healing
from racos.node.library import Library
from racos.storage.log import Log
from racos.storage.memdisk import MemDisk
from tests.node.cluster import Cluster

SHAPES = [(3, 1, 2), (5, 2, 3), (4, 1, 3), (3, 1, 1)]
SIZE = 5000  # bytes of a value
WRITES = 50


def large(number: int) -> bytes:
    return random.Random(number).randbytes(SIZE)


def write(cluster: Cluster, first: int, last: int) -> None:
    """Puts of large values through the nodes that are up, each in a batch of its own."""
    up = cluster.alive()
    for number in range(first, last):
        cluster.do(up[number % len(up)], Put(b"k%d" % number, large(number)))


def coded(cluster: Cluster, lane: int) -> list[int]:
    """Slots of coded batches that the index of a node names."""
    found = cluster.driver(lane).store.shelf.scan(entries.PREFIX, entries.END)
    return [entries.position_of(key) for key, _ in found]


def missing(cluster: Cluster) -> int:
    return sum(cluster.driver(lane).healer.statistics().missing for lane in cluster.alive())


def surplus(cluster: Cluster) -> int:
    return sum(cluster.driver(lane).healer.statistics().surplus for lane in cluster.alive())


def is_clean(cluster: Cluster) -> bool:
    return not missing(cluster) and not surplus(cluster)


def caught_up(cluster: Cluster) -> bool:
    applied = {cluster.driver(lane).replica.window.frontier for lane in cluster.alive()}
    return len(applied) == 1


def forget_cached(cluster: Cluster) -> None:
    for lane in cluster.alive():
        cluster.driver(lane).values.cache._entries.clear()


def assert_readable(cluster: Cluster, numbers: range) -> None:
    """Every value, on every node that is up, from fragments."""
    for lane in cluster.alive():
        forget_cached(cluster)
        for number in numbers:
            assert cluster.value(lane, b"k%d" % number) == large(number)


def with_one_behind(shape: tuple[int, int, int]) -> Cluster:
    """Node 1 is back after a time in which the others wrote."""
    cluster = Cluster(*shape)
    write(cluster, 0, 3)
    cluster.crash(1)
    write(cluster, 3, 3 + WRITES)
    assert surplus(cluster) > 0 or shape[2] == 1  # with copies nothing needs to be widened
    cluster.start(1)
    return cluster


@pytest.mark.parametrize("shape", SHAPES)
def test_a_node_that_was_down_gets_its_fragments_back_and_surplus_ones_go(
    shape: tuple[int, int, int],
) -> None:
    cluster = with_one_behind(shape)
    began = cluster.now
    cluster.run(3.0, lambda: caught_up(cluster) and is_clean(cluster))
    assert is_clean(cluster)
    assert cluster.now - began < 2.0
    healed = cluster.driver(1).healer.statistics()
    assert healed.healed == WRITES
    assert healed.healed_bytes == WRITES * cluster.codec.fragment_size(SIZE)
    for lane in cluster.alive():
        library = cluster.driver(lane).library
        held = {library.held(position) for position in coded(cluster, lane)}
        assert held == {1 << lane}


@pytest.mark.parametrize("shape", SHAPES)
def test_once_healed_any_k_nodes_have_every_value(shape: tuple[int, int, int]) -> None:
    total, _, data = shape
    cluster = with_one_behind(shape)
    cluster.run(3.0, lambda: caught_up(cluster) and is_clean(cluster))
    for position in coded(cluster, 0):
        digests = {
            lane: cluster.driver(lane).library.fragments(position, 0, -1) for lane in range(total)
        }
        assert cluster.driver(0).library.held(position) == 1
        size = SIZE
        values = set()
        for chosen in combinations(range(total), data):
            parts = {lane: digests[lane][lane] for lane in chosen}
            values.add(cluster.codec.decode(parts, size))
        assert len(values) == 1


@pytest.mark.parametrize("shape", [(3, 1, 2), (5, 2, 3)])
def test_once_healed_any_other_f_nodes_may_go(shape: tuple[int, int, int]) -> None:
    others = [lane for lane in range(shape[0]) if lane != 1]
    for gone in list(combinations(others, shape[1]))[:3]:
        cluster = with_one_behind(shape)
        cluster.run(3.0, lambda cluster=cluster: caught_up(cluster) and not missing(cluster))  # type: ignore[misc]
        for lane in gone:
            cluster.crash(lane)
        assert_readable(cluster, range(0, 3 + WRITES, 7))


def test_nothing_is_pruned_while_one_replica_lacks_fragments() -> None:
    cluster = Cluster(3, 1, 2)
    cluster.crash(1)
    write(cluster, 0, 20)
    before = surplus(cluster)
    cluster.run(1.0)
    assert surplus(cluster) == before > 0
    options = cluster.options
    cluster.options = options._replace(healing=Healing(bytes_per_second=0))
    cluster.start(1)
    cluster.run(1.0)
    assert caught_up(cluster)
    assert missing(cluster) == 20
    assert surplus(cluster) == before
    cluster.crash(1)
    cluster.options = options
    cluster.start(1)
    cluster.run(1.0, lambda: is_clean(cluster))
    assert is_clean(cluster)


def test_after_the_power_loss_of_all_pruning_waits_for_everyone_again() -> None:
    cluster = with_one_behind((3, 1, 2))
    cluster.run(3.0, lambda: caught_up(cluster) and is_clean(cluster))
    cluster.run(0.2)
    for lane in range(3):
        cluster.crash(lane)
    cluster.start(0)
    cluster.start(2)
    cluster.run(0.5)
    assert surplus(cluster) > 0  # the log still has it, and node 1 has not said anything
    assert cluster.driver(0).healer.statistics().pruned == 0
    cluster.start(1)
    assert missing(cluster) == 0  # what it healed is in its log
    cluster.run(1.0, lambda: is_clean(cluster))
    assert is_clean(cluster)
    assert cluster.driver(1).healer.statistics().healed == 0
    assert_readable(cluster, range(0, 3 + WRITES, 5))


def test_what_a_replica_says_it_holds_its_disk_proves_at_that_moment() -> None:
    cluster = Cluster(3, 1, 2)
    cluster.crash(1)
    write(cluster, 0, 6)
    claims = [0]
    holdings = cluster.start(1).healer.holdings
    outcome = cluster.submit(2, Put(b"k", large(0)))
    for _ in range(2000):
        if is_clean(cluster) and outcome.done():
            outcome = cluster.submit(2, Put(b"k", large(0)))
        cluster.step()
        cluster.now += 0.002
        if claims[-1] != holdings.whole:
            claims.append(holdings.whole)
            disk = copy.deepcopy(cluster.disks[1])
            disk.crash()
            assert proven_whole(disk) >= claims[-1]
        if len(claims) == 6:
            break
    assert claims == sorted(claims)
    assert len(claims) == 6


def proven_whole(disk: MemDisk) -> int:
    """Below it, by the log on the disk of node 1, everything is applied and its fragments there."""
    library, recovered = read_log(disk, 1)
    lacking = [p for p in recovered.ones if library.is_coded(p) and not library.held(p) >> 1 & 1]
    return min([recovered.frontier, *lacking])


def read_log(disk: MemDisk, lane: int) -> tuple[Library, Recovered]:
    log = Log.open(disk, member_id=lane + 1, cluster_id=9)
    library, recovered = Library(log, 3, MemoryShelf()), Recovered(3)
    for entry in log.replay():
        record, values = records.decode(entry.kind, entry.header)
        if isinstance(record, PayRecord):
            library.add(record, entry.blob_places, values)
        recovered.add(record)
    return library, recovered


@pytest.mark.parametrize("seed", range(4))
def test_killed_while_it_heals_a_node_goes_on_where_its_log_ends(seed: int) -> None:
    source = random.Random(seed)
    cluster = with_one_behind((3, 1, 2))
    for _ in range(4):
        healer = cluster.driver(1).healer
        healer.limits = Healing(bytes_per_second=SIZE * 100, batch_bytes_min=0)
        aim = source.randrange(1, 12)
        cluster.run(0.5, lambda h=healer, a=aim: h.statistics().healed >= a)  # type: ignore[misc]
        claimed = cluster.driver(0).replica.peers.wholes[1]
        cluster.crash(1)
        restarted = cluster.start(1)
        assert restarted.healer.holdings.whole == 0  # nothing is claimed before it was looked at
        cluster.run(0.05, lambda r=restarted: r.library.loaded)  # type: ignore[misc]
        assert restarted.healer.holdings.whole >= claimed  # what was said is durable
    cluster.run(3.0, lambda: caught_up(cluster) and is_clean(cluster))
    assert is_clean(cluster)
    cluster.crash(source.choice((0, 2)))
    assert_readable(cluster, range(0, 3 + WRITES, 7))


def test_the_newest_is_healed_first_and_the_rate_is_kept() -> None:
    rate = SIZE * 20
    cluster = Cluster(3, 1, 2)
    cluster.crash(1)
    write(cluster, 0, WRITES)
    limits = Healing(bytes_per_second=rate, batch_bytes_min=0, burst_seconds=0.05)
    cluster.options = cluster.options._replace(healing=limits)
    healer = cluster.start(1).healer
    cluster.run(0.5, lambda: len(healer.holdings.missing) == WRITES)
    known = set(healer.holdings.missing)
    assert len(known) == WRITES
    cluster.run(1.0)
    left = set(healer.holdings.missing)
    assert left
    assert max(left) < min(known - left)
    # One second's worth, the burst, and one batch on credit.
    assert 18 <= len(known - left) <= 22


def test_healing_waits_for_clients_but_not_for_ever() -> None:
    cluster = with_one_behind((3, 1, 2))
    driver = cluster.driver(1)
    driver.values.foreground = 1  # one client's read that never ends
    driver.healer._now = driver.healer._started_at = cluster.now
    cluster.run(0.9)
    assert driver.healer.statistics().healed == 0
    cluster.run(2.5)
    assert 1 <= driver.healer.statistics().healed <= 3
    driver.values.foreground = 0
    cluster.run(2.0, lambda: is_clean(cluster))
    assert is_clean(cluster)


def test_what_cannot_be_fetched_is_tried_again_and_comes_at_once_with_a_peer() -> None:
    cluster = Cluster(3, 1, 2)
    cluster.split(0, 1)
    cluster.split(1, 2)
    write_from = [cluster.submit(0, Put(b"k0", large(0)))]
    cluster.run(2.0, write_from[0].done)
    cluster.heal()
    cluster.run(3.0, lambda: is_clean(cluster) and caught_up(cluster))
    driver = cluster.driver(1)
    (kv,) = driver.store.range(Range(b"k0")).kvs
    assert isinstance(kv.value, CodedValue)
    position = driver.values.position(kv.value)
    for lane in (0, 2):
        cluster.split(1, lane)
    driver.values.cache._entries.clear()
    driver.library.drop_fragment(position, 1)
    cluster.run(6.0)
    assert driver.healer.statistics().failed == 1
    assert driver.healer.statistics().missing == 1
    assert driver.healer.holdings.whole <= position
    cluster.heal()
    cluster.run(0.3, lambda: not missing(cluster))
    assert not missing(cluster)


class Liar(BatchEncoder):
    """An owner whose digest does not fit the value."""

    def _code(self, value: bytes, index: int, fragments: dict[int, list[Buffer]]) -> CodedValue:
        return super()._code(value, index, fragments)._replace(digest=bytes(32))


def test_a_value_that_is_corrupt_everywhere_is_named_once_and_kept_in_sight() -> None:
    cluster = Cluster(3, 1, 2)
    cluster.crash(1)
    driver = cluster.driver(0)
    honest, driver.batcher._encoder = driver.batcher._encoder, Liar(cluster.codec, 64)
    cluster.do(0, Put(b"bad", large(0)))
    driver.batcher._encoder = honest
    (position,) = coded(cluster, 0)
    write(cluster, 1, 4)
    restarted = cluster.start(1)
    cluster.run(1.0)
    assert restarted.healer.statistics().corrupt == (position,)
    assert restarted.healer.statistics().missing == 1  # the others are healed
    restarted.library.damaged.append(position)
    cluster.run(1.0)
    assert len([line for line in cluster.reports if "heal.corrupt" in line]) == 1
    assert surplus(cluster) > 0


@pytest.mark.parametrize("seed", range(6))
def test_what_is_pruned_is_on_every_disk_whatever_crashes(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = random.Random(seed)
    cluster = Cluster(3, 1, 2, seed=seed)
    pruned: set[int] = set()
    prune = Library.prune

    def noting(library: Library, position: int, keep: int) -> int:
        pruned.add(position)
        return prune(library, position, keep)

    monkeypatch.setattr(Library, "prune", noting)
    total = 0
    for number in range(150):
        up = cluster.alive()
        cluster.submit(source.choice(up), Put(b"k%d" % number, large(number)[:300]))
        for _ in range(source.randrange(5)):
            cluster.step()
        cluster.now += source.choice([0.001, 0.005, 0.03])
        if source.random() < 0.05:
            if len(up) == 3:
                cluster.crash(source.choice(up))
            else:
                cluster.start(next(lane for lane in range(3) if lane not in up))
        if pruned:
            total += len(pruned)
            for lane in range(3):
                assert pruned <= own_fragments_on(copy.deepcopy(cluster.disks[lane]), lane)
            pruned.clear()
    for lane in set(range(3)) - set(cluster.alive()):
        cluster.start(lane)
    cluster.run(3.0, lambda: caught_up(cluster) and is_clean(cluster))
    assert is_clean(cluster)
    assert total + len(pruned) > 0


def own_fragments_on(disk: MemDisk, lane: int) -> set[int]:
    """Positions whose own fragment the disk still has when its machine loses power now."""
    disk.crash()
    library, _ = read_log(disk, lane)
    return {position for position in library._open if library.held(position) >> lane & 1}

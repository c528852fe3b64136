"""Production drivers on the queue engine: order, catching up, healing, restarts."""

from __future__ import annotations

from racos.core.engine import QUEUE
from racos.mvcc.command import Put, PutResult
from racos.node.past import CHUNK_BATCHES_MAX
from tests.node.cluster import Cluster

LARGE = 3000  # bytes, above the inline limit


def cluster_of_five() -> Cluster:
    cluster = Cluster(5, 1, 3, engine=QUEUE)
    cluster.run(0.2)  # reservations are made
    return cluster


def test_all_nodes_write_and_read_coded_values_in_one_order() -> None:
    cluster = cluster_of_five()
    outcomes = [cluster.submit(n % 5, Put(b"k%d" % n, b"%d" % n * LARGE)) for n in range(10)]
    cluster.run(5.0, lambda: all(outcome.done() for outcome in outcomes))
    results = [outcome.get() for outcome in outcomes]
    assert all(isinstance(result, PutResult) for result in results)
    cluster.run(0.5)
    for lane in range(5):
        for number in range(10):
            assert cluster.value(lane, b"k%d" % number) == b"%d" % number * LARGE
    assert len({cluster.driver(lane).store.state_digest() for lane in range(5)}) == 1


def test_a_node_that_was_away_gets_history_and_its_fragments() -> None:
    cluster = cluster_of_five()
    cluster.crash(3)
    for number in range(20):
        cluster.do(number % 3, Put(b"k%d" % number, b"%d" % number * LARGE))
    back = cluster.start(3)
    cluster.run(3.0, lambda: back.store.revision == cluster.driver(0).store.revision)
    cluster.run(3.0, lambda: not back.healer.statistics().missing)
    assert back.healer.statistics().healed == 20
    cluster.crash(4)  # k = 3 of the others, the one that was away among them
    cluster.crash(0)
    assert cluster.value(3, b"k7") == b"7" * LARGE


def test_history_longer_than_a_chunk_comes_in_several() -> None:
    cluster = cluster_of_five()
    cluster.crash(3)
    library = cluster.driver(0).library
    for number in range(30):
        cluster.do(0, Put(b"k%d" % number, b"v"))
    frontier = cluster.driver(0).replica.window.frontier
    whole = library.chunk(0, frontier)
    assert (whole.start, whole.end, len(whole.batches)) == (0, frontier, len(whole.names))
    assert CHUNK_BATCHES_MAX >= len(whole.batches) >= 30
    slots = [slot for slot, _ in whole.batches]
    assert slots == sorted(slots)
    later = library.chunk(slots[10], frontier)
    assert later.names == whole.names[10:]


def test_all_restart_and_nothing_acknowledged_is_lost() -> None:
    cluster = cluster_of_five()
    for number in range(12):
        cluster.do(number % 5, Put(b"k%d" % number, b"%d" % number * (1 + number % 2 * LARGE)))
    for lane in range(5):
        cluster.crash(lane)
    for lane in range(5):
        cluster.start(lane)
    cluster.run(1.0)
    for lane in range(5):
        for number in range(12):
            expected = b"%d" % number * (1 + number % 2 * LARGE)
            assert cluster.value(lane, b"k%d" % number) == expected
    cluster.do(2, Put(b"after", b"1"))
    cluster.run(0.2)
    assert len({cluster.driver(lane).store.state_digest() for lane in range(5)}) == 1


def test_a_linearizable_read_sees_what_was_acknowledged_elsewhere() -> None:
    cluster = cluster_of_five()
    revision = cluster.do(0, Put(b"k", b"v")).revision
    barrier = cluster.barrier(4)
    cluster.run(1.0, barrier.done)
    assert barrier.finished
    assert barrier.error is None
    assert cluster.driver(4).store.revision >= revision


def test_nothing_is_acknowledged_without_a_quorum() -> None:
    cluster = cluster_of_five()
    cluster.crash(3)
    cluster.crash(4)
    outcome = cluster.submit(0, Put(b"k", b"v" * LARGE))
    cluster.run(1.0)
    assert not outcome.done()
    cluster.start(4)
    cluster.run(3.0, outcome.done)
    assert outcome.get().revision == 2

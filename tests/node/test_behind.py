"""Whole nodes whose logs forget: those that were away take the state, or the rest of history."""

from __future__ import annotations

import random

import pytest

from racos.core.replica import Replica
from racos.errors import RequestTimedOut
from racos.mvcc.command import (
    Compact,
    Compare,
    CompareResult,
    CompareTarget,
    LeaseGrant,
    LeaseRenew,
    Put,
    Range,
    Txn,
)
from racos.mvcc.errors import Compacted
from racos.node.cleaner import Space
from racos.node.wire import StateChunk, StateRequest, decode
from racos.storage.log import LogError
from tests.node.cluster import Cluster
from tests.node.test_healing import (
    assert_readable,
    caught_up,
    forget_cached,
    is_clean,
    large,
)

SEGMENT = 20_000
SPACE = Space(history_bytes=3 * SEGMENT, grace_seconds=1.0)


def forgetful(total: int = 3, faults: int = 1, data: int = 2, seed: int = 0) -> Cluster:
    """A cluster whose nodes keep hardly any history."""
    return Cluster(total, faults, data, seed=seed, space=SPACE, segment_bytes=SEGMENT)


def overwrite(cluster: Cluster, times: int, keys: int = 5) -> None:
    """Every key several times, through the nodes that are up."""
    up = cluster.alive()
    for time in range(times):
        for number in range(keys):
            cluster.do(up[number % len(up)], Put(b"k%d" % number, large(number)))
        cluster.submit(up[0], Put(b"small", b"%d" % time))


def compact(cluster: Cluster) -> None:
    lane = cluster.alive()[0]
    cluster.do(lane, Compact(cluster.driver(lane).store.revision))


def settled(cluster: Cluster) -> bool:
    return caught_up(cluster) and is_clean(cluster)


def digests(cluster: Cluster) -> set[bytes]:
    return {cluster.driver(lane).store.state_digest() for lane in cluster.alive()}


def log_bytes(cluster: Cluster) -> list[int]:
    return [cluster.driver(lane).log.size_bytes for lane in cluster.alive()]


def with_one_far_behind(cluster: Cluster) -> int:
    """Node 1 is down while the others forget what it missed; its frontier."""
    overwrite(cluster, 2)
    cluster.run(0.5)
    frontier = cluster.driver(1).replica.window.frontier
    cluster.crash(1)
    overwrite(cluster, 8)
    compact(cluster)
    cluster.run(3.0)
    for lane in cluster.alive():
        assert cluster.driver(lane).library.past.floor > frontier
    return frontier


def test_overwriting_and_compaction_keep_the_log_bounded() -> None:
    cluster = forgetful()
    sizes = []
    for _ in range(4):
        overwrite(cluster, 5)
        compact(cluster)
        cluster.run(4.0)
        sizes.append(max(log_bytes(cluster)))
    assert sizes[-1] < 6 * SEGMENT, sizes
    assert cluster.driver(0).keeper.statistics().removed_segments > 5
    assert_readable(cluster, range(5))
    for lane in range(3):
        cluster.crash(lane)
    for lane in range(3):
        cluster.start(lane)
    cluster.run(3.0, lambda: settled(cluster))
    assert len(digests(cluster)) == 1
    assert_readable(cluster, range(5))


@pytest.mark.parametrize("shape", [(3, 1, 2), (5, 2, 3), (4, 1, 3)])
def test_a_node_behind_what_the_others_remember_takes_the_state_and_heals(
    shape: tuple[int, int, int],
) -> None:
    cluster = forgetful(*shape)
    with_one_far_behind(cluster)
    cluster.start(1)
    cluster.run(5.0, lambda: bool(cluster.installed) and settled(cluster))
    assert cluster.installed == [1]
    assert settled(cluster)
    assert len(digests(cluster)) == 1
    assert cluster.driver(1).healer.statistics().healed > 0
    assert_readable(cluster, range(5))
    others = [lane for lane in cluster.alive() if lane != 1]
    cluster.run(0.2)
    for lane in others[: shape[1]]:
        cluster.crash(lane)
    assert_readable(cluster, range(5))
    cluster.do(1, Put(b"after", b"all"))


def test_a_node_a_little_behind_takes_no_state() -> None:
    cluster = forgetful()
    overwrite(cluster, 2)
    cluster.crash(1)
    overwrite(cluster, 1)
    cluster.start(1)
    cluster.run(3.0, lambda: settled(cluster))
    assert settled(cluster)
    assert cluster.installed == []


def test_leases_come_with_their_count_of_renewals() -> None:
    cluster = forgetful()
    with_one_far_behind(cluster)
    cluster.do(0, LeaseGrant(7, 500))
    cluster.do(0, LeaseGrant(8, 500))
    cluster.do(0, LeaseRenew((7,)))
    cluster.do(0, Put(b"leased", b"v", lease=7))
    cluster.start(1)
    cluster.run(5.0, lambda: bool(cluster.installed) and settled(cluster))
    assert cluster.installed == [1]
    tables = [cluster.driver(lane).store.leases for lane in range(3)]
    assert {table.renewals for table in tables} == {3}
    assert {(each.id, each.ttl, each.renewal) for each in tables[1]} == {(7, 500, 3), (8, 500, 2)}
    assert tables[1].get(7).keys == {b"leased"}  # type: ignore[union-attr]
    info = cluster.driver(1).leases.info(7)
    assert info is not None
    assert info.remaining > 490


def test_own_proposals_in_flight_end_with_an_unknown_outcome() -> None:
    cluster = forgetful()
    with_one_far_behind(cluster)
    cluster.start(1)
    waiting = cluster.submit(1, Put(b"mine", b"v"))
    cluster.run(1.9, lambda: bool(cluster.installed))
    assert cluster.installed == [1]
    assert isinstance(waiting.error, RequestTimedOut)


def test_history_below_the_jump_is_compacted_there_as_elsewhere() -> None:
    cluster = forgetful()
    with_one_far_behind(cluster)
    before = cluster.start(1).store.revision
    cluster.run(5.0, lambda: bool(cluster.installed) and settled(cluster))
    store = cluster.driver(1).store
    assert store.compact_revision > before
    with pytest.raises(Compacted):
        list(store.history(before + 1, store.revision))


def test_the_one_that_is_behind_does_not_vote_below_the_jump() -> None:
    cluster = forgetful()
    with_one_far_behind(cluster)
    cluster.start(1)
    cluster.run(5.0, lambda: bool(cluster.installed))
    replica = cluster.driver(1).replica
    assert isinstance(replica, Replica)
    assert replica.window.floor == replica.window.frontier
    assert not [position for position in replica.window.slots if position < replica.window.floor]
    assert replica.window.value_at(replica.window.floor - 1) == -1


def test_the_sender_may_die_in_the_middle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("racos.node.transfer.CHUNK_BYTES", 100)
    cluster = forgetful(5, 2, 3)
    with_one_far_behind(cluster)
    receiver = cluster.start(1).keeper.receiver
    cluster.run(3.0, lambda: receiver.received_bytes > 300)
    taking = receiver._taking
    assert taking is not None
    cluster.crash(taking.peer)
    cluster.run(20.0, lambda: bool(cluster.installed) and settled(cluster))
    assert cluster.installed == [1]
    assert len(digests(cluster)) == 1


@pytest.mark.parametrize("seed", range(4))
def test_the_receiver_may_lose_power_in_the_middle(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("racos.node.transfer.CHUNK_BYTES", 200)
    source = random.Random(seed)
    cluster = forgetful(seed=seed)
    with_one_far_behind(cluster)
    for _ in range(3):
        receiver = cluster.start(1).keeper.receiver
        aim = source.randrange(1, 2000)
        while receiver.received_bytes <= aim and not cluster.installed:
            cluster.run(0.005)
        cluster.crash(1)
    cluster.start(1)
    cluster.run(20.0, lambda: bool(cluster.installed) and settled(cluster))
    assert len(digests(cluster)) == 1
    assert_readable(cluster, range(5))


def test_a_fragment_that_comes_late_is_kept() -> None:
    cluster = Cluster(3, 1, 2)
    overwrite(cluster, 1, keys=1)
    late = []

    def hold_back(entry: tuple[int, int, bytes, list[bytes]]) -> bool:
        if entry[:2] == (0, 1) and entry[3]:
            late.append(entry)
            return True
        return False

    outcome = cluster.submit(0, Put(b"k1", large(1)))
    while not outcome.done():
        cluster.flight = [entry for entry in cluster.flight if not hold_back(entry)]
        cluster.step()
        cluster.now += 0.005
    driver = cluster.driver(1)
    driver.healer.limits = driver.healer.limits._replace(batches=0)
    cluster.run(1.0)
    (position,) = driver.healer.holdings.missing
    assert position not in driver.replica.window.slots
    cluster.flight += late
    cluster.run(0.5)
    assert driver.library.held(position) == 0b010
    assert not driver.healer.holdings.missing
    assert driver.healer.statistics().healed == 0


def test_a_restarted_node_starts_from_its_index_alone() -> None:
    cluster = forgetful()
    overwrite(cluster, 10)
    compact(cluster)
    cluster.run(4.0)
    log = cluster.driver(0).log
    before = log.last_sequence
    assert log.segments[0] > 1
    for lane in range(3):
        cluster.shelves[lane].flush()
        cluster.crash(lane)
        cluster.start(lane)
        cluster.run(0.5)
    log = cluster.driver(0).log
    assert log.last_sequence >= before
    assert cluster.driver(0).store.range(Range(b"k0")).count == 1
    cluster.run(1.0, lambda: settled(cluster))
    assert len(digests(cluster)) == 1


@pytest.mark.parametrize("seed", range(6))
def test_a_crash_while_the_log_is_replayed_loses_nothing(seed: int) -> None:
    # Steps of the index are made while the log is being read, and the machine may die again.
    source = random.Random(seed)
    cluster = forgetful(seed=seed)
    shelf = cluster.shelves[1]
    shelf.flush = lambda: None  # type: ignore[method-assign]
    overwrite(cluster, 6, keys=3)
    cluster.run(0.5)
    del shelf.flush  # as it was
    for _ in range(4):
        cluster.crash(1)
        cluster.start(1)
        if source.random() < 0.5:
            shelf.flush()
            cluster.run(0.02)
    cluster.run(3.0, lambda: settled(cluster))
    assert cluster.installed == []
    assert len(digests(cluster)) == 1


def test_a_node_that_needs_a_value_which_is_gone_takes_the_state() -> None:
    # History is there, but a guard in it orders a value that has been overwritten and compacted.
    cluster = Cluster(3, 1, 2, space=Space(grace_seconds=0.5), segment_bytes=SEGMENT)
    overwrite(cluster, 1)
    cluster.run(0.5)
    cluster.crash(1)
    cluster.do(0, Put(b"k0", large(50)))
    guard = Compare(CompareResult.LESS, CompareTarget.VALUE, b"k0", b"zzz")
    cluster.do(0, Txn((guard,), (Put(b"guarded", b"yes"),), ()))
    overwrite(cluster, 1)
    compact(cluster)
    cluster.run(2.0)
    for lane in (0, 2):
        cluster.driver(lane).keeper.library.free(1 << 62)  # as after more log than is kept
    forget_cached(cluster)
    cluster.start(1)
    cluster.run(1.0)
    assert cluster.driver(1).applier.waiting > 0
    cluster.run(12.0, lambda: bool(cluster.installed) and settled(cluster))
    assert cluster.installed == [1]
    assert len(digests(cluster)) == 1
    assert_readable(cluster, range(5))


def test_an_index_from_before_the_state_was_taken_is_told_in_one_line() -> None:
    """The log never had what was taken over: a start without that index must not go on."""
    cluster = forgetful()
    with_one_far_behind(cluster)
    before = cluster.shelves[1]
    cluster.start(1)
    cluster.run(10.0, lambda: bool(cluster.installed) and settled(cluster))
    assert cluster.installed == [1]
    cluster.do(1, Put(b"small", b"afterwards"))
    cluster.run(0.1)  # so short that no segment has been removed
    cluster.crash(1)
    own = cluster.shelves[1]
    cluster.shelves[1] = before
    with pytest.raises(LogError, match=r"log and index do not belong together: slots \d+ to \d+"):
        cluster.start(1)
    cluster.shelves[1] = own
    cluster.start(1)
    cluster.run(5.0, lambda: settled(cluster))
    assert len(digests(cluster)) == 1


def test_segments_go_where_nobody_writes_any_more() -> None:
    cluster = forgetful()
    overwrite(cluster, 10)
    compact(cluster)
    cluster.run(4.0, lambda: len(cluster.driver(0).log.segments) < 4)
    cluster.run(0.2)  # nothing is written, and the segments' files go all the same
    for lane in range(3):
        files = [name for name in cluster.disks[lane].list() if name.endswith(".log")]
        assert len(files) == len(cluster.driver(lane).log.segments) < 4


def test_a_state_is_not_said_to_hold_what_was_only_just_heard_of() -> None:
    """History and a question for the state come in one turn: the batches are not applied yet."""
    cluster = forgetful()
    cluster.do(0, Put(b"k", b"before"))
    cluster.run(0.1)
    cluster.paused.add(1)
    cluster.do(0, Put(b"k", b"after"))
    ahead, behind = cluster.driver(0), cluster.driver(1)
    start, frontier = behind.replica.window.frontier, ahead.replica.window.frontier
    assert start < frontier
    cluster.flight.clear()
    behind.on_messages(0, [ahead.library.chunk(start, frontier), StateRequest(1, b"")])
    assert behind.replica.window.frontier == frontier
    said = [decode(header, blobs, 3) for _, to, header, blobs in cluster.flight if to == 0]
    (state,) = [each for frame in said for each in frame if isinstance(each, StateChunk)]
    assert state.frontier == start

"""Bytes that go bad in the log of a running replica: named, never served, made good by others."""

from __future__ import annotations

from functools import partial

import pytest

from racos.erasure.codec import Codec
from racos.mvcc.command import Compact, DeleteRange, KeyValue, Load, Put, Range, Txn
from racos.node.batch import BatchEncoder, coded_values
from racos.node.healer import Healing
from racos.node.sound import fragment_digests
from racos.node.wire import FragmentReply, FragmentRequest
from tests.node.cluster import Cluster

KEYS = 12


def value(number: int, size: int) -> bytes:
    return (b"value of k%d " % number).ljust(size, b".")


def rot(cluster: Cluster, lane: int, pattern: bytes) -> int:
    """Flip a bit in every place where a replica's disk has these bytes; returns how many."""
    found = 0
    for name in cluster.disks[lane].list():
        content = bytearray(cluster.disks[lane].content(name))
        at = content.find(pattern)
        while at >= 0:
            content[at] ^= 1
            found += 1
            at = content.find(pattern, at + 1)
        cluster.disks[lane].overwrite(name, bytes(content))
    return found


def filled(size: int) -> Cluster:
    """Three replicas, the last of which is off; the others have keys of so many bytes."""
    cluster = Cluster(3, 1, 2)
    cluster.run(0.2)
    cluster.crash(2)
    for number in range(KEYS):
        cluster.do(number % 2, Put(b"k%d" % number, value(number, size)))
    cluster.run(0.3)
    return cluster


def test_a_rotten_batch_is_not_given_to_a_replica_that_is_behind() -> None:
    cluster = filled(40)
    assert rot(cluster, 0, b"value of k3 ") == 1  # lane 0 is asked first
    assert rot(cluster, 0, b"value of k8 ") == 1
    cluster.start(2)
    cluster.run(3.0)
    for number in range(KEYS):
        for lane in range(3):
            assert cluster.value(lane, b"k%d" % number) == value(number, 40)
    frontiers = {cluster.driver(lane).replica.window.frontier for lane in range(3)}
    assert len(frontiers) == 1
    named = [line for line in cluster.reports if "log.unreadable" in line]
    assert len(named) == len(set(named)) >= 1, "once per batch, however often it is asked for"
    assert all("mem:" in line and "position=" in line for line in named)


def test_a_fragment_whose_descriptor_rotted_waits_and_harms_nobody() -> None:
    """The healer reads descriptors, too."""
    cluster = filled(300)
    cluster.options = cluster.options._replace(healing=Healing(batches=0))
    driver = cluster.start(2)
    cluster.run(1.0)
    assert len(driver.healer.holdings.missing) == KEYS
    descriptor = driver.library.descriptor(driver.healer.holdings.missing[KEYS // 2])
    assert rot(cluster, 2, descriptor[:40]) == 1
    driver.healer.limits = Healing()
    cluster.run(3.0)
    missing = driver.healer.statistics().missing
    assert missing == 1, "the one that cannot be made again"
    assert any("log.unreadable" in line for line in cluster.reports)
    for number in range(KEYS):
        assert cluster.value(2, b"k%d" % number) == value(number, 300)


def test_a_fragment_that_cannot_be_read_comes_from_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A sector that is gone (EIO) and a file cut short count as damage."""
    cluster = Cluster(3, 1, 2)
    cluster.run(0.2)
    for number in range(KEYS):
        cluster.do(number % 2, Put(b"k%d" % number, value(number, 300)))
    cluster.run(0.5)
    driver = cluster.driver(2)
    read = driver.log.read
    broken = [True]

    def failing(place: object) -> bytes:
        if broken[0]:
            raise OSError(5, "Input/output error")
        return read(place)  # type: ignore[arg-type]

    monkeypatch.setattr(driver.log, "read", failing)
    monkeypatch.setattr(driver.log, "read_now", failing)
    monkeypatch.setattr(driver.log, "elsewhere", lambda _place: lambda: None)
    driver.values.cache.bytes_max = 0
    for number in range(KEYS):
        assert cluster.value(2, b"k%d" % number) == value(number, 300)
    broken[0] = False
    cluster.run(3.0)
    assert driver.healer.statistics().missing == 0
    assert driver.healer.statistics().healed == KEYS
    assert any("log.unreadable" in line and "Input/output" in line for line in cluster.reports)


def test_a_damaged_fragment_is_not_sent_to_a_peer_that_asks_for_it() -> None:
    """Who holds it notices: named, dropped and healed there; the peer never sees it."""
    cluster = filled(300)
    position = next(iter(cluster.driver(0).library.held_places()))[0]
    ours = cluster.driver(0).library.fragments(position, 0, 1)[0]
    assert rot(cluster, 0, ours) == 1
    driver = cluster.start(2)
    driver.values.cache.bytes_max = 0
    cluster.run(3.0)
    for number in range(KEYS):
        assert cluster.value(2, b"k%d" % number) == value(number, 300)
    named = [line for line in cluster.reports if "bad_fragment" in line]
    assert named, "it was asked for"
    assert all("not sent" in line and "fragment=0" in line for line in named)
    assert cluster.driver(0).library.fragments(position, 0, 1)[0] == ours


def test_a_batch_that_is_dead_is_not_healed() -> None:
    """It is served for a while to those who began to read before; nobody needs it whole."""
    cluster = Cluster(3, 1, 2)
    cluster.run(0.2)
    cluster.do(0, Put(b"k", value(1, 300)))
    cluster.run(0.2)
    driver = cluster.driver(0)
    position = next(iter(driver.library.held_places()))[0]
    cluster.do(1, Put(b"k", value(2, 300)))
    cluster.do(1, Compact(driver.store.revision))
    cluster.run(0.5)
    assert driver.library.is_dead(position)
    driver.library.drop_fragment(position, 0)
    cluster.run(0.5)
    assert driver.healer.statistics().missing == 0


def test_no_fragment_is_sent_whose_descriptor_cannot_be_read() -> None:
    cluster = filled(300)
    library = cluster.driver(0).library
    sent: list[FragmentReply] = []
    position = next(iter(library.held_places()))[0]
    values = cluster.driver(0).values

    def note(_peer: int, message: FragmentRequest | FragmentReply) -> None:
        assert isinstance(message, FragmentReply)
        sent.append(message)

    values._send = note
    request = FragmentRequest(7, position, 0, 0b111)
    values.serve(2, request)
    assert rot(cluster, 0, library.descriptor(position)[:40]) == 1
    values.serve(2, request)
    good, nothing = sent
    assert good.fragments
    assert not nothing.fragments


def test_the_digests_of_each_coded_value_of_a_batch() -> None:
    """However deep in transactions and pieces of a restore they are."""
    large = iter([bytes([number]) * 300 for number in range(20)])
    put, small = partial(Put, b"k"), Put(b"k", b"small")
    inner = Txn((), (put(next(large)), small), (put(next(large)),))
    txn = Txn((), (Range(b"a"), inner, put(next(large))), (DeleteRange(b"b"), put(next(large))))
    kv = KeyValue(b"k", 1, 1, 1, next(large), 0)
    commands = (small, put(next(large)), Compact(1), txn, Load((kv,)), put(next(large)))
    prepared = BatchEncoder(Codec(2, 3), 100).prepare(commands)
    descriptor = prepared.payload.descriptor
    values = coded_values(descriptor, 1, 1)
    assert len(values) == 7
    for index, each in enumerate(values):
        assert fragment_digests(descriptor, index) == b"".join(each.fragment_digests)
    assert fragment_digests(descriptor, len(values)) == b""

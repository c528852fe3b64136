"""Bytes that go bad in the log of a running replica: named, never served, made good by others."""

from __future__ import annotations

import pytest

from racos.mvcc.command import Put
from racos.node.healer import Healing
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
    driver.values.cache.bytes_max = 0
    for number in range(KEYS):
        assert cluster.value(2, b"k%d" % number) == value(number, 300)
    broken[0] = False
    cluster.run(3.0)
    assert driver.healer.statistics().missing == 0
    assert driver.healer.statistics().healed == KEYS
    assert any("log.unreadable" in line and "Input/output" in line for line in cluster.reports)

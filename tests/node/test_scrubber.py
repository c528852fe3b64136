"""The scrubber: what goes bad at rest is found, named, and made good before anybody reads it."""

from __future__ import annotations

import random

import pytest

from racos.mvcc.command import Put
from racos.node.scrubber import STEP_BYTES, Scrubbing, ScrubStatistics
from racos.storage.log import Place, Scan
from tests.node.cluster import Cluster

KEYS = 30
SIZE = 600
QUICK = Scrubbing(bytes_per_second=1 << 20, pause_seconds=1.0)


def value(number: int) -> bytes:
    return random.Random(number).randbytes(SIZE)


def filled(scrubbing: Scrubbing = QUICK, segment_bytes: int = 4096) -> Cluster:
    cluster = Cluster(3, 1, 2, segment_bytes=segment_bytes)
    cluster.options = cluster.options._replace(scrubbing=scrubbing)
    for lane in range(3):
        cluster.crash(lane)
        cluster.start(lane)
    cluster.run(0.2)
    for number in range(KEYS):
        cluster.do(number % 3, Put(b"k%d" % number, value(number)))
    cluster.run(0.3)
    return cluster


def figures(cluster: Cluster, lane: int) -> ScrubStatistics:
    return cluster.driver(lane).keeper.scrubber.statistics()


def passes(cluster: Cluster, lane: int, count: int = 2) -> None:
    """Let so many more passes end: the first of them may have begun before."""
    wanted = figures(cluster, lane).passes + count
    cluster.run(30.0, lambda: figures(cluster, lane).passes >= wanted)
    assert figures(cluster, lane).passes >= wanted


def flip(cluster: Cluster, lane: int, name: str, offset: int) -> None:
    content = bytearray(cluster.disks[lane].content(name))
    content[offset] ^= 8
    cluster.disks[lane].overwrite(name, bytes(content))


def damages(cluster: Cluster) -> list[str]:
    return [line for line in cluster.reports if line.startswith("scrub.damaged")]


def test_what_is_sound_is_read_and_nothing_is_said() -> None:
    cluster = filled()
    assert len(cluster.driver(0).log.segments) > 4
    passes(cluster, 0)
    assert damages(cluster) == []
    found = figures(cluster, 0)
    assert found.damaged_records == found.dropped_fragments == 0
    assert found.read_bytes > KEYS * SIZE // 2
    assert found.since_seconds >= 0


def test_every_damaged_fragment_is_dropped_and_healed() -> None:
    cluster = filled()
    driver = cluster.driver(2)
    held = driver.library.held_places()
    assert len(held) >= KEYS
    for _, _, place in held:
        name = f"{place.segment:016x}.log"
        flip(cluster, 2, name, place.offset + place.length // 2)
    passes(cluster, 2)
    cluster.run(3.0)
    assert figures(cluster, 2).dropped_fragments >= KEYS
    named = damages(cluster)
    assert sum("fragment=" in line for line in named) >= KEYS
    assert all("mem:" in line and "offset" in line for line in named)
    assert driver.healer.statistics().missing == 0
    assert driver.healer.statistics().healed >= KEYS
    cluster.crash(1)  # now one of the others may go, and nothing is lost
    driver.values.cache.bytes_max = 0
    for number in range(KEYS):
        assert cluster.value(2, b"k%d" % number) == value(number)


def test_damage_behind_a_damaged_head_is_found_by_what_the_index_names() -> None:
    cluster = filled()
    driver = cluster.driver(1)
    places = [place for _, _, place in driver.library.held_places() if place.segment == 2]
    assert places
    flip(cluster, 1, f"{2:016x}.log", 512)
    flip(cluster, 1, f"{2:016x}.log", places[-1].offset)
    passes(cluster, 1)
    cluster.run(2.0)
    assert figures(cluster, 1).dropped_fragments == 1
    assert driver.healer.statistics().healed == 1
    assert any("cannot be read" in line for line in damages(cluster))


def test_damaged_descriptors_and_headers_are_named() -> None:
    cluster = filled()
    driver = cluster.driver(0)
    position = driver.library.held_places()[0][0]
    entry = driver.library.settled(position)
    assert entry is not None
    segment = entry.descriptor.segment
    flip(cluster, 0, f"{segment:016x}.log", entry.descriptor.offset)
    flip(cluster, 0, f"{segment + 1:016x}.log", 20)
    passes(cluster, 0)
    assert any("is damaged" in line for line in damages(cluster))
    assert any("header is damaged" in line for line in damages(cluster))
    unreadable = [line for line in cluster.reports if "log.unreadable" in line]
    assert len(unreadable) == 1
    assert f"position={position} " in unreadable[0]
    assert figures(cluster, 0).dropped_fragments == 0, "good ones are not given up"


def test_a_sector_that_is_gone_is_damage_and_does_not_end_the_node(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cluster = filled()
    driver = cluster.driver(1)
    _, _, place = driver.library.held_places()[0]
    scan, read = driver.log.scan, Scan.read
    mine: list[Scan] = []

    def broken(self: Scan, wanted: Place) -> bytes:
        if self in mine and wanted == place:
            raise OSError(5, "Input/output error")
        return read(self, wanted)

    def gone(number: int, *, ahead_bytes: int = 0, may_wait: bool = True) -> Scan:
        if number == place.segment + 1:
            raise FileNotFoundError(2, "No such file or directory")
        mine.append(scan(number, ahead_bytes=ahead_bytes, may_wait=may_wait))
        return mine[-1]

    monkeypatch.setattr(Scan, "read", broken)
    monkeypatch.setattr(driver.log, "scan", gone)
    passes(cluster, 1, 1)
    cluster.run(2.0)
    assert any("Input/output error" in line for line in damages(cluster))
    assert any("No such file" in line for line in damages(cluster))
    assert driver.healer.statistics().healed >= 1
    assert driver.healer.statistics().missing == 0


def test_the_rate_bounds_it_and_none_means_none() -> None:
    slow = filled(Scrubbing(bytes_per_second=1000, pause_seconds=1.0))
    before = figures(slow, 0).read_bytes
    slow.run(2.0)
    read = figures(slow, 0).read_bytes - before
    assert 500 < read <= 2000 + STEP_BYTES // 50
    assert 0 < figures(slow, 0).progress < 1
    off = filled(Scrubbing(bytes_per_second=0))
    off.run(2.0)
    assert figures(off, 0).read_bytes == 0


def test_segments_that_go_meanwhile_do_no_harm() -> None:
    cluster = filled(Scrubbing(bytes_per_second=3000, pause_seconds=0.0))
    for round_ in range(3):
        for number in range(0, KEYS, 2):
            cluster.do(round_ % 3, Put(b"k%d" % number, value(number + round_)))
        cluster.crash(round_)
        cluster.start(round_)
        cluster.run(1.0)
    assert damages(cluster) == []

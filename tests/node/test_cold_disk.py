"""Background work on a disk of which nothing is in memory: read off the node's thread."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from racos.mvcc.command import Compact, Put
from racos.node import scrubber
from racos.node.cleaner import Space
from racos.node.library import Library
from racos.node.scrubber import Scrubbing
from racos.storage.ahead import Ahead, NotYet
from racos.storage.memdisk import MemDisk, MemFile
from tests.node.cluster import Cluster

KEYS = 30
SIZE = 600
SEGMENT = 8192


class SlowReader:
    """Implements `racos.node.fetching.Reader`: reads are done when the test says so."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Callable[[], None], Callable[[], None]]] = []
        self.is_reading = False
        self.reads = {False: 0, True: 0}  # of the disk, by whether the reader did it

    def start(self, work: Callable[[], None], done: Callable[[], None]) -> None:
        self.waiting.append((work, done))

    def work(self) -> int:
        """Do what waits; how many reads that were."""
        jobs, self.waiting = self.waiting, []
        for work, done in jobs:
            self.is_reading = True
            work()
            self.is_reading = False
            done()
        return len(jobs)


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch) -> SlowReader:
    """Nothing is in memory from now on."""
    slow, read = SlowReader(), MemFile.read

    def counted(self: MemFile, offset: int, length: int) -> bytes:
        slow.reads[slow.is_reading] += 1
        return read(self, offset, length)

    monkeypatch.setattr(MemFile, "read", counted)
    monkeypatch.setattr(MemFile, "read_now", lambda _self, _offset, _length: None)
    return slow


def cluster_of(reader: SlowReader, scrub_rate: int = 1 << 20) -> Cluster:
    """Lane 0 has the slow disk."""
    space = Space(bytes_per_second=1 << 20, history_bytes=2 * SEGMENT, grace_seconds=0.3)
    cluster = Cluster(3, 1, 2, segment_bytes=SEGMENT, space=space)
    scrubbing = Scrubbing(bytes_per_second=scrub_rate, pause_seconds=0.5)
    cluster.crash(0)
    usual = cluster.options
    cluster.options = usual._replace(scrubbing=scrubbing, reader=reader)
    cluster.start(0)
    cluster.options = usual
    cluster.run(0.2)
    return cluster


def write(cluster: Cluster, turn: int) -> None:
    for number in range(KEYS):
        cluster.do(1 + number % 2, Put(b"k%d" % number, bytes([turn, number]) * (SIZE // 2)))
    cluster.run(0.2)


def test_the_scrubber_waits_for_nothing(
    reader: SlowReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scrubber, "STEP_BYTES", 500)  # records begin in one read and end in others
    cluster = cluster_of(reader)
    write(cluster, 1)
    work = cluster.driver(0).keeper.scrubber
    cluster.run(1.0)
    reader.reads[False] = 0
    before, waiting = work.statistics(), len(reader.waiting)
    assert waiting == 1, "one read, which does not come"
    cluster.run(1.0)
    assert work.statistics()[:4] == before[:4]
    assert len(reader.waiting) == waiting
    for _ in range(500):
        reader.work()
        cluster.run(0.01)
    after = work.statistics()
    assert after.passes > before.passes + 1
    assert after.damaged_records == after.dropped_fragments == 0
    assert after.read_bytes > KEYS * SIZE // 2
    assert not reader.reads[False], "nothing was read in the node's own thread"
    assert reader.reads[True] > 10


def test_the_cleaner_waits_for_nothing(reader: SlowReader) -> None:
    cluster = cluster_of(reader, scrub_rate=0)
    for turn in range(6):
        write(cluster, turn)
        cluster.do(1, Put(b"kept%d" % turn, b"y" * SIZE))
    cluster.do(1, Compact(cluster.driver(1).store.revision))
    cluster.run(1.0)
    statistics = cluster.driver(0).keeper.statistics
    assert statistics().copied_bytes == 0
    assert len(reader.waiting) == 1
    reader.reads[False] = 0
    cluster.run(0.5)
    assert not reader.reads[False]
    for _ in range(300):
        reader.work()
        cluster.run(0.01)
    after = statistics()
    assert after.rewritten_segments > 1
    assert after.copied_bytes > 0
    assert after.damaged == 0
    assert not reader.reads[False]
    for turn in range(6):
        assert cluster.value(0, b"kept%d" % turn) == b"y" * SIZE


def test_what_dies_or_moves_during_a_read_is_not_dropped(
    reader: SlowReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fragment is judged only if it is still the one that was read."""
    cluster = cluster_of(reader)
    write(cluster, 1)
    dropped: list[int] = []
    monkeypatch.setattr(Library, "drop_fragment", lambda _self, at, _index: dropped.append(at))
    for turn in range(2, 8):
        write(cluster, turn)
        cluster.do(1, Compact(cluster.driver(1).store.revision))
        for _ in range(20):
            reader.work()
            cluster.run(0.02)
    assert not dropped
    assert not [line for line in cluster.reports if "damaged" in line]


def test_a_node_ends_in_the_middle_of_a_read(reader: SlowReader) -> None:
    cluster = cluster_of(reader)
    write(cluster, 1)
    cluster.run(1.0)
    driver = cluster.driver(0)
    assert reader.waiting
    driver.stop(RuntimeError("the end"))
    reader.work()


def test_a_file_is_closed_after_the_read_that_is_under_way(reader: SlowReader) -> None:
    disk = MemDisk()
    file = disk.create("a")
    file.write(b"0123456789", 0)
    ahead = Ahead(file)
    with pytest.raises(NotYet):
        ahead.read(2, 3)
    ahead.begin()
    ahead.fetch()
    ahead.close()
    assert file.size() == 10, "still open"
    ahead.fetched()
    with pytest.raises(OSError, match="closed"):
        file.size()
    assert not reader.reads[True]


def test_an_error_of_the_disk_comes_with_the_next_read(
    reader: SlowReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    del reader
    disk = MemDisk()
    ahead = Ahead(disk.create("a"))
    with pytest.raises(NotYet):
        ahead.read(0, 10)

    def broken(_self: MemFile, _offset: int, _length: int) -> bytes:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(MemFile, "read", broken)
    ahead.begin()
    ahead.fetch()
    ahead.fetched()
    with pytest.raises(OSError, match="Input/output"):
        ahead.read(0, 10)
    with pytest.raises(NotYet):
        ahead.read(0, 10)

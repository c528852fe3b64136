"""Background work on a disk of which nothing is in memory: read off the node's thread."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from racos.mvcc.command import CodedValue, Compact, Put, Range
from racos.node import scrubber
from racos.node.cleaner import Space
from racos.node.library import Library
from racos.node.parts import Parts
from racos.node.scrubber import Scrubbing
from racos.node.values import Timing
from racos.node.wire import FragmentReply, FragmentRequest
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
        self.disk: MemDisk | None = None
        self.reads = {False: 0, True: 0}  # of this disk, by whether the reader did it

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
        slow.reads[slow.is_reading] += self._disk is slow.disk
        return read(self, offset, length)

    monkeypatch.setattr(MemFile, "read", counted)
    monkeypatch.setattr(MemFile, "read_now", lambda _self, _offset, _length: None)
    return slow


def cluster_of(reader: SlowReader, scrub_rate: int = 1 << 20) -> Cluster:
    """Lane 0 has the slow disk."""
    space = Space(bytes_per_second=1 << 20, history_bytes=2 * SEGMENT, grace_seconds=0.3)
    cluster = Cluster(3, 1, 2, segment_bytes=SEGMENT, space=space)
    scrubbing = Scrubbing(bytes_per_second=scrub_rate, pause_seconds=0.5)
    reader.disk = cluster.disks[0]
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


def test_a_slow_disk_holds_up_only_those_who_want_its_values(reader: SlowReader) -> None:
    cluster = cluster_of(reader, scrub_rate=0)
    write(cluster, 1)
    driver = cluster.driver(0)
    driver.values.cache.bytes_max = 0
    driver.values.timing = Timing(hedge=60.0, again=60.0)
    reader.reads[False] = 0
    read: list[bytes | Exception] = []
    for number in range(5):
        result = driver.store.range(Range(b"k%d" % number))
        (kv,) = result.kvs
        assert isinstance(kv.value, CodedValue)
        driver.values.load(kv.value, read.append)
    cluster.do(0, Put(b"k", b"written meanwhile"))
    cluster.run(0.2)
    assert not read, "own fragments are still on the disk"
    assert not reader.reads[False]
    assert reader.work() == 5
    cluster.run(0.1)
    assert read == [bytes([1, number]) * (SIZE // 2) for number in range(5)]
    assert not reader.reads[False]


def test_a_peer_that_asks_a_slow_disk_gets_its_fragment_later(reader: SlowReader) -> None:
    cluster = cluster_of(reader, scrub_rate=0)
    write(cluster, 1)
    values = cluster.driver(0).values
    sent: list[FragmentReply] = []

    def note(_peer: int, message: FragmentRequest | FragmentReply) -> None:
        assert isinstance(message, FragmentReply)
        sent.append(message)

    values._send = note
    position, index, _ = cluster.driver(0).library.held_places()[0]
    values.serve(1, FragmentRequest(7, position, 0, 1 << index))
    assert len(sent) == 0
    assert reader.work() == 1
    assert [(each.number, list(each.fragments)) for each in sent] == [(7, [index])]


def test_a_fragment_that_moves_while_it_is_read_is_found_where_it_is(
    reader: SlowReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its segment may have gone by the time that the file is opened."""
    cluster = cluster_of(reader, scrub_rate=0)
    write(cluster, 1)
    driver = cluster.driver(0)
    position, index, place = driver.library.held_places()[0]
    found: list[dict[int, bytes]] = []
    parts = Parts(driver.library, reader)
    assert parts.get(position, 0, 1 << index, found.append) == 1 << index
    opened = cluster.disks[0].open

    def gone(name: str) -> MemFile:
        if reader.is_reading:
            raise FileNotFoundError(2, "No such file or directory", name)
        return opened(name)

    monkeypatch.setattr(cluster.disks[0], "open", gone)
    reader.work()
    assert found == [{index: driver.log.read(place)}]
    assert driver.library.held(position) >> index & 1, "not taken for damaged"


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

"""The log on the memory disk: order, places, group commit, rotation, crashes, errors."""

from __future__ import annotations

import errno
import random
from collections.abc import Sequence
from contextlib import suppress

import pytest

from racos.storage.batch import AHEAD_BYTES
from racos.storage.log import Appended, Batch, Log, LogError, Place
from racos.storage.memdisk import MemDisk
from racos.storage.replay import Replayed

MEMBER = 0xA1
CLUSTER = 0xC1
FIRST = f"{1:016x}.log"


def open_log(disk: MemDisk, segment_bytes: int = 1 << 20) -> tuple[Log, list[Replayed]]:
    log = Log.open(disk, member_id=MEMBER, cluster_id=CLUSTER, segment_bytes=segment_bytes)
    return log, list(log.replay())


def commit(log: Log) -> int:
    batch = log.take()
    assert batch is not None
    batch.run()
    return log.done(batch)


def check(log: Log, records: Sequence[Replayed], expected: Sequence[tuple[int, bytes]]) -> None:
    """The records are these (kind, header), and each blob is what `blobs_of` said."""
    assert [(record.kind, record.header) for record in records] == list(expected)
    assert [record.sequence for record in records] == list(range(1, len(records) + 1))
    for record in records:
        assert log.read(record.header_place) == record.header
        assert [log.read(place) for place in record.blob_places] == blobs_of(record.header)


def blobs_of(header: bytes) -> list[bytes]:
    """Blobs that follow from the header, so that a reader can check them."""
    source = random.Random(header)
    return [
        source.randbytes(source.choice((0, 1, 7, 100, 3000))) for _ in range(source.randint(0, 3))
    ]


def test_records_come_back_in_order_with_their_blobs() -> None:
    disk = MemDisk()
    log, records = open_log(disk)
    assert records == []
    expected = [(kind, b"h%d" % kind * kind) for kind in range(50)]
    for kind, header in expected:
        log.append(kind, header, blobs_of(header))
    assert log.last_sequence == 50
    assert log.durable_sequence == 0
    assert commit(log) == 50
    log.close()
    log, records = open_log(disk)
    check(log, records, expected)
    assert log.durable_sequence == 50


def test_places_can_be_read_while_queued_in_flight_and_durable() -> None:
    log, _ = open_log(MemDisk())
    appended = log.append(1, b"header", [b"first", memoryview(b"second"), b""])

    def read() -> list[bytes]:
        return [log.read(place) for place in (appended.header, *appended.blobs)]

    wanted = [b"header", b"first", b"second", b""]
    assert read() == wanted
    batch = log.take()
    assert batch is not None
    assert read() == wanted
    batch.run()
    assert read() == wanted
    log.done(batch)
    assert read() == wanted
    assert log.read(Place(1, appended.blobs[0].offset + 1, 3)) == b"irs"


def test_one_batch_takes_all_that_waits_and_syncs_once() -> None:
    disk = MemDisk()
    log, _ = open_log(disk)
    log.append(1, b"a")
    first = log.take()
    assert first is not None
    for _ in range(20):
        log.append(1, b"b")
    assert log.take() is None  # one batch in flight at a time
    syncs = disk.syncs
    first.run()
    assert log.done(first) == log.durable_sequence == 1
    assert commit(log) == 21
    assert disk.syncs == syncs + 2
    assert log.take() is None
    assert log.queued_bytes == 0


def test_segments_rotate_between_records_and_large_records_get_their_own() -> None:
    disk = MemDisk()
    log, _ = open_log(disk, segment_bytes=4096)
    sizes = [100, 3000, 3000, 20_000, 10, 10]
    blobs = [random.Random(size).randbytes(size) for size in sizes]
    places = [log.append(0, b"x", [blob]).blobs[0] for blob in blobs]
    assert [place.segment for place in places] == [1, 1, 2, 3, 4, 4]
    commit(log)
    assert [log.read(place) for place in places] == blobs
    log.append(0, b"y", [blobs[1]])
    log.append(0, b"y", [blobs[1]])
    commit(log)
    size = log.size_bytes
    assert log.statistics().segments == 5
    log.close()
    log, records = open_log(disk, segment_bytes=4096)
    assert [log.read(record.blob_places[0]) for record in records[:6]] == blobs
    assert len(records) == 8
    assert log.size_bytes == size


def test_many_segments_stay_readable_with_few_open_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("racos.storage.log._FILES_OPEN_MAX", 2)
    disk = MemDisk()
    log, _ = open_log(disk, segment_bytes=800)
    appended: list[Appended] = []
    for number in range(9):
        appended.append(log.append(0, b"%d" % number * 90))
        batch = log.take()
        assert batch is not None
        for old in appended:  # opens and closes files while the batch is in flight
            assert log.read(old.header)[:1] == b"%d" % (old.sequence - 1)
        batch.run()
        log.done(batch)
    assert [each.header.segment for each in appended] == [1, 1, 2, 2, 3, 3, 4, 4, 5]
    log.close()
    assert len(open_log(disk)[1]) == 9


@pytest.mark.parametrize("seed", range(150))
def test_after_a_power_loss_everything_durable_is_there_in_order(seed: int) -> None:
    source = random.Random(seed)
    disk = MemDisk(source)
    appended: list[tuple[int, bytes]] = []
    durable = 0
    for boot in range(4):
        log, records = open_log(disk, segment_bytes=source.choice((2000, 5000, 1 << 20)))
        assert len(records) >= durable
        del appended[len(records) :]
        check(log, records, appended)
        durable = len(records)  # what a replay showed once must stay
        for step in range(source.randint(0, 6)):
            for number in range(source.randint(1, 5)):
                header = b"%d.%d.%d" % (boot, step, number)
                log.append(step, header, blobs_of(header))
                appended.append((step, header))
            if source.random() < 0.8:
                durable = commit(log)
        batch = log.take()
        if batch is not None and source.random() < 0.7:
            half_run(disk, batch, source)
        disk.crash()


def half_run(disk: MemDisk, batch: Batch, source: random.Random) -> None:
    """Run a batch while the power goes, at any step of it, or just before `done`."""
    disk.fail_after(source.randint(0, 8), OSError(errno.EIO, "power is going"))
    with suppress(OSError):
        batch.run()


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("failure", ["killed before the sync", "sync failed"])
def test_what_replay_showed_once_survives_a_power_loss_right_after(seed: int, failure: str) -> None:
    # Either way the kernel still shows the records; after a failed sync it even calls them clean.
    disk = MemDisk(random.Random(seed))
    log, _ = open_log(disk)
    log.append(1, b"promised", [bytes(2000)])
    commit(log)
    log.append(1, b"only written", [bytes(2000)])
    batch = log.take()
    assert batch is not None
    synced = disk.content(FIRST)
    if failure == "sync failed":
        disk.fail_after(1, OSError(errno.EIO, failure))
        with pytest.raises(OSError, match=failure):
            batch.run()
        disk.fail_after(None, None)
    else:
        batch.run()
        written = disk.content(FIRST)
        disk.overwrite(FIRST, synced)
        disk.open(FIRST).write(written, 0)
    _, records = open_log(disk)
    assert len(records) == 2
    disk.crash()
    assert len(open_log(disk)[1]) == 2


def test_small_batches_find_zeros_written_ahead_in_each_segment() -> None:
    disk = MemDisk()
    log, _ = open_log(disk, segment_bytes=2 << 20)

    def size_after(length: int) -> int:
        segment = log.append(1, b"x", [bytes(length)]).blobs[0].segment
        commit(log)
        return len(disk.content(f"{segment:016x}.log"))

    first = size_after(10)
    assert first > AHEAD_BYTES
    assert [size_after(1000) for _ in range(20)] == [first] * 20
    large = size_after(1 << 20)  # writes itself only
    assert large < (1 << 20) + 30_000
    assert size_after(1 << 20) < large  # the next segment
    assert size_after(10) == size_after(1000) > (1 << 20) + AHEAD_BYTES


@pytest.mark.parametrize("length", [AHEAD_BYTES, 2 * AHEAD_BYTES, 4 * AHEAD_BYTES - 1000])
def test_a_batch_larger_than_the_zeros_writes_none(length: int) -> None:
    disk = MemDisk()
    log, _ = open_log(disk)
    log.append(1, b"x", [bytes(length)])
    commit(log)
    assert length < len(disk.content(FIRST)) < length + 1000


def test_a_failed_sync_is_raised_and_its_batch_never_becomes_durable() -> None:
    disk = MemDisk()
    log, _ = open_log(disk)
    log.append(1, b"x")
    batch = log.take()
    assert batch is not None
    disk.fail_after(0, OSError(errno.ENOSPC, "No space left on device"))
    with pytest.raises(OSError, match="No space left"):
        batch.run()
    with pytest.raises(AssertionError, match="did not run"):
        log.done(batch)
    assert log.durable_sequence == 0


def test_foreign_logs_are_refused_and_stay_as_they_are() -> None:
    disk = MemDisk()
    log, _ = open_log(disk)
    log.append(1, b"x")
    commit(log)
    log.close()
    before = {name: disk.content(name) for name in disk.list()}
    with pytest.raises(LogError, match=r"mem:0{15}1\.log: log belongs to cluster c1, not c2"):
        Log.open(disk, member_id=MEMBER, cluster_id=0xC2)
    with pytest.raises(LogError, match="belongs to member a1, not a2"):
        Log.open(disk, member_id=0xA2, cluster_id=CLUSTER)
    assert {name: disk.content(name) for name in disk.list()} == before


def test_wrong_use_is_caught() -> None:
    log = Log.open(MemDisk(), member_id=1, cluster_id=1)
    with pytest.raises(AssertionError, match="replay the log"):
        log.append(1, b"")
    list(log.replay())
    with pytest.raises(LogError, match="are not there"):
        log.read(Place(1, 512, 1))
    log.close()

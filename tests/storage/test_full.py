"""A full disk: what is put by, and every write of the log that may find no space."""

from __future__ import annotations

import errno
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from racos.storage.ballast import BALLAST_NAME, Ballast, insist
from racos.storage.disk import OsDisk
from racos.storage.log import Log
from racos.storage.memdisk import MemDisk
from tests.robustness.small_disk import Tmpfs

SEGMENT = 8 << 10
BALLAST = 256 << 10


def open_log(disk: MemDisk, ballast: Ballast | None = None) -> Log:
    log = Log.open(disk, member_id=1, cluster_id=2, segment_bytes=SEGMENT, ballast=ballast)
    for _ in log.replay():
        pass
    return log


def contents(disk: MemDisk, start: int = 1) -> list[bytes]:
    log = Log.open(disk, member_id=1, cluster_id=2, segment_bytes=SEGMENT)
    return [entry.header for entry in log.replay(start)]


def commit(log: Log) -> None:
    batch = log.take()
    assert batch is not None
    batch.run()
    log.done(batch)


def whole(disk: MemDisk, size_bytes: int = BALLAST) -> Ballast:
    ballast = Ballast(disk, size_bytes)
    while not ballast.is_whole:
        assert ballast.grow()
    return ballast


def test_ballast_is_given_in_parts_and_put_by_again() -> None:
    disk = MemDisk()
    disk.capacity_bytes = 1000
    ballast = whole(disk, 800)
    assert disk.space().free == 200
    assert ballast.give(1)
    assert (ballast.held_bytes, disk.space().free) == (700, 300)
    assert ballast.give(350)
    assert ballast.held_bytes == 350
    assert Ballast(disk, 800).held_bytes == 350, "the next process takes it over"
    disk.capacity_bytes = 500
    assert ballast.grow()
    assert not ballast.grow(), "there is no space for it"
    assert ballast.held_bytes == 450
    assert ballast.give(10_000)
    assert not ballast.give(1)
    assert BALLAST_NAME not in disk.list()
    assert ballast.given_bytes == 100 + 350 + 450


def test_ballast_of_a_disk_that_became_smaller() -> None:
    disk = MemDisk()
    whole(disk, 800)
    assert Ballast(disk, 100).held_bytes == 100


def test_only_a_lack_of_space_is_tried_again() -> None:
    disk = MemDisk()
    ballast = whole(disk)
    tries: list[int] = []

    def failing(number: int) -> Callable[[], None]:
        def work() -> None:
            tries.append(number)
            raise OSError(number, os.strerror(number))

        return work

    with pytest.raises(OSError, match="Input/output"):
        insist(failing(errno.EIO), ballast, 0)
    assert tries == [errno.EIO]
    with pytest.raises(OSError, match="Disk quota"):
        insist(failing(errno.EDQUOT), ballast, 0)
    assert tries.count(errno.EDQUOT) == 9, "once, and once for each part that was given"
    with pytest.raises(OSError, match="No space"):
        insist(failing(errno.ENOSPC), None, 0)


def test_a_log_without_ballast_ends_when_the_disk_is_full() -> None:
    disk = MemDisk()
    log = open_log(disk)
    disk.capacity_bytes = disk.used_bytes()
    log.append(1, b"x", [bytes(3000)])
    batch = log.take()
    assert batch is not None
    with pytest.raises(OSError, match="No space left"):
        batch.run()


@pytest.mark.parametrize("left", [0, 100, 600, 3000, 7000, 9000, 12_000])
def test_the_log_goes_on_where_the_disk_is_full(left: int) -> None:
    """Wherever the space ends: in a record, in zeros ahead, in a new segment's header."""
    disk = MemDisk(random.Random(left))
    log = open_log(disk, ballast := whole(disk))
    disk.capacity_bytes = disk.used_bytes() + left
    written: list[bytes] = []
    while ballast.held_bytes:
        written.append(b"record %d" % len(written))
        log.append(1, written[-1], [bytes(2000)])
        commit(log)
    assert len(written) * 2000 > BALLAST / 2, "most of it went into records"
    assert contents(disk) == written
    disk.crash()
    assert contents(disk) == written


def test_a_new_segment_finds_the_disk_full() -> None:
    disk = MemDisk()
    log = open_log(disk, ballast := whole(disk))
    written: list[bytes] = []
    while log.last_segment == 1:
        if written:
            commit(log)
        written.append(b"record %d" % len(written))
        log.append(1, written[-1], [bytes(2000)])
    disk.capacity_bytes = disk.used_bytes()
    commit(log)  # begins with the header of segment 2
    assert ballast.given_bytes
    disk.crash()
    assert contents(disk) == written


def test_several_segments_in_one_batch() -> None:
    disk = MemDisk()
    log = open_log(disk, whole(disk))
    disk.capacity_bytes = disk.used_bytes()
    written = [b"record %d" % number for number in range(40)]
    for header in written:
        log.append(1, header, [bytes(2000)])
    commit(log)
    assert len(log.segments) > 9
    disk.crash()
    assert contents(disk) == written


def test_segments_are_removed_from_a_full_disk() -> None:
    disk = MemDisk()
    log = open_log(disk, ballast := whole(disk))
    for number in range(40):
        log.append(1, b"record %d" % number, [bytes(2000)])
        commit(log)
    disk.capacity_bytes = disk.used_bytes()
    log.remove(log.segments[:5])
    waiting = log.is_removing
    commit(log)
    assert waiting > log.is_removing
    assert ballast.given_bytes, "the list of removed segments found no space"
    assert disk.space().free > 5 * SEGMENT / 2
    assert contents(disk, log.segments[0])[-1] == b"record 39"


def test_the_mark_may_lag_on_a_full_disk() -> None:
    disk = MemDisk()
    log = open_log(disk, ballast := whole(disk))
    log.append(1, b"one", [])
    commit(log)
    while ballast.give(BALLAST):
        pass
    log.append(1, b"two", [])
    batch = log.take()
    assert batch is not None
    batch.run()
    disk.fail_after(0, OSError(errno.ENOSPC, "No space left on device"))
    log.done(batch)  # copies-on-write have no space for it
    disk.fail_after(None, None)
    disk.crash()
    assert contents(disk) == [b"one", b"two"]


def test_a_real_file_takes_and_gives_what_it_says(tmp_path: Path) -> None:
    disk = OsDisk(tmp_path)
    disk.reserve("ballast", 1 << 20)
    file = tmp_path / "ballast"
    assert file.stat().st_blocks * 512 >= 1 << 20
    disk.reserve("ballast", 5000)
    assert file.stat().st_size == 5000
    disk.reserve("ballast", 0)
    assert not file.exists()
    total, free = disk.space()
    assert 0 < free <= total


def environment() -> dict[str, str]:
    """The namespace begins in the root directory."""
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}


_FILL_AND_FREE = """
import os, sys
from pathlib import Path
from racos.storage.disk import OsDisk
from racos.storage.index import Index

base = Path(sys.argv[1])
index = Index(base / "index", member_id=1, cluster_id=2, memtable_bytes=1 << 18)
hog = open(base / "hog", "wb", buffering=0)
try:
    OsDisk(base).reserve("too-much", 1 << 30)
except OSError as error:
    print("reserve:", error.strerror, (base / "too-much").stat().st_size)

def write(number):
    index.put(b"k%06d" % number, bytes(1000))
    index.commit(number)
    index.durable(number)

for number in range(1, 101):
    write(number)
try:
    while True:
        hog.write(bytes(1 << 14))
except OSError:
    pass
index.compact()
index._compactor.join()
index.flush()
while index.flushing:
    pass
print("flushed", index.flushed_sequence, "unflushed", index.unflushed_bytes > 100_000)
for number in range(101, 301):
    write(number)
assert all(index.get(b"k%06d" % number) == bytes(1000) for number in range(1, 301))
assert len(list(index.scan(b"k", b"l"))) == 300
os.truncate(base / "hog", 0)
index.may_flush = lambda size: False
index.flush()
assert not index.flushing and not index.flushed_sequence
index.may_flush = lambda size: True
while index.flushed_sequence < 300:
    index.durable(300)
    index.flush()
print("flushed", index.flushed_sequence)
for number in range(1, 300):
    index.delete(b"k%06d" % number)
index.commit(301)
index.durable(301)
index.compact()
index._compactor.join()
print("small", index.size_bytes() < 200_000)
index.compact()
index.close()
index = Index(base / "index", member_id=1, cluster_id=2)
assert [key for key, _ in index.scan(b"k", b"l")] == [b"k000300"]
index.close()
"""


@pytest.mark.process
@pytest.mark.slow
def test_the_index_waits_in_memory_while_its_disk_is_full(tmp_path: Path) -> None:
    """And goes on by itself: RocksDB looks for space every few seconds."""
    try:
        disk = Tmpfs(tmp_path / "disk", 4 << 20)
    except OSError as error:
        pytest.skip(str(error))
    try:
        words = [*disk.prefix, sys.executable, "-c", _FILL_AND_FREE, str(tmp_path / "disk")]
        done = subprocess.run(
            words, env=environment(), capture_output=True, text=True, timeout=60, check=False
        )
    finally:
        disk.close()
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "reserve: No space left on device 0",
        "flushed 0 unflushed True",
        "flushed 300",
        "small True",
    ]

"""The log on a real directory: a thread runs the batches, large vectors, short writes, errors."""

from __future__ import annotations

import os
import random
import stat
import threading
from pathlib import Path

import pytest

from racos.storage.disk import Buffer, OsDisk, OsFile
from racos.storage.log import Log


def open_log(path: Path) -> Log:
    return Log.open(OsDisk(path), member_id=1, cluster_id=2, segment_bytes=1 << 20)


def test_a_thousand_records_of_all_sizes_survive_a_reopen(tmp_path: Path) -> None:
    source = random.Random(7)
    blobs = [source.randbytes(source.choice((0, 10, 300, 20_000))) for _ in range(300)]
    blobs.append(source.randbytes(3 << 20))
    log = open_log(tmp_path)
    assert list(log.replay()) == []
    places = []
    for start in range(0, len(blobs), 50):
        group = blobs[start : start + 50]
        places += [log.append(1, b"descriptor", [blob]).blobs[0] for blob in group]
        batch = log.take()
        assert batch is not None
        thread = threading.Thread(target=batch.run)
        thread.start()
        thread.join(timeout=10)
        log.done(batch)
    assert [log.read(place) for place in places] == blobs
    log.close()
    log = open_log(tmp_path)
    records = list(log.replay())
    assert [log.read(record.blob_places[0]) for record in records] == blobs
    assert [record.blob_places[0] for record in records] == places
    log.close()


def test_files_are_private_and_take_little_more_than_the_records(tmp_path: Path) -> None:
    directory = tmp_path / "data" / "log"
    log = open_log(directory)
    list(log.replay())
    for _ in range(30):
        log.append(1, b"x", [bytes(range(256)) * 128])
        batch = log.take()
        assert batch is not None
        batch.run()
        log.done(batch)
    log.close()
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    used = 0
    for path in directory.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        used += path.stat().st_blocks * 512
    assert log.size_bytes <= used <= log.size_bytes + (600 << 10)


def test_more_buffers_than_one_call_takes_and_short_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.pwritev

    def short(fd: int, buffers: list[Buffer], offset: int, flags: int = 0) -> int:
        first = memoryview(buffers[0])
        return real(fd, [first[: max(1, len(first) // 2)]], offset, flags)

    disk = OsDisk(tmp_path)
    file = disk.create("x")
    pieces: list[Buffer] = [b"%04d" % number for number in range(2500)]
    file.write_sync(pieces, 3)
    assert file.read(3, 20_000) == b"".join(pieces)
    monkeypatch.setattr(os, "pwritev", short)
    file.write_sync(pieces[:10], 0)
    file.write(b"end", 40)
    assert file.read(0, 43) == b"".join(pieces[:10]) + b"end"
    file.truncate(5)
    assert file.size() == 5
    assert file.read(4, 100) == b"0"
    file.close()
    with pytest.raises(FileExistsError):
        disk.create("x")


def test_a_disk_that_takes_nothing_is_an_error_not_a_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = OsDisk(tmp_path).create("x")
    monkeypatch.setattr(os, "pwritev", lambda *_: 0)
    with pytest.raises(OSError, match="accepted no bytes"):
        file.write_sync([b"abc"], 0)
    file.close()


def test_a_full_disk_raises_from_run() -> None:
    # /dev/full says ENOSPC to every write, like a full disk; it cannot sync in the same call.
    fd = os.open("/dev/full", os.O_RDWR)
    file = OsFile(fd)
    with pytest.raises(OSError, match="No space left"):
        file.write_sync([b"abc"], 0)
    file.close()


def test_reading_at_once_gives_the_bytes_or_nothing(tmp_path: Path) -> None:
    file = OsDisk(tmp_path).create("a")
    content = bytes(range(256)) * 64
    file.write_sync([content], 0)
    assert file.read_now(100, 5000) == content[100:5100], "it is in memory"
    assert file.read_now(16_000, 5000) == content[16_000:], "to the end of the file"
    assert file.read_now(20_000, 10) == b""
    with open(tmp_path / "a", "rb") as other:
        os.posix_fadvise(other.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    assert file.read_now(100, 5000) in (None, content[100:5100])
    assert file.read(100, 5000) == content[100:5100]
    file.close()

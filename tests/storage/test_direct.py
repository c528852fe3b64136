"""Writes past the page cache: the same bytes in the same places, whatever their borders."""

from __future__ import annotations

import errno
import os
import random
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from racos.storage import direct
from racos.storage.buffers import Buffer, write_all
from racos.storage.disk import OsDisk, OsFile

LARGE = direct.DIRECT_BYTES_MIN


class Tally(direct.DirectWriter):
    """Counts what went past the cache."""

    done = 0

    def write(self, fd: int, buffers: Sequence[Buffer], offset: int) -> bool:
        written = super().write(fd, buffers, offset)
        self.done += written
        return written


def opened(path: Path) -> tuple[OsFile, Tally]:
    """A file on a disk that takes such writes."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT)
    tally = Tally()
    file = OsFile(fd, tally)
    file.write_sync([bytes(LARGE)], 0)
    if not tally.done:
        file.close()
        pytest.skip("this file system has no writes past its cache")
    file.truncate(0)
    return file, tally


def pieces(source: random.Random, content: bytes) -> list[Buffer]:
    """Cut anywhere, as records are."""
    found: list[Buffer] = []
    at = 0
    while at < len(content):
        size = source.choice((1, 40, 4096, 70_000, 1 << 20))
        found.append(memoryview(content)[at : at + size])
        at += size
    return found


@pytest.mark.parametrize("seed", range(12))
def test_batches_of_all_sizes_one_after_the_other(tmp_path: Path, seed: int) -> None:
    source = random.Random(seed)
    file, tally = opened(tmp_path / "a")
    wanted = b""
    for _ in range(12):
        size = source.choice((1, 500, 4096, LARGE, LARGE + 4096, LARGE + 1234, 5 << 20))
        content = source.randbytes(size)
        before = tally.done
        file.write_sync(pieces(source, content), len(wanted))
        assert tally.done - before == (size >= LARGE)
        wanted += content
        assert file.read(0, len(wanted)) == wanted
    file.close()
    assert (tmp_path / "a").read_bytes() == wanted


def test_what_was_read_before_is_not_what_is_read_afterwards(tmp_path: Path) -> None:
    file, _ = opened(tmp_path / "a")
    file.write_sync([b"old" * LARGE], 0)
    assert file.read(0, 3) == b"old"
    new = random.Random(1).randbytes(LARGE + 77)
    file.write_sync([new], 1000)
    assert file.read(0, 3) == b"old"
    assert file.read(1000, len(new)) == new
    assert file.read(1000 + len(new), 100) == (b"old" * LARGE)[1000 + len(new) :][:100]
    file.close()


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOENT])
def test_where_it_cannot_be_done_the_cache_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    file = OsDisk(tmp_path).create("a")
    usual = os.open

    def refusing(path: str, *options: int) -> int:
        if str(path).startswith("/proc/self/fd/"):
            raise OSError(number, os.strerror(number))
        return usual(path, *options)

    monkeypatch.setattr(os, "open", refusing)
    content = random.Random(2).randbytes(LARGE)
    file.write_sync([content], 5)
    file.close()
    assert (tmp_path / "a").read_bytes() == bytes(5) + content


def test_a_device_with_larger_blocks_is_written_through_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, tally = opened(tmp_path / "a")
    usual = write_all

    def refusing(fd: int, buffers: Sequence[Buffer], offset: int) -> None:
        if len(buffers[0]) >= 4096:
            raise OSError(errno.EINVAL, "Invalid argument")
        usual(fd, buffers, offset)

    monkeypatch.setattr(direct, "write_all", refusing)
    content = random.Random(3).randbytes(LARGE + 9)
    before = tally.done
    file.write_sync([content], 5)
    assert tally.done == before
    file.close()
    assert (tmp_path / "a").read_bytes() == bytes(5) + content


def test_a_disk_that_fails_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, _ = opened(tmp_path / "a")

    def failing(_fd: int, _buffers: Sequence[Buffer], _offset: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(direct, "write_all", failing)
    with pytest.raises(OSError, match="No space left"):
        file.write_sync([bytes(LARGE)], 0)
    file.close()


def test_all_of_it_is_written_before_the_sync(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, _ = opened(tmp_path / "a")
    done: list[str] = []
    usual_write, usual_sync = write_all, os.fdatasync

    def writing(fd: int, buffers: Sequence[Buffer], offset: int) -> None:
        done.append("write")
        usual_write(fd, buffers, offset)

    def syncing(fd: int) -> None:
        done.append("sync")
        usual_sync(fd)

    monkeypatch.setattr(direct, "write_all", writing)
    monkeypatch.setattr(os, "fdatasync", syncing)
    file.write_sync([bytes(LARGE)], 7)
    assert done == ["write", "write", "write", "sync"], "its beginning, its blocks and its end"
    file.close()


def test_two_files_of_a_directory_may_be_written_at_once(tmp_path: Path) -> None:
    disk = OsDisk(tmp_path)
    contents = {name: random.Random(name).randbytes(3 << 20) for name in ("a", "b")}

    def write(name: str) -> None:
        file = disk.create(name)
        for start in range(0, 5 * (3 << 20), 3 << 20):
            file.write_sync([contents[name]], start)
        file.close()

    threads = [threading.Thread(target=write, args=(name,)) for name in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    for name, content in contents.items():
        assert (tmp_path / name).read_bytes() == 5 * content

"""Disks that fail, for real processes: they lose what was not synced, break, or take their time.

`LossyDisk` makes SIGKILL a power cut. A killed process leaves the kernel's cache behind, so nothing
that it wrote is ever lost; here unsynced bytes and names live in the process only and go with it.
Modelled: unsynced sectors (512 bytes) survive in any subset, a sync that is cut short likewise,
sizes set by truncate may or may not, and names survive as a prefix of the directory's changes.
Not modelled: the kernel's own crash, so nothing is really synced; sectors torn in the middle; files
that do not go through the disk port (identity, lock, an embedded store).
"""

from __future__ import annotations

import errno
import itertools
import os
import random
import shutil
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from racos.storage.disk import Buffer, Disk, DiskSpace, File, OsDisk, OsFile

SECTOR_BYTES = 512
EARLY = 0.3  # chance that the kernel wrote something before it was asked to
SLOW = 0.1  # chance that a sync takes its time between its pieces, for a cut to fall there
PIECES_MAX = 6
_PAUSE_SECONDS_MAX = 0.002


class _Inode:
    """One file: the real one is the platter; `_dirty` and `size` are what the process sees."""

    def __init__(self, path: str, draw: random.Random, flags: int = 0) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | flags, 0o600)
        self._draw = draw
        self._lock = threading.Lock()  # the log's thread writes while the loop reads
        self._dirty: dict[int, bytes] = {}  # by sector
        self._cut_to: int | None = None  # a truncate that is not on the platter
        self.size = os.fstat(self._fd).st_size

    def read(self, offset: int, length: int) -> bytes:
        with self._lock:
            return self._read(offset, min(length, max(0, self.size - offset)))

    def _read(self, offset: int, length: int) -> bytes:
        data = os.pread(self._fd, length, offset).ljust(length, b"\0")
        if not self._dirty:
            return data
        patched = bytearray(data)
        for sector in range(offset // SECTOR_BYTES, -(-(offset + length) // SECTOR_BYTES)):
            if (piece := self._dirty.get(sector)) is not None:
                start = sector * SECTOR_BYTES - offset
                skipped = max(0, -start)
                end = min(start + SECTOR_BYTES, length)
                patched[start + skipped : end] = piece[skipped : end - start]
        return bytes(patched)

    def write(self, data: bytes, offset: int) -> None:
        with self._lock:
            self._cut_now()
            end = offset + len(data)
            for sector in range(offset // SECTOR_BYTES, -(-end // SECTOR_BYTES)):
                first = sector * SECTOR_BYTES
                piece = bytearray(self._read(first, SECTOR_BYTES))
                start = max(offset, first)
                stop = min(end, first + SECTOR_BYTES)
                piece[start - first : stop - first] = data[start - offset : stop - offset]
                self._dirty[sector] = bytes(piece)
            self.size = max(self.size, end)
            self._write_out([sector for sector in self._dirty if self._draw.random() < EARLY])

    def write_sync(self, data: bytes, offset: int) -> None:
        with self._lock:
            self._sync()
            slow = self._draw.random() < SLOW
            for start, stop in self._pieces(offset, offset + len(data)):
                if slow:
                    time.sleep(self._draw.random() * _PAUSE_SECONDS_MAX)
                os.pwrite(self._fd, data[start - offset : stop - offset], start)
            self.size = max(self.size, offset + len(data))

    def _pieces(self, offset: int, end: int) -> list[tuple[int, int]]:
        """The range cut at sector borders here and there, in any order."""
        borders = range(-(-offset // SECTOR_BYTES) * SECTOR_BYTES, end, SECTOR_BYTES)
        cuts = self._draw.sample(borders, min(len(borders), self._draw.randrange(PIECES_MAX)))
        edges = sorted({offset, end, *cuts})
        pieces = list(itertools.pairwise(edges))
        self._draw.shuffle(pieces)
        return pieces

    def truncate(self, size: int) -> None:
        with self._lock:
            self._cut_now()
            for sector in list(self._dirty):
                left = max(0, size - sector * SECTOR_BYTES)
                if left < SECTOR_BYTES:
                    piece = self._dirty.pop(sector)[:left]
                    if left:
                        self._dirty[sector] = piece.ljust(SECTOR_BYTES, b"\0")
            self.size = size
            self._cut_to = size
            if self._draw.random() < EARLY:
                self._cut_now()

    def _cut_now(self) -> None:
        if self._cut_to is not None:
            os.ftruncate(self._fd, self._cut_to)
            self._cut_to = None

    def sync(self) -> None:
        with self._lock:
            self._sync()

    def _sync(self) -> None:
        self._cut_now()
        order = list(self._dirty)
        self._draw.shuffle(order)
        self._write_out(order)
        if os.fstat(self._fd).st_size != self.size:
            os.ftruncate(self._fd, self.size)

    def _write_out(self, sectors: Sequence[int]) -> None:
        for sector in sectors:
            start = sector * SECTOR_BYTES
            os.pwrite(self._fd, self._dirty.pop(sector)[: self.size - start], start)

    def close(self) -> None:
        os.close(self._fd)


class LossyDisk:
    """Implements `racos.storage.disk.Disk` over a real directory, beside which unnamed files live.

    A new object over the same directory is the disk after a power cut.
    """

    def __init__(self, directory: Path, seed: int) -> None:
        self._directory = directory
        self._unnamed = directory.with_name(directory.name + ".unnamed")
        self._draw = random.Random(seed)
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        shutil.rmtree(self._unnamed, ignore_errors=True)
        self._unnamed.mkdir(mode=0o700)
        self._made = 0
        self._visible = {
            name: _Inode(str(directory / name), self._draw) for name in os.listdir(directory)
        }
        # Changes of names that are not on the platter: (path of the old one, of the new one).
        self._changes: list[tuple[str, str | None]] = []

    def path(self, name: str) -> str:
        return str(self._directory / name)

    def list(self) -> list[str]:
        return list(self._visible)

    def create(self, name: str) -> LossyFile:
        if name in self._visible:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), self.path(name))
        self._made += 1
        path = str(self._unnamed / str(self._made))
        inode = _Inode(path, self._draw, os.O_CREAT | os.O_EXCL)
        self._visible[name] = inode
        self._change(path, self.path(name))
        return LossyFile(inode)

    def open(self, name: str) -> LossyFile:
        if name not in self._visible:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self.path(name))
        return LossyFile(self._visible[name])

    def rename(self, old: str, new: str) -> None:
        self._visible[new] = self._visible.pop(old)
        self._change(self.path(old), self.path(new))

    def remove(self, name: str) -> None:
        del self._visible[name]
        self._change(self.path(name), None)

    def _change(self, old: str, new: str | None) -> None:
        self._changes.append((old, new))
        if self._draw.random() < EARLY:
            self.sync_directory()

    def sync_directory(self) -> None:
        for old, new in self._changes:
            if new is None:
                os.unlink(old)
            else:
                os.rename(old, new)
        self._changes.clear()

    def space(self) -> DiskSpace:
        return OsDisk(self._directory).space()

    def reserve(self, name: str, size_bytes: int) -> None:
        """Nothing: what is put by holds nothing that could be lost."""

    def random_bytes(self, count: int) -> bytes:
        return os.urandom(count)


class LossyFile:
    """Implements `racos.storage.disk.File`. Closing it changes nothing: the file stays known."""

    def __init__(self, inode: _Inode) -> None:
        self._inode = inode

    def read(self, offset: int, length: int) -> bytes:
        return self._inode.read(offset, length)

    def read_now(self, offset: int, length: int) -> bytes | None:
        return self.read(offset, length)

    def write(self, data: Buffer, offset: int) -> None:
        self._inode.write(bytes(data), offset)

    def write_sync(self, buffers: Sequence[Buffer], offset: int) -> None:
        self._inode.write_sync(b"".join(buffers), offset)

    def truncate(self, size: int) -> None:
        self._inode.truncate(size)

    def sync(self) -> None:
        self._inode.sync()

    def size(self) -> int:
        return self._inode.size

    def close(self) -> None:
        pass


class BreakingDisk:
    """Implements `racos.storage.disk.Disk`: another one, which breaks after so many syncs.

    From then on every write and sync fails with `number`, as a device does that is gone.
    """

    def __init__(self, disk: Disk, syncs: int, number: int) -> None:
        self._disk = disk
        self._left = syncs
        self._number = number

    def check(self, syncs: int = 0) -> None:
        self._left -= syncs
        if self._left < 0:
            raise OSError(self._number, os.strerror(self._number))

    def path(self, name: str) -> str:
        return self._disk.path(name)

    def list(self) -> list[str]:
        return self._disk.list()

    def create(self, name: str) -> BreakingFile:
        self.check()
        return BreakingFile(self, self._disk.create(name))

    def open(self, name: str) -> BreakingFile:
        return BreakingFile(self, self._disk.open(name))

    def rename(self, old: str, new: str) -> None:
        self.check()
        self._disk.rename(old, new)

    def remove(self, name: str) -> None:
        self.check()
        self._disk.remove(name)

    def sync_directory(self) -> None:
        self.check(1)
        self._disk.sync_directory()

    def space(self) -> DiskSpace:
        return self._disk.space()

    def reserve(self, name: str, size_bytes: int) -> None:
        self.check()
        self._disk.reserve(name, size_bytes)

    def random_bytes(self, count: int) -> bytes:
        return self._disk.random_bytes(count)


class BreakingFile:
    """Implements `racos.storage.disk.File`."""

    def __init__(self, disk: BreakingDisk, file: File) -> None:
        self._disk = disk
        self._file = file

    def read(self, offset: int, length: int) -> bytes:
        return self._file.read(offset, length)

    def read_now(self, offset: int, length: int) -> bytes | None:
        return self._file.read_now(offset, length)

    def write(self, data: Buffer, offset: int) -> None:
        self._disk.check()
        self._file.write(data, offset)

    def write_sync(self, buffers: Sequence[Buffer], offset: int) -> None:
        self._disk.check(1)
        self._file.write_sync(buffers, offset)

    def truncate(self, size: int) -> None:
        self._disk.check()
        self._file.truncate(size)

    def sync(self) -> None:
        self._disk.check(1)
        self._file.sync()

    def size(self) -> int:
        return self._file.size()

    def close(self) -> None:
        self._file.close()


class SlowDisk(OsDisk):
    """Implements `racos.storage.disk.Disk`: one of which nothing is in memory, and every read takes
    so many milliseconds. `tells`: it says so when asked to read at once; else it just does."""

    def __init__(self, directory: Path, milliseconds: int, *, tells: bool) -> None:
        super().__init__(directory)
        self._seconds = milliseconds / 1000
        self._tells = tells

    def open(self, name: str) -> OsFile:
        fd = os.open(self.path(name), os.O_RDWR | os.O_CLOEXEC)
        return SlowFile(fd, self._seconds, tells=self._tells)


class SlowFile(OsFile):
    __slots__ = ("_seconds", "_tells")

    def __init__(self, fd: int, seconds: float, *, tells: bool) -> None:
        super().__init__(fd)
        self._seconds = seconds
        self._tells = tells

    def read(self, offset: int, length: int) -> bytes:
        time.sleep(self._seconds)
        return super().read(offset, length)

    def read_now(self, offset: int, length: int) -> bytes | None:
        return None if self._tells else self.read(offset, length)


class Fault(NamedTuple):
    """What a node's disk is like, as one word of a command line."""

    kind: str  # lossy, breaking, slow or slow-in-place
    number: int  # lossy: seed; breaking: after so many syncs; slow: milliseconds of a read

    @classmethod
    def parse(cls, text: str) -> Fault:
        kind, _, number = text.partition(":")
        return cls(kind, int(number))

    def __str__(self) -> str:
        return f"{self.kind}:{self.number}"

    def disk(self, directory: Path) -> Disk:
        if self.kind == "lossy":
            return LossyDisk(directory, self.number)
        if self.kind == "breaking":
            return BreakingDisk(OsDisk(directory), self.number, errno.EIO)
        if self.kind in ("slow", "slow-in-place"):
            return SlowDisk(directory, self.number, tells=self.kind == "slow")
        raise ValueError(f"no disk is called {self.kind}")

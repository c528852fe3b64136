"""The disk port: what the log asks of a directory, and the operating system's one.

The log speaks to these two protocols only, so that tests and the simulator can put a disk under it
that loses what was not synced. Nothing here retries: after a failed sync the kernel may have
dropped the pages and a second sync would lie, so every error goes up and ends the process.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from racos.buffers import unwritten
from racos.storage.buffers import VECTOR_MAX, Buffer, rest_of, write_all
from racos.storage.direct import DIRECT_BYTES_MIN, DirectWriter

__all__ = ["Buffer", "Disk", "DiskSpace", "File", "OsDisk", "ReadOnlyDisk", "Readable"]


class Readable(Protocol):
    """One open file. Offsets and lengths are bytes; OSError goes to the caller."""

    def read(self, offset: int, length: int) -> bytes:
        """Up to `length` bytes; fewer only at the end of the file."""

    def size(self) -> int: ...

    def close(self) -> None: ...


class File(Readable, Protocol):
    """One that can be written as well."""

    def read_now(self, offset: int, length: int) -> bytes | None:
        """As `read`; None if the kernel would have to ask the disk, as far as it tells."""

    def write(self, data: Buffer, offset: int) -> None:
        """Write all of `data`, in no order with other writes and not durable before a sync."""

    def write_sync(self, buffers: Sequence[Buffer], offset: int) -> None:
        """Write all buffers one after the other; what they cover is durable on return."""

    def truncate(self, size: int) -> None: ...

    def sync(self) -> None:
        """Make all data and the size durable."""


class DiskSpace(NamedTuple):
    """Of the file system that a directory is on, in bytes."""

    total: int
    free: int  # for this process


class Disk(Protocol):
    """One flat directory. Names are durable only after `sync_directory`."""

    def path(self, name: str) -> str:
        """How to name this file to a person."""

    def list(self) -> list[str]:
        """Names of all files, in no order."""

    def create(self, name: str) -> File:
        """A new empty file; FileExistsError if the name is taken."""

    def open(self, name: str) -> File: ...

    def rename(self, old: str, new: str) -> None: ...

    def remove(self, name: str) -> None: ...

    def sync_directory(self) -> None: ...

    def space(self) -> DiskSpace: ...

    def reserve(self, name: str, size_bytes: int) -> None:
        """Have the file take exactly so much space, really allocated, of no known content; made if
        it is missing, removed with 0. Not durable. If that fails the file is as it was."""

    def random_bytes(self, count: int) -> bytes: ...


class OsDisk:
    """A real directory, made (mode 0700) if it is missing."""

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self._directory = Path(directory)
        self._direct = DirectWriter()
        if not self._directory.is_dir():
            self._directory.mkdir(mode=0o700, parents=True)
            _sync_directory(self._directory.parent)

    def path(self, name: str) -> str:
        return str(self._directory / name)

    def list(self) -> list[str]:
        return os.listdir(self._directory)

    def create(self, name: str) -> OsFile:
        return OsFile(
            os.open(self.path(name), _OPEN_FLAGS | os.O_CREAT | os.O_EXCL, 0o600), self._direct
        )

    def open(self, name: str) -> OsFile:
        return OsFile(os.open(self.path(name), _OPEN_FLAGS), self._direct)

    def rename(self, old: str, new: str) -> None:
        os.rename(self.path(old), self.path(new))

    def remove(self, name: str) -> None:
        os.unlink(self.path(name))

    def sync_directory(self) -> None:
        _sync_directory(self._directory)

    def space(self) -> DiskSpace:
        found = os.statvfs(self._directory)
        return DiskSpace(found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize)

    def reserve(self, name: str, size_bytes: int) -> None:
        if not size_bytes:
            os.unlink(self.path(name))
            return
        fd = os.open(self.path(name), _OPEN_FLAGS | os.O_CREAT, 0o600)
        try:
            _resize(fd, size_bytes)
        finally:
            os.close(fd)

    def random_bytes(self, count: int) -> bytes:
        return os.urandom(count)


class ReadOnlyDisk(OsDisk):
    """A real directory of which nothing can be changed through this. OSError if it is missing."""

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        os.listdir(directory)
        super().__init__(directory)

    def create(self, name: str) -> OsFile:
        raise OSError(errno.EROFS, "opened for reading only", self.path(name))

    def open(self, name: str) -> OsFile:
        return OsFile(os.open(self.path(name), os.O_RDONLY | os.O_CLOEXEC))

    def rename(self, old: str, new: str) -> None:
        raise OSError(errno.EROFS, "opened for reading only", self.path(old), None, self.path(new))

    def remove(self, name: str) -> None:
        raise OSError(errno.EROFS, "opened for reading only", self.path(name))


class OsFile:
    """An open descriptor. All calls release the GIL while the kernel works.

    With a `direct` writer, writes of DIRECT_BYTES_MIN or more that are synced go past the page
    cache.
    """

    __slots__ = ("_direct", "_fd")

    def __init__(self, fd: int, direct: DirectWriter | None = None) -> None:
        self._fd = fd
        self._direct = direct

    def read(self, offset: int, length: int) -> bytes:
        data = os.pread(self._fd, length, offset)
        if len(data) == length or not data:
            return data
        parts = [data]  # short reads are rare: the end of the file, or a signal
        while data and sum(map(len, parts)) < length:
            done = sum(map(len, parts))
            data = os.pread(self._fd, length - done, offset + done)
            parts.append(data)
        return b"".join(parts)

    def read_now(self, offset: int, length: int) -> bytes | None:
        data = unwritten(length)
        try:
            count = os.preadv(self._fd, [data], offset, os.RWF_NOWAIT)
        except OSError as error:
            if error.errno == errno.EAGAIN:
                return None
            if error.errno == errno.EOPNOTSUPP:  # a file system that does not tell
                return self.read(offset, length)
            raise
        if count == length:
            return bytes(data)
        # Short at the end of the file, or where the rest is not in memory.
        return bytes(data[:count]) if offset + count >= self.size() else None

    def write(self, data: Buffer, offset: int) -> None:
        write_all(self._fd, [data], offset)

    def write_sync(self, buffers: Sequence[Buffer], offset: int) -> None:
        # The usual case is one call that writes and syncs: each return from the kernel has to wait
        # for the GIL again, so a second call can cost more than the sync itself.
        wanted = sum(map(len, buffers))
        direct = self._direct if wanted >= DIRECT_BYTES_MIN else None
        if direct is not None and direct.write(self._fd, buffers, offset):
            os.fdatasync(self._fd)
            return
        if len(buffers) <= VECTOR_MAX:
            written = self._write_through(buffers, offset)
            if written == wanted:
                return
            buffers = rest_of(buffers, written)
            offset += written
        write_all(self._fd, buffers, offset)
        os.fdatasync(self._fd)

    def truncate(self, size: int) -> None:
        os.ftruncate(self._fd, size)

    def sync(self) -> None:
        os.fsync(self._fd)

    def size(self) -> int:
        return os.fstat(self._fd).st_size

    def close(self) -> None:
        os.close(self._fd)

    def _write_through(self, buffers: Sequence[Buffer], offset: int) -> int:
        try:
            return os.pwritev(self._fd, buffers, offset, os.RWF_DSYNC)
        except OSError as error:
            # A file system without this flag wrote nothing and says so: use the two calls.
            if error.errno != errno.EOPNOTSUPP:
                raise
            return 0


_OPEN_FLAGS = os.O_RDWR | os.O_CLOEXEC


def _resize(fd: int, size_bytes: int) -> None:
    """Shrink the file, or have it grow by blocks that are its own."""
    size = os.fstat(fd).st_size
    if size_bytes <= size:
        os.ftruncate(fd, size_bytes)
        return
    try:
        os.posix_fallocate(fd, size, size_bytes - size)
    except OSError:
        os.ftruncate(fd, size)
        raise


def _sync_directory(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)

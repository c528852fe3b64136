"""A disk in memory that loses what was not synced when it crashes.

Modelled: writes not yet synced survive a crash sector by sector (512 bytes), in any subset the
given random source picks; sizes set by truncate likewise; names survive as a prefix of the
directory's changes. A failing sync or write can be ordered; as on Linux, what a sync failed to
write is still read back, but no later sync writes it. Not modelled: latency, bit rot (use
`overwrite`), sectors torn in the middle. A disk with a `capacity_bytes` can be full: what makes a
file longer than there is space then raises ENOSPC and changes nothing.
"""

from __future__ import annotations

import errno
import random
from collections.abc import Sequence
from typing import TypeAlias

from racos.storage.disk import Buffer, DiskSpace

__all__ = ["SECTOR_BYTES", "MemDisk"]

SECTOR_BYTES = 512
_TOTAL_BYTES = 1 << 40  # of a disk without a capacity

# A change to a file: (offset, bytes) written, or (size, None) truncated.
_Change: TypeAlias = tuple[int, bytes | None]
# A change to the directory: (old name or None, new name or None, inode).
_Entry: TypeAlias = tuple[str | None, str | None, "_Inode"]


class _Inode:
    """One file: what the kernel shows, what the platter has, and the changes between the two."""

    __slots__ = ("changes", "durable", "visible")

    def __init__(self) -> None:
        self.visible = bytearray()
        self.durable = bytearray()
        self.changes: list[_Change] = []

    def change(self, offset: int, data: bytes | None) -> None:
        _apply(self.visible, offset, data)
        self.changes.append((offset, data))

    def sync(self) -> None:
        for offset, data in self.changes:
            _apply(self.durable, offset, data)
        self.changes.clear()

    def crash(self, source: random.Random) -> None:
        for offset, data in self.changes:
            if data is None:
                if source.random() < 0.5:
                    _apply(self.durable, offset, None)
                continue
            for start, piece in _sectors(offset, data):
                if source.random() < 0.5:
                    _apply(self.durable, start, piece)
        self.visible[:] = self.durable
        self.changes.clear()


class MemDisk:
    """Implements `racos.storage.disk.Disk`. `source` decides what a crash leaves behind."""

    def __init__(self, source: random.Random | None = None) -> None:
        self._source = source or random.Random(0)
        self._visible: dict[str, _Inode] = {}
        self._durable: dict[str, _Inode] = {}
        self._entries: list[_Entry] = []
        self._failure: OSError | None = None
        self._failure_after = 0
        self._reserved: dict[str, int] = {}  # bytes of files without content
        self.capacity_bytes: int | None = None
        self.generation = 0  # handles of before a crash are dead
        self.syncs = 0

    def path(self, name: str) -> str:
        return f"mem:{name}"

    def list(self) -> list[str]:
        return [*self._visible, *self._reserved]

    def create(self, name: str) -> MemFile:
        if name in self._visible:
            raise FileExistsError(errno.EEXIST, "file exists", name)
        inode = _Inode()
        self._enter(None, name, inode)
        return MemFile(self, inode)

    def open(self, name: str) -> MemFile:
        if name in self._reserved:
            inode = _Inode()
            inode.visible.extend(bytes(self._reserved[name]))
            return MemFile(self, inode)
        return MemFile(self, self._inode(name))

    def rename(self, old: str, new: str) -> None:
        self._enter(old, new, self._inode(old))

    def remove(self, name: str) -> None:
        self._enter(name, None, self._inode(name))

    def sync_directory(self) -> None:
        self.check_failure()
        self._durable = dict(self._visible)
        self._entries.clear()

    def space(self) -> DiskSpace:
        total = _TOTAL_BYTES if self.capacity_bytes is None else self.capacity_bytes
        return DiskSpace(total, max(0, total - self.used_bytes()))

    def used_bytes(self) -> int:
        """Of all files as they are seen."""
        return sum(self._reserved.values()) + sum(len(i.visible) for i in self._visible.values())

    def reserve(self, name: str, size_bytes: int) -> None:
        self.check_room(size_bytes - self._reserved.get(name, 0))
        self._reserved[name] = size_bytes
        if not size_bytes:
            del self._reserved[name]

    def check_room(self, growth_bytes: int) -> None:
        """OSError if a file cannot grow so much."""
        if self.capacity_bytes is None or growth_bytes <= 0:
            return
        if self.used_bytes() + growth_bytes > self.capacity_bytes:
            raise OSError(errno.ENOSPC, "No space left on device")

    def random_bytes(self, count: int) -> bytes:
        return self._source.randbytes(count)

    def crash(self) -> None:
        """Power loss: keep what was synced and an arbitrary part of what was not."""
        nodes = [*self._visible.values(), *self._durable.values()]
        for inode in {id(node): node for node in nodes}.values():
            inode.crash(self._source)
        kept = self._source.randint(0, len(self._entries))
        for entry in self._entries[:kept]:
            _move(self._durable, entry)
        self._visible = dict(self._durable)
        self._entries.clear()
        self._failure = None
        self.generation += 1

    def fail_after(self, count: int | None, error: OSError | None) -> None:
        """After `count` more changes and syncs all raise `error`, until the next crash."""
        self._failure = error
        self._failure_after = count or 0

    def content(self, name: str) -> bytes:
        """What the kernel shows of a file."""
        return bytes(self._inode(name).visible)

    def overwrite(self, name: str, content: bytes) -> None:
        """Bit rot: replace a file's durable bytes behind everybody's back."""
        inode = self._inode(name)
        inode.visible[:] = content
        inode.durable[:] = content
        inode.changes.clear()

    def check_failure(self) -> None:
        if self._failure is None:
            return
        if self._failure_after <= 0:
            raise self._failure
        self._failure_after -= 1

    def _inode(self, name: str) -> _Inode:
        inode = self._visible.get(name)
        if inode is None:
            raise FileNotFoundError(errno.ENOENT, "no such file", name)
        return inode

    def _enter(self, old: str | None, new: str | None, inode: _Inode) -> None:
        self.check_failure()
        entry = (old, new, inode)
        _move(self._visible, entry)
        self._entries.append(entry)


class MemFile:
    """Implements `racos.storage.disk.File`."""

    __slots__ = ("_disk", "_generation", "_inode")

    def __init__(self, disk: MemDisk, inode: _Inode) -> None:
        self._disk = disk
        self._inode = inode
        self._generation = disk.generation

    def read(self, offset: int, length: int) -> bytes:
        return bytes(self._alive().visible[offset : offset + length])

    def read_now(self, offset: int, length: int) -> bytes | None:
        return self.read(offset, length)

    def write(self, data: Buffer, offset: int) -> None:
        inode = self._alive()
        self._disk.check_failure()
        self._disk.check_room(offset + len(data) - len(inode.visible))
        inode.change(offset, bytes(data))

    def write_sync(self, buffers: Sequence[Buffer], offset: int) -> None:
        self.write(b"".join(buffers), offset)
        self.sync()

    def truncate(self, size: int) -> None:
        self._disk.check_failure()
        self._alive().change(size, None)

    def sync(self) -> None:
        inode = self._alive()
        try:
            self._disk.check_failure()
        except OSError:
            # As Linux does: the pages count as clean now, and the next sync will not write them.
            inode.changes.clear()
            raise
        self._disk.syncs += 1
        inode.sync()

    def size(self) -> int:
        return len(self._alive().visible)

    def close(self) -> None:
        self._generation = -1

    def _alive(self) -> _Inode:
        if self._generation != self._disk.generation:
            raise OSError(errno.EBADF, "file handle is closed or from before the crash")
        return self._inode


def _apply(content: bytearray, offset: int, data: bytes | None) -> None:
    """Carry one change out; a write beyond the end leaves zeros before it."""
    if data is None:
        content[offset:] = bytes(max(0, offset - len(content)))
        return
    if len(content) < offset:
        content.extend(bytes(offset - len(content)))
    content[offset : offset + len(data)] = data


def _move(names: dict[str, _Inode], entry: _Entry) -> None:
    old, new, inode = entry
    if old is not None:
        names.pop(old, None)
    if new is not None:
        names[new] = inode


def _sectors(offset: int, data: bytes) -> list[tuple[int, bytes]]:
    """The write cut at sector borders."""
    pieces = []
    start = offset
    end = offset + len(data)
    while start < end:
        stop = min(end, (start // SECTOR_BYTES + 1) * SECTOR_BYTES)
        pieces.append((start, data[start - offset : stop - offset]))
        start = stop
    return pieces

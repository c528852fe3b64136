"""Writes past the kernel's page cache.

The way through the cache took a quarter of the CPU of a put of 1 MiB, and pushes out what others
read; the log is not read back soon. What goes past it must begin and end at a block's border, in
the file and in memory: so it is copied once into memory that is aligned, and the bytes that share
their first or last block with others go through the cache as usual. The kernel keeps the two views
of a file in step.
"""

from __future__ import annotations

import errno
import mmap
import os
import threading
from collections import deque
from collections.abc import Sequence

from racos.storage.buffers import Buffer, write_all

__all__ = ["DIRECT_BYTES_MIN", "DirectWriter"]

DIRECT_BYTES_MIN = 512 << 10  # below, three calls cost more than a copy
_BLOCK_BYTES = 4096  # a multiple of what any usual device asks for
_PIECE_BYTES = 4 << 20
_FLAG = getattr(os, "O_DIRECT", 0)  # not every system has it
_NOT_HERE = frozenset((errno.EINVAL, errno.ENOENT, errno.EACCES, errno.EOPNOTSUPP))


class DirectWriter:
    """One per directory; one thread at a time gets to use it."""

    __slots__ = ("_lock", "_memory")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._memory: mmap.mmap | None = None

    def write(self, fd: int, buffers: Sequence[Buffer], offset: int) -> bool:
        """Write all buffers one after the other; they are not durable before a sync.

        False if this file cannot be written so; then write all of it in the usual way. OSError if
        the disk fails.
        """
        if not _FLAG:
            return False
        try:
            # Of its own for each time: a file that is read later should not keep two open.
            direct = os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | _FLAG | os.O_CLOEXEC)
        except OSError as error:
            if error.errno in _NOT_HERE:
                return False
            raise
        try:
            with self._lock:
                return self._write(fd, direct, buffers, offset)
        finally:
            os.close(direct)

    def _write(self, fd: int, direct: int, buffers: Sequence[Buffer], offset: int) -> bool:
        if self._memory is None:
            self._memory = mmap.mmap(-1, _PIECE_BYTES)
        memory = memoryview(self._memory)
        parts = deque(memoryview(buffer) for buffer in buffers)
        end = offset + sum(map(len, buffers))
        while offset < end:
            size = _next_piece(offset, end)
            piece = memory[:size]
            _fill(piece, parts)
            is_whole = not (offset | size) % _BLOCK_BYTES
            try:
                write_all(direct if is_whole else fd, [piece], offset)
            except OSError as error:
                if is_whole and error.errno == errno.EINVAL:  # a device with larger blocks
                    return False
                raise
            offset += size
        return True


def _next_piece(offset: int, end: int) -> int:
    """Bytes up to the next border, or of whole blocks, or what is left in the last one."""
    if offset % _BLOCK_BYTES:
        return min(end - offset, -offset % _BLOCK_BYTES)
    blocks = (end - offset) // _BLOCK_BYTES * _BLOCK_BYTES
    return min(blocks, _PIECE_BYTES) or end - offset


def _fill(piece: memoryview, parts: deque[memoryview]) -> None:
    """Move the next bytes of the parts into a piece that is not larger than they are."""
    at = 0
    while at < len(piece):
        part = parts.popleft()
        fits = part[: len(piece) - at]
        piece[at : at + len(fits)] = fits
        at += len(fits)
        if len(fits) < len(part):
            parts.appendleft(part[len(fits) :])

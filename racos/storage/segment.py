"""Segment files: their names, their crash-safe creation, and a window for reading them in order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from racos.storage.disk import Disk, File, Readable
from racos.storage.record import SegmentHeader, pack_segment_header
from racos.storage.removed import Removed

__all__ = [
    "Damaged",
    "LogError",
    "Place",
    "Window",
    "create_segment",
    "segment_name",
    "segment_numbers",
]

_SUFFIX = ".log"
_TEMPORARY = "segment.new"
_WINDOW_BYTES = 1 << 20


class LogError(Exception):
    """The log cannot be used; one line says which file, where and why. Nothing was overwritten."""


class Damaged(LogError):
    """Something that was synced is not there, or not as it was written."""


class Place(NamedTuple):
    """Where bytes are in the log: a segment's number, offset and length in bytes."""

    segment: int
    offset: int
    length: int


def segment_name(number: int) -> str:
    return f"{number:016x}{_SUFFIX}"


def segment_numbers(disk: Disk, removed: Removed) -> tuple[list[int], list[int]]:
    """Numbers of the segments on disk, ascending, and of those that a crash kept from going.

    LogError if one between them is missing that was not removed.
    """
    stems = [name.removesuffix(_SUFFIX) for name in disk.list() if name.endswith(_SUFFIX)]
    try:
        found = sorted(int(stem, 16) for stem in stems)
    except ValueError:
        raise LogError(f"{disk.path('')}: a file with an unknown name ending in .log") from None
    numbers = [number for number in found if number not in removed]
    kept = set(numbers)
    for expected in range(1, max(numbers[-1] if numbers else 0, removed.last) + 1):
        if expected not in kept and expected not in removed:
            raise Damaged(f"{disk.path(segment_name(expected))}: log segment is missing")
    return numbers, [number for number in found if number in removed]


def create_segment(disk: Disk, header: SegmentHeader) -> File:
    """A new durable segment. It appears under its name only once its header is on disk."""
    if _TEMPORARY in disk.list():
        disk.remove(_TEMPORARY)  # left by a crash in this function
    file = disk.create(_TEMPORARY)
    file.write_sync([pack_segment_header(header)], 0)
    disk.rename(_TEMPORARY, segment_name(header.number))
    disk.sync_directory()
    return file


class Window:
    """Reads a file mostly forward through one buffer, of about a megabyte where not said."""

    __slots__ = ("_bytes", "_data", "_file", "_start", "size")

    def __init__(self, file: Readable, window_bytes: int = _WINDOW_BYTES) -> None:
        self._file = file
        self._bytes = window_bytes
        self._start = 0
        self._data = b""
        self.size = file.size()

    def get(self, offset: int, length: int) -> memoryview:
        """The bytes at `offset`; fewer than `length` only at the end of the file."""
        end = self._start + len(self._data)
        if not (self._start <= offset and offset + length <= end):
            self._data = self._file.read(offset, max(length, self._bytes))
            self._start = offset  # only now: a file may have said NotYet
        first = offset - self._start
        return memoryview(self._data)[first : first + length]

    def piece(self, offset: int, length: int) -> memoryview:
        """The bytes at `offset`, but not more than the buffer is large."""
        return self.get(offset, min(length, self._bytes))

    def chunks(self, offset: int, length: int) -> Iterator[memoryview]:
        """The same bytes in pieces of bounded size."""
        while length > 0:
            piece = self.get(offset, min(length, self._bytes))
            if not piece:
                return
            yield piece
            offset += len(piece)
            length -= len(piece)

    def is_zero(self, offset: int) -> bool:
        """Whether the file has only zeros from `offset` on."""
        pieces = self.chunks(offset, self.size - offset)
        return all(bytes(piece) == bytes(len(piece)) for piece in pieces)

    def find(self, pattern: bytes, offset: int) -> Iterator[int]:
        """Offsets >= `offset`, multiples of 8, where the file has `pattern` (at most 8 bytes)."""
        start = offset + -offset % 8
        while start < self.size:
            piece = bytes(self.get(start, min(self._bytes, self.size - start)))
            at = piece.find(pattern)
            while at >= 0:
                if at % 8 == 0:
                    yield start + at
                at = piece.find(pattern, at + 1)
            if not piece:
                return
            start += len(piece)

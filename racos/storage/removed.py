"""Which segments were removed on purpose: the file that tells a removed segment from a lost one.

A segment is listed here durably before its file goes. So every number from 1 to the last segment's
is either listed or a file that has to be there; a file that is listed was left by a crash between
the two steps and goes at the next start. Numbers are never used again.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass

from crc32c import crc32c

from racos.storage.disk import Disk

__all__ = ["REMOVED_NAME", "Removed", "Unreadable", "read_removed", "write_removed"]

REMOVED_NAME = "removed.map"
_TEMPORARY = "removed.new"
_MAGIC = b"RACOSGON"
_HEAD = struct.Struct("<8sI")  # magic, CRC of the rest
_RANGE = struct.Struct("<QQ")  # first, last


class Unreadable(Exception):
    """The file is damaged; the text says how."""


@dataclass(frozen=True, slots=True)
class Removed:
    """Numbers of removed segments, as disjoint ascending ranges (first, last)."""

    ranges: tuple[tuple[int, int], ...] = ()

    def __contains__(self, number: int) -> bool:
        return any(first <= number <= last for first, last in self.ranges)

    def added(self, numbers: Iterable[int]) -> Removed:
        """These ones, too. What is neighbouring becomes one range, so the file stays small."""
        merged: list[tuple[int, int]] = []
        for first, last in sorted([*self.ranges, *[(number, number) for number in numbers]]):
            if merged and first <= merged[-1][1] + 1:
                merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
            else:
                merged.append((first, last))
        return Removed(tuple(merged))

    @property
    def last(self) -> int:
        """The highest number, 0 if there is none."""
        return self.ranges[-1][1] if self.ranges else 0


def read_removed(disk: Disk) -> Removed:
    """What the file lists; nothing if there is none. Unreadable if it is damaged."""
    if REMOVED_NAME not in disk.list():
        return Removed()
    file = disk.open(REMOVED_NAME)
    data = file.read(0, file.size())
    file.close()
    rest = data[_HEAD.size :]
    if len(data) < _HEAD.size or len(rest) % _RANGE.size:
        raise Unreadable("list of removed segments cut short")
    magic, crc = _HEAD.unpack_from(data)
    if magic != _MAGIC or crc32c(rest) != crc:
        raise Unreadable("list of removed segments damaged")
    return Removed(tuple(_RANGE.iter_unpack(rest)))


def write_removed(disk: Disk, removed: Removed) -> None:
    """Replace the file; durable on return, and whole at every moment before."""
    rest = b"".join(_RANGE.pack(*each) for each in removed.ranges)
    if _TEMPORARY in disk.list():
        disk.remove(_TEMPORARY)  # left by a crash in this function
    file = disk.create(_TEMPORARY)
    file.write_sync([_HEAD.pack(_MAGIC, crc32c(rest)) + rest], 0)
    file.close()
    disk.rename(_TEMPORARY, REMOVED_NAME)
    disk.sync_directory()

"""Space put by for the moment when the disk is full: a file that can be given back in parts.

It holds nothing. A write that finds no space gives a part of it back and is done once more, so that
promises, alarms, deletes and compactions still get through while nothing new is let in.
"""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable
from typing import Final, TypeVar

from racos.storage.disk import Disk

__all__ = ["BALLAST_NAME", "NO_SPACE", "Ballast", "insist"]

BALLAST_NAME = "ballast"
NO_SPACE: Final = frozenset((errno.ENOSPC, errno.EDQUOT))
_PARTS = 8  # it grows and shrinks by at least such a part

_T = TypeVar("_T")


class Ballast:
    """One per log directory; any thread may use it. 0 <= held_bytes <= size_bytes."""

    __slots__ = ("_disk", "_lock", "given_bytes", "held_bytes", "size_bytes")

    def __init__(self, disk: Disk, size_bytes: int) -> None:
        """What an earlier process put by is taken over; `grow` makes the rest."""
        self._disk = disk
        self._lock = threading.Lock()
        self.size_bytes = size_bytes
        self.given_bytes = 0  # back to the disk, since the start
        self.held_bytes = 0
        if BALLAST_NAME in disk.list():
            file = disk.open(BALLAST_NAME)
            self.held_bytes = file.size()
            file.close()
            if self.held_bytes > size_bytes:
                self._resize(size_bytes)

    @property
    def is_whole(self) -> bool:
        return self.held_bytes >= self.size_bytes

    def grow(self) -> bool:
        """Put one part more by; False if there is no space for it. OSError if the disk fails."""
        with self._lock:
            part = max(1, self.size_bytes // _PARTS)
            try:
                self._resize(min(self.size_bytes, self.held_bytes + part))
            except OSError as error:
                if error.errno not in NO_SPACE:
                    raise
                return False
            return True

    def give(self, size_bytes: int) -> bool:
        """Give at least so many bytes back, or all there is; False if there was nothing."""
        with self._lock:
            if not self.held_bytes:
                return False
            given = min(self.held_bytes, max(size_bytes, self.size_bytes // _PARTS))
            self.given_bytes += given
            self._resize(self.held_bytes - given)
            return True

    def _resize(self, size_bytes: int) -> None:
        self._disk.reserve(BALLAST_NAME, size_bytes)
        self.held_bytes = size_bytes


def insist(work: Callable[[], _T], ballast: Ballast | None, size_bytes: int) -> _T:
    """Do `work`, which needs about so many bytes of disk, and again as long as it finds no space
    and there is ballast to give.

    `work` has to write everything anew. Then this is safe even where a sync was what failed: that
    may have dropped the pages, and a second sync alone would call that a success, but pages that
    are written again are dirty again. Any other error is final (racos.storage.disk).
    """
    while True:
        try:
            return work()
        except OSError as error:
            if error.errno not in NO_SPACE or ballast is None or not ballast.give(size_bytes):
                raise

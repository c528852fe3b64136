"""How much disk there is for this node: what it puts by, and when it takes the disk for full.

The disk is *short* below `low_bytes` of free space, or when ballast had to be given: then the node
raises NOSPACE, before writes fail. It stays so until `high_bytes` are free and all of the ballast
is put by again. It is *cramped* when hardly anything is free: then nothing is written that
nobody waits for, such as copies and healed fragments.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from racos.storage.ballast import Ballast
from racos.storage.disk import DiskSpace

MIB = 1 << 20
LOOK_SECONDS = 1.0  # between two looks at the disk, or sooner if much is written
_LOOKS = 8  # by the time that `low_bytes` are written
_FLUSH_SHARE = 1.25  # what a flush of the index takes, as a part of what is to be flushed


class Sizes(NamedTuple):
    """Bounds, in bytes, that follow from the size of the file system."""

    ballast: int
    low: int  # less is free: short
    high: int  # more is free: not any more
    cramped: int
    segment: int  # of the log, at most: the newest one cannot be removed
    memtable: int  # of the index; RocksDB wants as much to be free to go on after a full disk
    history: int  # of log kept for members that are away

    @classmethod
    def of(cls, total: int) -> Sizes:
        """With 1 GiB or more these are all as large as they get, but for the history."""
        low = min(128 * MIB, total // 8)
        return cls(
            ballast=min(32 * MIB, total // 16),
            low=low,
            high=low + low // 2,
            cramped=low // 4,
            segment=max(256 << 10, min(64 * MIB, total // 16)),
            memtable=max(128 << 10, min(32 * MIB, total // 32)),
            history=total // 4,
        )


class RoomStatistics(NamedTuple):
    free_bytes: int  # at the last look
    ballast_bytes: int  # put by
    given_bytes: int  # of ballast, since the start
    is_short: bool


class Room:
    """One per node. `space` asks the disk; `written` says how many bytes this node has written."""

    __slots__ = (
        "_ballast",
        "_given_then",
        "_looked_at",
        "_space",
        "_written",
        "_written_then",
        "free_bytes",
        "is_short",
        "sizes",
    )

    def __init__(
        self, space: Callable[[], DiskSpace], ballast: Ballast, written: Callable[[], int]
    ) -> None:
        self._space = space
        self._ballast = ballast
        self._written = written
        self._looked_at = 0.0
        self._written_then = self._given_then = 0
        self.sizes = Sizes.of(space().total)
        self.free_bytes = 0
        self.is_short = False
        self._look()

    @property
    def is_cramped(self) -> bool:
        return self.free_bytes < self.sizes.cramped or not self._ballast.is_whole

    @property
    def state(self) -> str:
        return "short" if self.is_short else "well"

    def tick(self, now: float) -> bool:
        """Look at the disk if it is time; whether it has become short, or ceased to be."""
        written = self._written()
        if (
            now - self._looked_at < LOOK_SECONDS
            and written - self._written_then < self.sizes.low // _LOOKS
            and self._ballast.given_bytes == self._given_then
        ):
            return False
        self._looked_at, self._written_then = now, written
        self._given_then = self._ballast.given_bytes
        before = self.is_short
        self._look()
        return self.is_short != before

    def _look(self) -> None:
        try:
            self._ask()
        except OSError:  # a disk that cannot even be asked takes nothing; the log will say why
            self.free_bytes, self.is_short = 0, True

    def _ask(self) -> None:
        ballast, sizes = self._ballast, self.sizes
        self.free_bytes = self._space().free
        while not ballast.is_whole and self.free_bytes > sizes.high and ballast.grow():
            self.free_bytes = self._space().free
        enough = sizes.high if self.is_short else sizes.low
        self.is_short = self.free_bytes < enough or not ballast.is_whole

    def may_flush(self, size_bytes: int) -> bool:
        """Whether there is space for a flush of so much of the index; ballast is given for it."""
        needed = int(size_bytes * _FLUSH_SHARE) + min(MIB, self.sizes.cramped)
        free = self._space().free
        if free >= needed:
            return True
        if free + self._ballast.held_bytes < needed:
            return False
        return self._ballast.give(needed - free) and self._space().free >= needed

    def statistics(self) -> RoomStatistics:
        return RoomStatistics(
            free_bytes=self.free_bytes,
            ballast_bytes=self._ballast.held_bytes,
            given_bytes=self._ballast.given_bytes,
            is_short=self.is_short,
        )

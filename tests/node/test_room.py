"""When a node takes its disk for full, and what it does with what it put by."""

from __future__ import annotations

from racos.node.room import MIB, Room, Sizes
from racos.storage.ballast import Ballast
from racos.storage.disk import DiskSpace
from racos.storage.memdisk import MemDisk

TOTAL = 256 * MIB
SIZES = Sizes.of(TOTAL)


class Site:
    """A disk of which somebody else takes as much as the test says."""

    def __init__(self) -> None:
        self.disk = MemDisk()
        self.disk.capacity_bytes = TOTAL
        self.ballast = Ballast(self.disk, SIZES.ballast)
        self.written = 0
        self.now = 0.0
        self.room = Room(self.disk.space, self.ballast, lambda: self.written)

    def leave(self, free_bytes: int) -> None:
        """So much is free from now on, besides the ballast there is."""
        self.disk.reserve("others", 0)
        self.disk.reserve("others", self.disk.space().free - free_bytes)

    def look(self, seconds: float = 1.0) -> bool:
        self.now += seconds
        return self.room.tick(self.now)

    def short(self) -> bool:
        return self.room.is_short

    def cramped(self) -> bool:
        return self.room.is_cramped


def test_sizes_follow_the_disk() -> None:
    large, small = Sizes.of(1 << 40), Sizes.of(64 * MIB)
    assert large.ballast == 32 * MIB
    assert large.low == 128 * MIB
    assert large.segment == 64 * MIB
    assert small == Sizes(
        ballast=4 * MIB,
        low=8 * MIB,
        high=12 * MIB,
        cramped=2 * MIB,
        segment=4 * MIB,
        memtable=2 * MIB,
        history=16 * MIB,
    )
    for total in (MIB, 64 * MIB, 1 << 30, 1 << 40):
        sizes = Sizes.of(total)
        assert sizes.cramped < sizes.low < sizes.high < total
        assert sizes.memtable < sizes.high, "RocksDB goes on once so much is free"


def test_a_disk_with_space_has_its_ballast_from_the_start() -> None:
    site = Site()
    assert site.ballast.is_whole
    assert not site.short()
    assert not site.cramped()


def test_short_and_well_again_with_some_distance_between() -> None:
    site = Site()
    site.leave(SIZES.low - 1)
    assert site.look()
    assert site.short()
    assert not site.cramped()
    site.leave(SIZES.high - 1)
    assert not site.look()
    assert site.short()
    site.leave(SIZES.high + 1)
    assert site.look()
    assert not site.short()
    site.leave(SIZES.low + 1)
    assert not site.look()
    assert not site.short()


def test_it_looks_once_a_second_or_when_much_was_written() -> None:
    site = Site()
    site.leave(0)
    assert not site.look(0.5)
    assert not site.short()
    site.written += SIZES.low // 4
    assert site.look(0.01)
    assert site.short()


def test_it_looks_at_once_when_ballast_was_given() -> None:
    site = Site()
    site.leave(SIZES.low + 1)
    site.ballast.give(1)
    assert site.look(0.001)
    assert site.short()
    assert not site.look(0.001)


def test_ballast_that_was_given_makes_the_disk_short_until_it_is_put_by_again() -> None:
    site = Site()
    site.leave(SIZES.low * 2)
    site.ballast.give(1)
    site.leave(SIZES.low + 1)
    assert site.look()
    assert site.short()
    assert site.cramped(), "the next writes may need the rest"
    site.leave(SIZES.high + SIZES.ballast)
    assert site.look()
    assert site.ballast.held_bytes == SIZES.ballast
    assert not site.short()
    assert site.room.statistics().given_bytes == SIZES.ballast // 8


def test_a_flush_gets_ballast_if_that_is_enough_for_it() -> None:
    site = Site()
    assert site.room.may_flush(16 * MIB)
    assert not site.ballast.given_bytes
    site.leave(0)
    assert not site.room.may_flush(SIZES.ballast)
    assert not site.ballast.given_bytes, "it would not have been enough"
    assert site.room.may_flush(MIB)
    assert site.disk.space().free > MIB
    assert 0 < site.ballast.held_bytes < SIZES.ballast


def test_a_disk_that_cannot_be_asked_takes_nothing() -> None:
    def failing() -> DiskSpace:
        raise OSError(5, "Input/output error")

    disk = MemDisk()
    room = Room(lambda: disk.space(), Ballast(disk, 0), lambda: 0)  # noqa: PLW0108 (asked anew)
    assert not room.statistics().is_short
    disk.space = failing  # type: ignore[method-assign]
    assert room.tick(1.0)
    assert room.statistics().is_short
    assert room.free_bytes == 0


def test_a_start_on_a_full_disk() -> None:
    disk = MemDisk()
    disk.capacity_bytes = TOTAL
    disk.reserve("others", TOTAL)
    room = Room(disk.space, Ballast(disk, SIZES.ballast), lambda: 0)
    assert room.is_short
    assert room.is_cramped

"""Segments that are removed: where a replay may begin, what stays readable, what counts as lost."""

from __future__ import annotations

import errno
import random

import pytest

from racos.storage.log import Log, LogError, Place
from racos.storage.memdisk import MemDisk
from racos.storage.record import HEAD_BYTES
from racos.storage.removed import REMOVED_NAME, Removed
from racos.storage.segment import segment_name
from tests.storage.test_damage import flip
from tests.storage.test_log import CLUSTER, MEMBER, commit, half_run

RECORDS = 10
BLOB = bytes(range(200))


def opened(disk: MemDisk) -> Log:
    return Log.open(disk, member_id=MEMBER, cluster_id=CLUSTER, segment_bytes=800)


def ten_segments(disk: MemDisk) -> tuple[Log, list[Place]]:
    """One record in each; and the places of their blobs."""
    log = opened(disk)
    list(log.replay())
    places = [log.append(n, b"%d" % n, [BLOB, b"%d" % n * 90]).blobs[1] for n in range(RECORDS)]
    commit(log)
    assert log.segments == list(range(1, RECORDS + 1))
    return log, places


def replayed(disk: MemDisk, start: int) -> list[int]:
    return [record.sequence for record in opened(disk).replay(start)]


def test_a_log_goes_on_without_removed_segments() -> None:
    disk = MemDisk()
    log, places = ten_segments(disk)
    before = log.size_bytes
    size = log.segment_size(2)
    log.remove([1, 2, 3, 6])
    assert log.size_bytes == before - 4 * size
    assert segment_name(2) in disk.list()  # until the next batch has run
    commit(log)
    assert set(disk.list()) & {segment_name(number) for number in (1, 2, 3, 6)} == set()
    assert log.statistics().removed_segments == 4
    log.append(11, b"more")
    commit(log)
    log.close()
    again = opened(disk)
    assert again.segments == [4, 5, 7, 8, 9, 10, 11]
    assert [record.sequence for record in again.replay(8)] == [8, 9, 10, 11]
    for index, place in enumerate(places):
        if index + 1 in (1, 2, 3, 6):
            with pytest.raises(LogError, match="is in a segment that was removed"):
                again.read(place)
        else:
            assert again.read(place) == b"%d" % index * 90
    assert again.append(12, b"x").sequence == 12


def test_a_replay_must_not_begin_before_a_gap() -> None:
    disk = MemDisk()
    log, _ = ten_segments(disk)
    log.remove([1, 6])
    commit(log)
    for start, number in ((1, 1), (4, 6), (6, 6)):
        with pytest.raises(LogError, match=f"{number:x}.log: .* has to read .* but it was removed"):
            replayed(disk, start)
    assert replayed(disk, 7) == [7, 8, 9, 10]
    with pytest.raises(LogError, match=f"{11:016x}.log: .* but it is not there"):
        replayed(disk, 11)


def test_a_segment_that_nobody_removed_is_missed_by_name() -> None:
    for start in (7, 9):
        disk = MemDisk()
        log, _ = ten_segments(disk)
        log.remove([1, 2])
        commit(log)
        disk.remove(segment_name(5))
        with pytest.raises(LogError, match=f"{segment_name(5)}: log segment is missing"):
            replayed(disk, start)


def test_a_lost_or_damaged_list_is_named() -> None:
    disk = MemDisk()
    log, _ = ten_segments(disk)
    log.remove([1, 2])
    commit(log)
    for offset in range(len(disk.content(REMOVED_NAME))):
        flip(disk, REMOVED_NAME, offset)
        with pytest.raises(LogError, match=f"{REMOVED_NAME}: list of removed segments damaged"):
            opened(disk)
        flip(disk, REMOVED_NAME, offset)
    sound = disk.content(REMOVED_NAME)
    disk.overwrite(REMOVED_NAME, sound[:-1])
    with pytest.raises(LogError, match="cut short"):
        opened(disk)
    disk.remove(REMOVED_NAME)
    with pytest.raises(LogError, match=f"{segment_name(1)}: log segment is missing"):
        opened(disk)


def test_a_log_that_lost_its_newest_segments_is_not_begun_anew() -> None:
    disk = MemDisk()
    log, _ = ten_segments(disk)
    log.remove(range(1, 10))
    commit(log)
    log.close()
    disk.remove(segment_name(10))
    with pytest.raises(LogError, match=f"{segment_name(10)}: log is missing"):
        opened(disk)


def test_damage_in_a_segment_that_is_not_replayed_does_not_stop_a_start() -> None:
    # It is found when its values are read, or rewritten: their digests are checked then.
    disk = MemDisk()
    _, places = ten_segments(disk)
    flip(disk, segment_name(2), places[1].offset)
    with pytest.raises(LogError, match=f"{segment_name(2)}: damaged"):
        replayed(disk, 1)
    assert replayed(disk, 4) == list(range(4, 11))


@pytest.mark.parametrize("seed", range(60))
def test_a_power_loss_at_any_step_of_a_removal_leaves_a_log_that_starts(seed: int) -> None:
    source = random.Random(seed)
    disk = MemDisk(source)
    log, places = ten_segments(disk)
    gone: set[int] = set()
    start = 1
    for _ in range(3):
        going = source.sample([n for n in log.segments if n < 9], 2)
        start = max(start, *[number + 1 for number in going])
        log.remove(going)
        gone |= set(going)
        if source.random() < 0.5:
            log.append(0, b"beside it")
        batch = log.take()
        assert batch is not None
        half_run(disk, batch, source)
        disk.crash()
        log = opened(disk)
        sequences = [record.sequence for record in log.replay(start)]
        assert sequences[0] == start
        for number in log.segments:
            if number <= RECORDS:
                assert log.read(places[number - 1]) == b"%d" % (number - 1) * 90
        assert set(range(1, 11)) - gone <= set(log.segments)
        log.append(0, b"goes on")
        commit(log)


def test_files_that_a_crash_kept_from_going_go_at_the_next_start() -> None:
    disk = MemDisk()
    log, _ = ten_segments(disk)
    content = disk.content(segment_name(1))
    log.remove([1])
    commit(log)
    disk.create(segment_name(1)).write(content, 0)
    assert replayed(disk, 2) == list(range(2, 11))
    assert segment_name(1) not in disk.list()


def test_a_failed_removal_is_final() -> None:
    disk = MemDisk()
    log, _ = ten_segments(disk)
    log.remove([1])
    batch = log.take()
    assert batch is not None
    disk.fail_after(1, OSError(errno.EIO, "broken"))
    with pytest.raises(OSError, match="broken"):
        batch.run()
    with pytest.raises(AssertionError, match="did not run"):
        log.done(batch)
    disk.fail_after(None, None)
    assert replayed(disk, 1) == list(range(1, 11)), "nothing went before the list was durable"


def test_what_is_being_written_cannot_be_removed() -> None:
    log, _ = ten_segments(MemDisk())
    with pytest.raises(AssertionError, match="is written"):
        log.remove([10])


def test_of_what_is_being_written_a_scan_shows_what_is_durable() -> None:
    log, _ = ten_segments(MemDisk())
    scan = log.scan(10)
    log.append(1, b"not durable")
    seen = 0
    while scan.next() is not None:
        seen += 1
    assert seen > 0
    assert scan.ended
    assert scan.sequence == log.durable_sequence + 1
    with pytest.raises(AssertionError, match="not there yet"):
        log.scan(11)


def test_removed_numbers_join_into_ranges() -> None:
    removed = Removed().added([3, 1, 2]).added([7]).added([9, 8])
    assert removed.ranges == ((1, 3), (7, 9))
    assert [number for number in range(11) if number in removed] == [1, 2, 3, 7, 8, 9]
    assert removed.last == 9


def test_a_scan_shows_every_record_and_which_is_intact() -> None:
    disk = MemDisk()
    log = opened(disk)
    list(log.replay())
    appended = [log.append(n, b"h%d" % n, [b"%d" % n * 30] * (n % 3)) for n in range(8)]
    commit(log)
    in_first = [each for each in appended if each.header.segment == 1]
    assert 3 < len(in_first) < 8
    scan = log.scan(1)
    found = []
    while (stored := scan.next()) is not None:
        assert scan.intact(stored)
        found.append(stored)
    assert [(each.kind, each.header) for each in found] == [
        (n, b"h%d" % n) for n in range(len(in_first))
    ]
    assert [each.blob_places for each in found] == [each.blobs for each in in_first]
    assert scan.offset == log.segment_size(1)
    scan.close()
    flip(disk, segment_name(1), in_first[2].blobs[0].offset)
    scan = log.scan(1)
    states = []
    while (stored := scan.next()) is not None:
        states.append(scan.intact(stored))
    assert states == [index != 2 for index in range(len(in_first))]
    scan.close()
    flip(disk, segment_name(1), in_first[2].header.offset - HEAD_BYTES)
    scan = log.scan(1)
    assert scan.next() is not None
    assert scan.next() is not None
    assert scan.next() is None

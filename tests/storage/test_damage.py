"""Bit rot and lost pieces: promised records are never dropped silently, torn tails never block."""

from __future__ import annotations

import random

import pytest

from racos.storage.log import Log, LogError, Replayed
from racos.storage.mark import MARK_NAME
from racos.storage.memdisk import MemDisk
from racos.storage.record import HEAD_BYTES, SEGMENT_HEADER_BYTES
from tests.storage.test_log import CLUSTER, FIRST, MEMBER, commit, open_log

SECOND = f"{2:016x}.log"
BLOB = bytes(range(1, 25))


def three_batches(*, with_mark: bool, segment_bytes: int = 1 << 20) -> tuple[MemDisk, list[int]]:
    """A log of three records, each synced on its own; and where each begins. No zeros after it."""
    disk = MemDisk(random.Random(1))
    log, _ = open_log(disk, segment_bytes)
    starts = []
    for number in range(3):
        appended = log.append(number, b"header-%d" % number, [BLOB])
        starts.append(appended.header.offset - HEAD_BYTES)
        commit(log)
    log.close()
    disk.overwrite(FIRST, disk.content(FIRST).rstrip(b"\0"))
    if not with_mark:
        disk.remove(MARK_NAME)
        disk.sync_directory()
    return disk, starts


def flip(disk: MemDisk, name: str, offset: int, bit: int = 0) -> None:
    content = bytearray(disk.content(name))
    content[offset] ^= 1 << bit
    disk.overwrite(name, bytes(content))


def files(disk: MemDisk) -> dict[str, bytes]:
    return {name: disk.content(name) for name in disk.list()}


def test_a_flip_of_any_byte_before_the_last_batch_is_damage_even_without_the_mark() -> None:
    disk, starts = three_batches(with_mark=False)
    before = files(disk)
    for offset in range(SEGMENT_HEADER_BYTES, starts[2]):
        for bit in (0, 7):
            flip(disk, FIRST, offset, bit)
            damaged = files(disk)
            with pytest.raises(LogError) as caught:
                open_log(disk)
            at = starts[0] if offset < starts[1] else starts[1]
            assert f"mem:{FIRST}: damaged at offset {at}: record" in str(caught.value)
            assert files(disk) == damaged  # nothing overwritten
            flip(disk, FIRST, offset, bit)
    assert files(disk) == before
    assert len(open_log(disk)[1]) == 3


def test_with_the_mark_a_flip_in_the_last_batch_is_damage_too() -> None:
    disk, starts = three_batches(with_mark=True)
    for offset in range(starts[2], len(disk.content(FIRST))):
        flip(disk, FIRST, offset)
        with pytest.raises(LogError, match="record 3 cannot be read, but records up to 3 were syn"):
            open_log(disk)
        flip(disk, FIRST, offset)
    assert len(open_log(disk)[1]) == 3


def test_without_the_mark_the_last_batch_counts_as_torn_and_the_log_goes_on() -> None:
    for offset in (0, HEAD_BYTES - 1, HEAD_BYTES, HEAD_BYTES + 20):
        disk, starts = three_batches(with_mark=False)
        flip(disk, FIRST, starts[2] + offset)
        log, records = open_log(disk)
        assert [record.kind for record in records] == [0, 1]
        assert len(disk.content(FIRST)) == starts[2]  # cut before anything new is written
        log.append(9, b"new")
        commit(log)
        log.close()
        assert [record.kind for record in open_log(disk)[1]] == [0, 1, 9]


def test_a_record_written_again_at_the_place_of_another_is_damage() -> None:
    disk, starts = three_batches(with_mark=False)
    content = bytearray(disk.content(FIRST))
    content[starts[1] : starts[2]] = content[starts[0] : starts[1]]  # a misdirected write
    disk.overwrite(FIRST, bytes(content))
    with pytest.raises(LogError, match="record 2 cannot be read"):
        open_log(disk)


def test_a_lying_or_damaged_mark_is_ignored_a_too_old_one_does_no_harm() -> None:
    disk, _ = three_batches(with_mark=True)
    flip(disk, MARK_NAME, 0, 6)
    assert len(open_log(disk)[1]) == 3
    disk.overwrite(MARK_NAME, b"short")
    assert len(open_log(disk)[1]) == 3


def test_every_truncation_of_promised_records_is_damage() -> None:
    disk, starts = three_batches(with_mark=True)
    whole = disk.content(FIRST)
    for size in range(SEGMENT_HEADER_BYTES, len(whole)):
        disk.overwrite(FIRST, whole[:size])
        with pytest.raises(LogError, match="records up to 3 were synced"):
            open_log(disk)
    disk.overwrite(FIRST, whole[: starts[1]] + bytes(len(whole)))  # zeros where records were
    with pytest.raises(LogError, match="record 2 cannot be read"):
        open_log(disk)


def test_damage_at_the_end_of_a_segment_that_has_a_successor() -> None:
    disk, starts = three_batches(with_mark=False, segment_bytes=SEGMENT_HEADER_BYTES + 200)
    assert starts == [512, 592, 512]  # two records, then a new segment
    flip(disk, FIRST, starts[1] + 60)
    with pytest.raises(LogError, match=f"{FIRST}: damaged at offset 592: .*later segment exists"):
        open_log(disk)


def test_missing_renamed_and_unreadable_segments() -> None:
    disk, _ = three_batches(with_mark=True, segment_bytes=SEGMENT_HEADER_BYTES)
    sound = files(disk)
    assert len(sound) == 4  # three segments and the mark

    def refused(match: str) -> None:
        damaged = files(disk)
        with pytest.raises(LogError, match=match):
            open_log(disk)
        assert files(disk) == damaged

    disk.remove(SECOND)
    refused(f"{SECOND}: log segment is missing")
    disk.create(SECOND)
    refused(f"{SECOND}: segment header cut short")
    disk.overwrite(SECOND, sound[FIRST])
    refused(f"{SECOND}: log is segment 1 under a wrong name")
    for offset, reason in ((0, "not a log segment"), (12, "header damaged"), (40, "damaged")):
        disk.overwrite(SECOND, sound[SECOND])
        flip(disk, SECOND, offset)
        refused(f"{SECOND}: .*{reason}")
    disk.overwrite(SECOND, sound[SECOND])
    flip(disk, SECOND, 8, 0)
    refused("format version 3 is newer than 2")
    flip(disk, SECOND, 8, 1)
    refused("format version 1 is of an unreleased Racos")
    for number in (1, 2, 3):
        disk.remove(f"{number:016x}.log")
    refused(f"{FIRST}: log is missing, but records up to 3 were synced")
    disk.create("zebra.log")
    refused("unknown name")


def test_a_value_that_looks_like_a_record_cannot_feign_damage() -> None:
    # A client stores bytes copied from a log of ours (another salt) in a record that is then torn.
    other, _ = three_batches(with_mark=False)
    forged = other.content(FIRST)[SEGMENT_HEADER_BYTES:]
    disk = MemDisk(random.Random(2))
    log, _ = open_log(disk)
    log.append(1, b"kept")
    commit(log)
    torn = log.append(2, b"torn", [bytes(4096 - len(forged) % 8) + forged])
    commit(log)
    log.close()
    disk.remove(MARK_NAME)
    disk.sync_directory()
    flip(disk, FIRST, torn.header.offset)
    assert len(open_log(disk)[1]) == 1


def test_large_records_are_checked_in_pieces_and_every_piece_counts() -> None:
    disk = MemDisk(random.Random(3))
    log, _ = open_log(disk, 16 << 20)
    blob = random.Random(5).randbytes(5 << 19)
    place = log.append(1, b"large", [b"small", blob]).blobs[1]
    log.append(2, b"next")
    commit(log)
    log.close()
    log, records = open_log(disk)
    assert log.read(records[0].blob_places[1]) == blob
    log.close()
    for offset in (0, 1 << 20, len(blob) - 1):
        flip(disk, FIRST, place.offset + offset)
        with pytest.raises(LogError, match="damaged at offset 512"):
            open_log(disk)
        flip(disk, FIRST, place.offset + offset)


def test_nothing_is_changed_when_the_replay_is_not_finished() -> None:
    disk, _ = three_batches(with_mark=False)
    disk.overwrite(FIRST, disk.content(FIRST) + b"torn")
    before = files(disk)
    log = Log.open(disk, member_id=MEMBER, cluster_id=CLUSTER)
    replay = iter(log.replay())
    assert isinstance(next(replay), Replayed)
    assert files(disk) == before

"""The file of the vow: made before anything else, replaced whole, never trusted when damaged."""

from __future__ import annotations

import random

import pytest

from racos.storage.log import Damaged, Log
from racos.storage.memdisk import MemDisk
from racos.storage.vow import VOW_NAME, Written, open_vow, read_vow, write_vow

KEPT = Written(7, fresh=False, kept=True, upto=41, met=(1, 2**63 - 1))


def opened(disk: MemDisk) -> Log:
    log = Log.open(disk, member_id=1, cluster_id=2)
    assert list(log.replay()) == []
    return log


def test_an_empty_directory_is_fresh_and_stays_so() -> None:
    disk = MemDisk(random.Random(1))
    first = open_vow(disk, may_ask=True).written
    assert (first.fresh, first.kept) == (True, False)
    disk.crash()
    opened(disk)
    assert open_vow(disk, may_ask=True).written == first


def test_directories_have_different_nonces() -> None:
    disks = [MemDisk(random.Random(seed)) for seed in range(10)]
    assert len({open_vow(disk, may_ask=True).written.nonce for disk in disks}) == 10


@pytest.mark.parametrize(
    ("may_ask", "lost", "fresh", "kept"),
    [(True, True, False, False), (False, False, False, True)],
)
def test_what_an_empty_directory_means(may_ask: bool, lost: bool, fresh: bool, kept: bool) -> None:
    written = open_vow(MemDisk(), may_ask=may_ask, lost=lost).written
    assert (written.fresh, written.kept, written.upto) == (fresh, kept, -1)


def test_a_log_of_a_version_without_vows_was_kept_all_the_time() -> None:
    disk = MemDisk()
    opened(disk).close()
    assert open_vow(disk, may_ask=True).written.kept


def test_it_is_whole_whenever_the_power_fails() -> None:
    for steps in range(12):
        for seed in range(5):
            disk = MemDisk(random.Random(seed))
            file = open_vow(disk, may_ask=True)
            before = file.written
            disk.fail_after(steps, OSError(5, "no power"))
            try:
                file.write(KEPT)
            except OSError:
                disk.crash()
                assert read_vow(disk) in (before, KEPT)
                assert file.written == before
            else:
                disk.crash()
                assert read_vow(disk) == KEPT == file.written
            write_vow(disk, KEPT)
            assert read_vow(disk) == KEPT
    assert steps > 8


def test_any_flipped_bit_and_any_cut_is_named() -> None:
    disk = MemDisk()
    write_vow(disk, KEPT)
    content = disk.content(VOW_NAME)
    for at in range(8 * len(content)):
        harmed = bytearray(content)
        harmed[at // 8] ^= 1 << at % 8
        disk.overwrite(VOW_NAME, bytes(harmed))
        with pytest.raises(Damaged, match="vow"):
            open_vow(disk, may_ask=True)
    for length in range(len(content)):
        disk.overwrite(VOW_NAME, content[:length])
        with pytest.raises(Damaged, match="vow"):
            open_vow(disk, may_ask=True)

"""The failing disks themselves: what is synced stays, what is not may go, nothing else happens."""

from __future__ import annotations

import errno
import random
from pathlib import Path

import pytest

from racos.storage.disk import OsDisk
from racos.storage.log import Log
from tests.robustness.disks import SECTOR_BYTES, BreakingDisk, Fault, LossyDisk

STEPS = 60


class Model:
    """One file: its bytes as the process sees them, and every content that a cut may leave of each
    sector, given the last sync."""

    def __init__(self) -> None:
        self.visible = bytearray()
        self.versions: list[bytes] = [b""]  # contents since the last sync

    def note(self) -> None:
        self.versions.append(bytes(self.visible))

    def sync(self) -> None:
        self.versions = [bytes(self.visible)]

    def allows(self, left: bytes) -> bool:
        sizes = {len(version) for version in self.versions}
        if not min(sizes) <= len(left) <= max(sizes):
            return False
        return all(
            any(
                padded(version, start, len(left)) == left[start : start + SECTOR_BYTES]
                for version in self.versions
            )
            for start in range(0, len(left), SECTOR_BYTES)
        )


def padded(content: bytes, start: int, size: int) -> bytes:
    piece = content[start : min(start + SECTOR_BYTES, size)]
    return piece.ljust(min(SECTOR_BYTES, size - start), b"\0")


@pytest.mark.parametrize("seed", range(12))
def test_a_lossy_file_reads_as_written_and_a_cut_leaves_what_was_synced(
    tmp_path: Path, seed: int
) -> None:
    draw = random.Random(seed)
    disk = LossyDisk(tmp_path / "log", seed)
    file = disk.create("a")
    disk.sync_directory()
    model = Model()
    for _ in range(draw.randrange(STEPS)):
        offset = draw.randrange(len(model.visible) + 700)
        data = draw.randbytes(draw.choice((1, 12, 600, 3000)))
        choice = draw.random()
        if choice < 0.6:
            file.write(data, offset)
        elif choice < 0.8:
            file.write_sync([data[:5], data[5:]], offset)
        elif choice < 0.9:
            file.truncate(offset)
            model.visible[offset:] = bytes(max(0, offset - len(model.visible)))
            model.note()
            continue
        else:
            file.sync()
            model.sync()
            continue
        model.visible.extend(bytes(max(0, offset - len(model.visible))))
        model.visible[offset : offset + len(data)] = data
        if choice < 0.6:
            model.note()
        else:
            model.sync()
        assert file.size() == len(model.visible)
        assert file.read(0, 1 << 20) == model.visible
        assert disk.open("a").read(offset, 9) == model.visible[offset : offset + 9]
    again = LossyDisk(tmp_path / "log", seed).open("a")
    assert model.allows(again.read(0, 1 << 20))


@pytest.mark.parametrize("seed", range(8))
def test_names_survive_a_cut_as_a_prefix_of_the_changes(tmp_path: Path, seed: int) -> None:
    disk = LossyDisk(tmp_path / "log", seed)
    states = [set[str]()]
    for step in range(6):
        disk.create(f"new{step}").write_sync([b"%d" % step], 0)
        states.append(set(disk.list()))
        disk.rename(f"new{step}", f"file{step}")
        states.append(set(disk.list()))
        if step % 3 == 1:
            disk.remove(f"file{step - 1}")
            states.append(set(disk.list()))
        if step == 3:
            disk.sync_directory()
            states = [set(disk.list())]
    after = LossyDisk(tmp_path / "log", seed)
    assert set(after.list()) in states
    for name in after.list():
        assert after.open(name).read(0, 9) == name[-1:].encode()


@pytest.mark.parametrize("seed", range(8))
def test_a_log_on_it_keeps_what_it_called_durable(tmp_path: Path, seed: int) -> None:
    draw = random.Random(seed)
    kept = 0
    for life in range(4):
        disk = LossyDisk(tmp_path / "log", 10 * seed + life)
        log = Log.open(disk, member_id=1, cluster_id=2, segment_bytes=8 << 10)
        found = list(log.replay())
        assert len(found) >= kept
        for record in found:
            blob = log.read(record.blob_places[0])
            assert blob == blob_of(record.sequence)
        for _ in range(draw.randrange(12)):
            for _ in range(draw.randrange(1, 4)):
                log.append(1, b"h", [blob_of(log.last_sequence + 1)])
            batch = log.take()
            assert batch is not None
            batch.run()
            log.done(batch)
        kept = log.durable_sequence


def blob_of(sequence: int) -> bytes:
    return random.Random(sequence).randbytes(sequence * 37 % 3000)


def test_a_breaking_disk_refuses_everything_from_then_on(tmp_path: Path) -> None:
    disk = BreakingDisk(OsDisk(tmp_path / "log"), 2, errno.EIO)
    file = disk.create("a")
    file.write_sync([b"one"], 0)
    file.sync()
    with pytest.raises(OSError, match="Input/output error"):
        file.sync()
    with pytest.raises(OSError, match="Input/output error"):
        file.write(b"two", 3)
    with pytest.raises(OSError, match="Input/output error"):
        disk.create("b")
    assert file.read(0, 9) == b"one"


def test_faults_are_named_by_one_word(tmp_path: Path) -> None:
    for fault in (Fault("lossy", 3), Fault("breaking", 100)):
        assert Fault.parse(str(fault)) == fault
        fault.disk(tmp_path / fault.kind)
    with pytest.raises(ValueError, match="no disk is called soft"):
        Fault.parse("soft:1").disk(tmp_path)

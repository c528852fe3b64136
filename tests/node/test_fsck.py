"""`racos fsck` on the directory of one node: sound ones, and every kind of harm to a file in it."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from cluster.commands import run
from racos.core.messages import Buffer
from racos.core.quorum import Quorum
from racos.core.replica import Settings
from racos.erasure.codec import Codec
from racos.mvcc.command import Command, Compact, DeleteRange, LeaseGrant, Put, Result
from racos.node.driver import Driver
from racos.node.fsck import Checked, NotChecked, fsck
from racos.node.ports import Options
from racos.storage.disk import OsDisk
from racos.storage.identity import DirectoryLock, check_or_create
from racos.storage.index import Index
from racos.storage.log import Batch, Log
from racos.storage.survey import Finding
from racos.storage.vow import VOW_NAME, Written, write_vow
from tests.node.cluster import Outcome

KEYS = 40
SEGMENT_BYTES = 16 << 10
SEGMENTS_MIN = 4


class Alone:
    """Link and flusher of a cluster of one."""

    def send(self, _lane: int, _header: bytes, _blobs: Sequence[Buffer] = ()) -> bool:
        return False

    def start(self, batch: Batch) -> bool:
        batch.run()
        return True


def make(directory: Path) -> None:
    """A node lives there, and ends in an orderly way."""
    with DirectoryLock(directory):
        check_or_create(directory, member_id=1, cluster_id=9, name="n1")
        log = Log.open(
            OsDisk(directory / "log"), member_id=1, cluster_id=9, segment_bytes=SEGMENT_BYTES
        )
        index = Index(directory / "index", member_id=1, cluster_id=9)
        now = [0.0]
        driver = Driver(
            Settings(Quorum(1, 0, 1), 0, b"test", 1),
            log,
            Codec(1, 1),
            Alone(),
            Alone(),
            lambda: now[0],
            options=Options(inline_limit=64),
            shelf=index,
        )
        commands: list[Command] = [
            *[Put(b"small/%d" % number, b"value %d" % number) for number in range(KEYS)],
            *[Put(b"large/%d" % number, large(number)) for number in range(KEYS)],
            Put(b"large/1", b"", ignore_value=True),
            DeleteRange(b"large/2"),
            LeaseGrant(7, 60),
            Compact(20),
        ]
        for command in commands:
            outcome: Outcome[Result] = Outcome()
            driver.submit(command, outcome)
            while not outcome.done():
                now[0] += 0.01
                driver.turn()
            outcome.get()
        for _ in range(50):
            now[0] += 0.01
            driver.turn()
        driver.stop(RuntimeError())
        index.close()
        log.close()


def large(number: int) -> bytes:
    return random.Random(number).randbytes(1000 + number)


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("data") / "n1"
    make(directory)
    return directory


@pytest.fixture
def data(pristine: Path, tmp_path: Path) -> Path:
    shutil.copytree(pristine, tmp_path / "n1")
    return tmp_path / "n1"


def check(data: Path) -> tuple[Checked, list[Finding]]:
    """What it finds; it changes nothing."""
    found: list[Finding] = []
    before = contents(data)
    checked = fsck(data, found.append)
    assert contents(data) == before
    assert checked.damage == sum(finding.is_damage for finding in found)
    assert checked.notes == len(found) - checked.damage
    return checked, found


def contents(data: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path): (path.lstat().st_mtime_ns, path.read_bytes() if path.is_file() else b"")
        for path in data.rglob("*")
    }


def segments(data: Path) -> list[Path]:
    return sorted((data / "log").glob("*.log"))


def flip(path: Path, offset: int) -> None:
    content = bytearray(path.read_bytes())
    content[offset] ^= 4
    path.write_bytes(content)


def test_a_sound_directory(data: Path) -> None:
    checked, found = check(data)
    assert found == []
    assert checked.segments == len(segments(data)) >= SEGMENTS_MIN
    assert checked.fragments >= 2 * (KEYS - 1), "in the log, and again as the index names them"
    assert checked.entries > 2 * KEYS


def test_every_flipped_bit_of_a_record_is_named_with_its_file_and_offset(data: Path) -> None:
    segment = segments(data)[1]
    content = segment.read_bytes()
    used = len(content.rstrip(b"\0"))
    source = random.Random(1)
    for offset in [0, 20, 515, 530, *[source.randrange(512, used) for _ in range(8)]]:
        flip(segment, offset)
        checked, found = check(data)
        assert checked.damage >= 1, offset
        first = next(finding for finding in found if finding.is_damage)
        assert first.path == str(segment)
        assert first.offset is not None
        assert first.offset <= offset
        assert "\n" not in str(first)
        segment.write_bytes(content)


def test_a_damaged_fragment_that_is_needed_is_named_in_log_and_index(data: Path) -> None:
    segment = next(path for path in segments(data) if large(20) in path.read_bytes())
    offset = segment.read_bytes().index(large(20))
    flip(segment, offset + 500)
    _, found = check(data)
    texts = [str(finding) for finding in found]
    assert len(texts) == 2
    assert "is damaged" in texts[0]
    assert f"offset {offset}: slot " in texts[1]
    assert "fragment 0, which is needed" in texts[1]


def test_what_follows_a_damaged_head_is_still_checked(data: Path) -> None:
    first, second = segments(data)[:2]
    flip(first, 512)
    flip(second, len(second.read_bytes().rstrip(b"\0")) - 3)
    whole = check_records(data)
    _, found = check(data)
    paths = [finding.path for finding in found if "record" in finding.what]
    assert {str(first), str(second)} <= set(paths)
    assert whole > KEYS


def check_records(data: Path) -> int:
    return check(data)[0].records


def removed(data: Path) -> None:
    segments(data)[1].unlink()


def emptied(data: Path) -> None:
    segments(data)[1].write_bytes(b"")


def cut(data: Path) -> None:
    path = segments(data)[1]
    path.write_bytes(path.read_bytes()[:2000])


def end_cut(data: Path) -> None:
    path = segments(data)[-1]
    path.write_bytes(path.read_bytes().rstrip(b"\0")[:-20])


def swapped(data: Path) -> None:
    one, other = segments(data)[:2]
    one.rename(data / "aside")
    other.rename(one)
    (data / "aside").rename(other)


def log_gone(data: Path) -> None:
    for path in segments(data):
        path.unlink()


def last_gone(data: Path) -> None:
    segments(data)[-1].unlink()


def of_another(data: Path) -> None:
    text = (data / "identity.json").read_text()
    (data / "identity.json").write_text(text.replace('"1"', '"2"'))


def no_identity(data: Path) -> None:
    (data / "identity.json").unlink()


def index_cut(data: Path) -> None:
    for path in (data / "index").glob("*.sst"):
        path.write_bytes(path.read_bytes()[:200])


def index_flipped(data: Path) -> None:
    for path in (data / "index").glob("*.sst"):
        flip(path, 100)


def index_distrusted(data: Path) -> None:
    (data / "index" / "DAMAGED").write_text("found\n")


def list_damaged(data: Path) -> None:
    (data / "log" / "removed.map").write_bytes(b"RACOSGON1234567890123456789012345")


@pytest.mark.parametrize(
    ("harm", "where", "what"),
    [
        (removed, "0002.log", "missing"),
        (emptied, "0002.log", "cut short"),
        (cut, "0002.log", "cannot be read"),
        (end_cut, ".log", "cannot be read"),
        (swapped, "0001.log", "under a wrong name"),
        (log_gone, "0001.log", "log is missing"),
        (last_gone, "index", "rests on record"),
        (of_another, "0001.log", "is of member 1, not 2"),
        (no_identity, "identity.json", "No such file"),
        (index_cut, "index", "index"),
        (index_flipped, "index", "index is damaged"),
        (index_distrusted, "index", "found damage"),
        (list_damaged, "removed.map", "list of removed segments"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_harm(data: Path, harm: Callable[[Path], None], where: str, what: str) -> None:
    harm(data)
    checked, found = check(data)
    assert checked.damage >= 1
    assert any(finding.path.endswith(where) and what in finding.what for finding in found), [
        str(finding) for finding in found
    ]


def test_an_unfinished_write_is_no_damage(data: Path) -> None:
    segment = segments(data)[-1]
    content = segment.read_bytes()
    end = (len(content.rstrip(b"\0")) + 7) // 8 * 8
    segment.write_bytes(content[:end] + b"torn" + content[end + 4 :])
    checked, found = check(data)
    assert (checked.damage, checked.notes) == (0, 1)
    assert "unfinished write" in found[0].what


def test_an_index_of_which_nothing_was_flushed_before_a_crash_is_sound(
    data: Path, tmp_path: Path
) -> None:
    fresh = Index(tmp_path / "fresh", member_id=1, cluster_id=9)
    shutil.rmtree(data / "index")
    shutil.copytree(fresh.directory, data / "index")
    fresh.close()
    checked, found = check(data)
    assert found == []
    assert checked.entries == 0


def test_an_index_of_another_member_is_named(data: Path) -> None:
    shutil.rmtree(data / "index")
    Index(data / "index", member_id=5, cluster_id=9).close()
    _, found = check(data)
    assert [finding.what for finding in found] == ["index of another member, cluster or version"]


def test_what_the_index_miscounts_is_named(data: Path) -> None:
    index = Index(data / "index", member_id=1, cluster_id=9)
    key, value = next(iter(index.scan(b"f", b"g")))
    index.put(key, bytes([value[0] + 1]) + value[1:])
    index.commit(1)
    index.durable(1)
    index.close()
    _, found = check(data)
    assert len(found) == 1
    assert "is referred to 1 times, not 2" in found[0].what


def test_the_command(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cluster.fsck._PATIENCE", 0.0)
    assert run(["fsck", str(data)]) == 0
    told = capsys.readouterr()
    assert told.out.startswith(f"{data}: sound; 0 notes; ")
    assert "log: " in told.err
    flip(segments(data)[0], 600)
    assert run(["fsck", str(data)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"{segments(data)[0]}: offset 560: record 2 ")
    assert "damaged: " in lines[-1]
    assert run(["fsck", str(tmp_path / "none")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "none").exists()


def test_a_directory_in_use_is_left_alone(data: Path) -> None:
    with DirectoryLock(data), pytest.raises(NotChecked, match="in use by another process"):
        check(data)
    check(data)


def test_it_works_without_any_right_to_write(data: Path) -> None:
    for path in [data, *data.rglob("*")]:
        os.chmod(path, 0o500 if path.is_dir() else 0o400)
    try:
        assert check(data)[1] == []
    finally:
        for path in [data, *data.rglob("*")]:
            os.chmod(path, 0o700)


def test_a_vow_is_read(data: Path) -> None:
    """That of a member without memory is worth knowing, a damaged one is damage."""
    path = data / "log" / VOW_NAME
    write_vow(OsDisk(data / "log"), Written(5, fresh=True, kept=False, upto=-1))
    _, (note,) = check(data)
    assert not note.is_damage
    assert note.path == str(path)
    assert "no memory" in note.what
    path.write_bytes(path.read_bytes()[:-1])
    _, (finding,) = check(data)
    assert finding.is_damage
    assert finding.path == str(path)

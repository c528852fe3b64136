"""What a node finds in its data directory when it starts, and what it does about it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from racos.core.engine import QUEUE
from racos.errors import ShelfError
from racos.node.config import NodeConfig
from racos.node.datadir import ASIDE_MAX, LOG_FOLDER, DataDir, aside, set_aside
from racos.node.identity import identify
from racos.storage.ballast import BALLAST_NAME
from racos.storage.disk import OsDisk
from racos.storage.index import DAMAGED
from racos.storage.log import Damaged, LogError
from racos.storage.segment import segment_name
from racos.storage.vow import VOW_NAME, Written, read_vow

MEMBERS = tuple((f"n{i}", (f"http://127.0.0.1:{i}",)) for i in (1, 2, 3))


def datadir(path: Path, members: int = 3, **options: str) -> DataDir:
    config = NodeConfig(
        name="n1",
        data_dir=path,
        initial_advertise_peer_urls=MEMBERS[0][1],
        initial_cluster=MEMBERS[:members],
        **options,  # type: ignore[arg-type]
    )
    return DataDir(config, identify(config), OsDisk)


def started(data: DataDir) -> Written:
    """What the vow says after a start on this directory; it is closed again."""
    data.open()
    assert not list(data.log.replay())
    data.close()
    return data.vow.written


def mended(data: DataDir) -> Written:
    """The same, of a start that fails at first."""
    with pytest.raises(LogError) as error:
        started(data)
    data.mend(error.value)
    return started(data)


def test_an_empty_directory_is_fresh(tmp_path: Path) -> None:
    written = started(datadir(tmp_path))
    assert written.fresh
    assert not written.kept
    assert started(datadir(tmp_path)) == written


@pytest.mark.parametrize(
    ("members", "options"),
    [(1, {}), (2, {}), (3, {"engine": QUEUE})],
    ids=["one", "two", "queue engine"],
)
def test_where_nobody_could_be_asked_it_is_taken_for_new(
    tmp_path: Path, members: int, options: dict[str, str]
) -> None:
    assert started(datadir(tmp_path, members, **options)).kept


def test_in_an_existing_cluster_nothing_is_new(tmp_path: Path) -> None:
    written = started(datadir(tmp_path, initial_cluster_state="existing"))
    assert (written.fresh, written.kept) == (False, False)


def header_flipped(path: Path) -> None:
    segment = path / LOG_FOLDER / segment_name(1)
    content = bytearray(segment.read_bytes())
    content[30] ^= 1
    segment.write_bytes(content)


def segment_gone(path: Path) -> None:
    (path / LOG_FOLDER / "durable.mark").write_bytes(b"")
    segment = path / LOG_FOLDER / segment_name(1)
    segment.rename(segment.with_name(segment_name(2)))


def vow_cut(path: Path) -> None:
    (path / LOG_FOLDER / VOW_NAME).write_bytes(b"RACOSVOW")


def log_gone(path: Path) -> None:
    shutil.rmtree(path / LOG_FOLDER)


HARM = [header_flipped, segment_gone, vow_cut, log_gone]


@pytest.mark.parametrize("harm", HARM, ids=lambda harm: harm.__name__)
def test_what_is_damaged_is_put_aside_and_the_node_begins_without_memory(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, harm: object
) -> None:
    started(datadir(tmp_path))
    harm(tmp_path)  # type: ignore[operator]
    written = mended(datadir(tmp_path))
    assert (written.fresh, written.kept) == (False, False)
    (place,) = aside(tmp_path)
    assert (place / "index").is_dir()
    told = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert len(told) == 1
    assert "recover.begun" in told[0]
    assert str(tmp_path / LOG_FOLDER) in told[0]


@pytest.mark.parametrize("harm", HARM[:3], ids=lambda harm: harm.__name__)
@pytest.mark.parametrize(("members", "options"), [(1, {}), (3, {"engine": QUEUE})])
def test_where_nobody_could_be_asked_damage_is_refused(
    tmp_path: Path, members: int, options: dict[str, str], harm: object
) -> None:
    started(datadir(tmp_path, members, **options))
    harm(tmp_path)  # type: ignore[operator]
    data = datadir(tmp_path, members, **options)
    with pytest.raises(Damaged) as error:
        started(data)
    with pytest.raises(Damaged):
        data.mend(error.value)
    assert not aside(tmp_path)


def test_a_log_of_another_member_and_a_newer_format_stay_where_they_are(tmp_path: Path) -> None:
    started(datadir(tmp_path))
    data = datadir(tmp_path)
    segment = tmp_path / LOG_FOLDER / segment_name(1)
    content = bytearray(segment.read_bytes())
    content[8] = 99
    segment.write_bytes(content)
    with pytest.raises(LogError, match="is newer") as error:
        data.open()
    with pytest.raises(LogError):
        data.mend(error.value)
    other = datadir(tmp_path, initial_cluster_token="other")
    content[8] = 2
    segment.write_bytes(content)
    with pytest.raises(LogError, match="belongs to cluster") as error:
        other.open()
    with pytest.raises(LogError):
        other.mend(error.value)
    assert not aside(tmp_path)


def test_a_damaged_index_is_made_anew_from_a_whole_log(tmp_path: Path) -> None:
    written = started(datadir(tmp_path))
    (tmp_path / "index" / DAMAGED).write_text("a read found damage")
    data = datadir(tmp_path)
    with pytest.raises(ShelfError) as error:
        started(data)
    data.mend(error.value)
    assert started(data) == written
    assert not aside(tmp_path)


def test_without_the_whole_log_it_is_put_aside_too(tmp_path: Path) -> None:
    started(datadir(tmp_path))
    data = datadir(tmp_path)
    (tmp_path / "index" / DAMAGED).write_text("a read found damage")
    data.mend(ShelfError("found before the log was open"))
    assert not started(data).kept
    assert len(aside(tmp_path)) == 1


def test_a_disk_that_fails_is_no_damage(tmp_path: Path) -> None:
    started(datadir(tmp_path))
    data = datadir(tmp_path)
    for error in (ShelfError("index cannot be opened: IO error: No space left"), OSError(5, "x")):
        with pytest.raises(type(error)):
            data.mend(error)
    assert not aside(tmp_path)


def test_a_crash_between_the_two_moves_is_found_by_the_next_start(tmp_path: Path) -> None:
    started(datadir(tmp_path))
    header_flipped(tmp_path)
    (tmp_path / "damaged-1").mkdir()
    (tmp_path / "index").rename(tmp_path / "damaged-1" / "index")
    assert not mended(datadir(tmp_path)).fresh
    assert [place.name for place in aside(tmp_path)] == ["damaged-1", "damaged-2"]


def test_one_after_the_moves_does_not_make_the_directory_fresh(tmp_path: Path) -> None:
    started(datadir(tmp_path))
    set_aside(tmp_path, "damaged")
    written = started(datadir(tmp_path))
    assert (written.fresh, written.kept) == (False, False)


def test_space_that_was_put_by_is_not_put_aside(tmp_path: Path) -> None:
    data = datadir(tmp_path)
    started(data)
    ballast = tmp_path / LOG_FOLDER / BALLAST_NAME
    assert ballast.stat().st_size > 0
    place = set_aside(tmp_path, "damaged")
    assert list((place / LOG_FOLDER).iterdir())
    assert not (place / LOG_FOLDER / BALLAST_NAME).exists()


def test_not_more_are_kept_than_a_person_will_look_at(tmp_path: Path) -> None:
    for _ in range(ASIDE_MAX):
        started(datadir(tmp_path))
        set_aside(tmp_path, "damaged")
    started(datadir(tmp_path))
    with pytest.raises(LogError, match=r"damaged; 3 damaged logs are in .* remove them first"):
        set_aside(tmp_path, "damaged")
    shutil.rmtree(tmp_path / "damaged-2")
    assert set_aside(tmp_path, "damaged").name == "damaged-4"
    with pytest.raises(LogError, match="neither a log nor an index"):
        set_aside(tmp_path, "damaged")


def test_a_single_node_does_not_begin_anew_behind_what_was_put_aside(tmp_path: Path) -> None:
    started(datadir(tmp_path, 1))
    place = set_aside(tmp_path, "by hand")
    with pytest.raises(LogError, match=f"{place.name} has one that was put aside"):
        started(datadir(tmp_path, 1))
    log_gone(tmp_path)
    (place / LOG_FOLDER).rename(tmp_path / LOG_FOLDER)
    assert started(datadir(tmp_path, 1)).kept


def test_the_vow_is_the_first_file(tmp_path: Path) -> None:
    started(datadir(tmp_path))
    written = read_vow(OsDisk(tmp_path / LOG_FOLDER))
    (tmp_path / LOG_FOLDER / segment_name(1)).unlink()
    (tmp_path / LOG_FOLDER / "durable.mark").unlink()
    shutil.rmtree(tmp_path / "index")
    assert started(datadir(tmp_path)) == written

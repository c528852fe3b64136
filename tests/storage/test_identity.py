"""A data directory belongs to one member of one cluster, and to one process at a time."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from racos.storage.identity import DirectoryLock, IdentityError, check_or_create


def test_created_once_then_checked(tmp_path: Path) -> None:
    assert check_or_create(tmp_path, member_id=1, cluster_id=2, name="n1")
    (tmp_path / "identity.json.new").write_text("left by a crash")
    assert not check_or_create(tmp_path, member_id=1, cluster_id=2, name="n1")


@pytest.mark.parametrize(
    ("member_id", "cluster_id", "name", "text"),
    [
        (0xA1, 0xC2, "n1", "belongs to cluster c1, not c2"),
        (0xA2, 0xC1, "n1", "belongs to member a1, not a2"),
        (0xA1, 0xC1, "n2", "belongs to the member named n1, not n2"),
    ],
)
def test_another_members_directory_is_refused(
    tmp_path: Path, member_id: int, cluster_id: int, name: str, text: str
) -> None:
    check_or_create(tmp_path, member_id=0xA1, cluster_id=0xC1, name="n1")
    before = (tmp_path / "identity.json").read_bytes()
    with pytest.raises(IdentityError, match=text) as caught:
        check_or_create(tmp_path, member_id=member_id, cluster_id=cluster_id, name=name)
    assert "\n" not in str(caught.value)
    assert (tmp_path / "identity.json").read_bytes() == before


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("", "damaged"),
        ("[]", "damaged"),
        ('{"version": 1, "member_id": 7}', "damaged"),
        ('{"version": 2}', "format version 2 is newer than 1"),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_line(
    tmp_path: Path, content: str, text: str
) -> None:
    (tmp_path / "identity.json").write_text(content)
    with pytest.raises(IdentityError, match=text) as caught:
        check_or_create(tmp_path, member_id=1, cluster_id=2, name="n1")
    assert "\n" not in str(caught.value)


def test_a_second_holder_is_refused_until_the_first_lets_go(tmp_path: Path) -> None:
    directory = tmp_path / "data"
    with DirectoryLock(directory):
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
        with pytest.raises(IdentityError, match="is in use by another process"):
            DirectoryLock(directory)
    DirectoryLock(directory).close()


@pytest.mark.process
def test_a_killed_process_leaves_no_lock(tmp_path: Path) -> None:
    code = (
        "import sys; from racos.storage.identity import DirectoryLock;"
        "lock = DirectoryLock(sys.argv[1]); print('locked', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"locked\n"
        with pytest.raises(IdentityError, match="in use"):
            DirectoryLock(tmp_path)
        process.kill()
    DirectoryLock(tmp_path).close()


def test_a_path_that_is_no_directory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(IdentityError, match="file: File exists"):
        DirectoryLock(tmp_path / "file")

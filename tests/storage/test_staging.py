"""Another index takes the place of the present one, whenever the power goes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from racos.storage.staging import IndexPlace


def place(path: Path) -> IndexPlace:
    return IndexPlace(path, 1, 2)


def filled(path: Path) -> IndexPlace:
    """An index that says old, and a staged one that says new; both closed."""
    where = place(path)
    where.settle()
    for index, word in ((where.open(), b"old"), (where.stage(), b"new")):
        index.put(b"k", word)
        index.commit(1)
        index.durable(1)
        index.close()
    return where


def word(path: Path) -> bytes | None:
    where = place(path)
    where.settle()
    index = where.open()
    found = index.get(b"k")
    index.close()
    assert sorted(each.name for each in path.iterdir()) == ["index"]
    return found


def test_what_is_staged_and_installed_is_found(tmp_path: Path) -> None:
    filled(tmp_path).install()
    assert word(tmp_path) == b"new"


def test_what_is_staged_only_is_gone_after_a_start(tmp_path: Path) -> None:
    filled(tmp_path)
    assert word(tmp_path) == b"old"


@pytest.mark.parametrize(("steps", "expected"), [(0, b"old"), (1, b"new"), (2, b"new")])
def test_a_crash_between_the_renames(tmp_path: Path, steps: int, expected: bytes) -> None:
    where = filled(tmp_path)
    if steps > 0:
        where.path.rename(where._old)
    if steps > 1:
        where._new.rename(where.path)
    assert word(tmp_path) == expected


def test_an_old_index_alone_is_used_again(tmp_path: Path) -> None:
    where = filled(tmp_path)
    where.path.rename(where._old)
    shutil.rmtree(where._new)
    assert word(tmp_path) == b"old"


def test_staging_again_begins_anew(tmp_path: Path) -> None:
    where = filled(tmp_path)
    index = where.stage()
    assert index.get(b"k") is None
    index.close()

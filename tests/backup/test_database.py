"""bbolt files: what is written is read back, and what is damaged is not."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from racos.backup.pages import PAGE_BYTES
from racos.backup.reader import BadDatabase, Database
from racos.backup.writer import Layout
from tests.backup.files import Buckets, save, written


def numbered(count: int, size: int = 20) -> list[tuple[bytes, bytes]]:
    return [(b"%08d" % number, b"v" * size) for number in range(count)]


def read(path: Path) -> Buckets:
    with Database(path) as database:
        return {name: list(database.entries(name)) for name in database.buckets}


@pytest.mark.parametrize("count", [0, 1, 2, 80, 91, 92, 5000, 20_000])
def test_a_tree_of_any_height(count: int, tmp_path: Path) -> None:
    buckets: Buckets = {b"empty": [], b"full": numbered(count), b"last": numbered(1)}
    path = save(tmp_path / "db", written(buckets))
    assert read(path) == buckets
    with Database(path) as database:
        assert database.size == path.stat().st_size
        assert database.last_key(b"full") == (b"%08d" % (count - 1) if count else None)
        assert database.last_key(b"empty") is None
        assert database.last_key(b"none") is None
        assert list(database.entries(b"none")) == []


def test_values_of_all_sizes(tmp_path: Path) -> None:
    rng = random.Random(7)
    edges = [PAGE_BYTES + step for step in range(-60, 4)]
    sizes = [*edges, 0, 1, 10 * PAGE_BYTES, 1 << 20, *(rng.randrange(9000) for _ in range(300))]
    entries = [(b"%08d" % number, rng.randbytes(size)) for number, size in enumerate(sizes)]
    assert read(save(tmp_path / "db", written({b"key": entries}))) == {b"key": entries}


def test_long_keys_make_high_trees(tmp_path: Path) -> None:
    entries = [(b"%04d" % number + bytes(1500), b"x") for number in range(300)]
    assert read(save(tmp_path / "db", written({b"key": entries}))) == {b"key": entries}


def test_keys_must_come_in_order() -> None:
    layout = Layout()
    layout.begin_bucket(b"b")
    layout.add_length(b"2", 1)
    with pytest.raises(AssertionError, match="order"):
        layout.add_length(b"2", 1)
    layout = Layout()
    layout.begin_bucket(b"b")
    layout.begin_bucket(b"c")
    with pytest.raises(AssertionError, match="order"):
        layout.begin_bucket(b"a")


def test_either_meta_is_enough(tmp_path: Path) -> None:
    buckets: Buckets = {b"key": numbered(100)}
    for page in (0, 1):
        data = bytearray(written(buckets))
        data[page * PAGE_BYTES + 20] ^= 1
        assert read(save(tmp_path / "db", bytes(data))) == buckets


def test_damage_is_an_error_or_not_seen_at_all(tmp_path: Path) -> None:
    """Values themselves are under the trailer's SHA-256; the structure is checked without it."""
    buckets: Buckets = {b"key": numbered(500), b"meta": numbered(3)}
    good = written(buckets)
    rng = random.Random(3)
    told: list[str] = []
    for _ in range(150):
        data = bytearray(good)
        page = rng.randrange(3, len(data) // PAGE_BYTES)
        place = page * PAGE_BYTES + rng.randrange(64)
        data[place] ^= 1 << rng.randrange(8)
        try:
            found = read(save(tmp_path / "db", bytes(data)))
        except BadDatabase as error:
            told.append(str(error))
            continue
        for name, entries in found.items():
            assert [key for key, _ in entries] == sorted({key for key, _ in entries}), name
    assert len(told) > 50
    assert all("damaged database file" in text and "\n" not in text for text in told)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "file size too small"),
        (bytes(9000), "invalid database"),
        (b"hello" * 5000, "invalid database"),
        (written({b"key": numbered(500)})[: 4 * PAGE_BYTES], "cut short"),
    ],
)
def test_what_is_no_database(data: bytes, why: str, tmp_path: Path) -> None:
    with pytest.raises(BadDatabase, match=why):
        Database(save(tmp_path / "db", data))


def test_a_branch_that_names_itself(tmp_path: Path) -> None:
    data = bytearray(written({b"key": numbered(500)}))
    page = next(
        number for number in range(3, len(data) // PAGE_BYTES) if data[number * PAGE_BYTES + 8] == 1
    )
    data[page * PAGE_BYTES + 24 : page * PAGE_BYTES + 32] = page.to_bytes(8, "little")
    with pytest.raises(BadDatabase, match="too deep"):
        read(save(tmp_path / "db", bytes(data)))

"""The index on disk: it does what the shelf in memory does, and damage is named."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from racos.errors import ShelfError
from racos.mvcc.shelf import KEYS_END, MemoryShelf, Shelf
from racos.storage.index import Index, erase


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    opened = open_index(tmp_path / "index")
    yield opened
    opened.close()


def open_index(directory: Path) -> Index:
    return Index(directory, member_id=1, cluster_id=2)


def wait_for_flush(index: Index) -> None:
    while index.flushing:
        assert index._flusher is not None
        index._flusher.join()


def contents(shelf: Shelf) -> list[tuple[bytes, bytes]]:
    return list(shelf.scan(b"", KEYS_END))


@pytest.mark.parametrize("seed", range(3))
def test_it_answers_as_the_shelf_in_memory(index: Index, seed: int) -> None:
    rng, model = random.Random(seed), MemoryShelf()
    durable = 0
    for sequence in range(1, 401):
        for shelf in (index, model):
            change(random.Random(seed * 1000 + sequence), shelf)
        for shelf in (index, model):
            shelf.commit(sequence)
        if rng.random() < 0.4:
            durable = rng.randint(durable, sequence)
            index.durable(durable)
        if sequence % 100 == 0:
            index.flush()
        compare(index, model, rng)
    wait_for_flush(index)
    assert contents(index) == contents(model)


def change(rng: random.Random, shelf: Shelf) -> None:
    for _ in range(rng.randint(0, 5)):
        key = b"%02d" % rng.randrange(40)
        kind = rng.random()
        if kind < 0.6:
            shelf.put(key, rng.choice((b"", b"x", b"y" * 2000)))
        elif kind < 0.95:
            shelf.delete(key)
        else:
            shelf.delete_range(key, b"%02d" % rng.randrange(40))


def compare(index: Index, model: MemoryShelf, rng: random.Random) -> None:
    one, other = sorted(b"%02d" % rng.randrange(41) for _ in range(2))
    assert list(index.scan(one, other)) == list(model.scan(one, other))
    assert list(index.scan(one, other, True)) == list(model.scan(one, other, True))
    assert list(index.keys(one, other)) == list(model.keys(one, other))
    assert index.get(one) == model.get(one)
    assert index.many([one, other, b"absent"]) == model.many([one, other, b"absent"])


def test_a_snapshot_holds_commits_only_and_does_not_change(index: Index) -> None:
    for name in (b"a", b"b", b"c"):
        index.put(name, name)
        index.commit(1 if name == b"a" else 9)
        index.durable(1)
    index.put(b"d", b"d")
    frozen = index.snapshot()
    index.commit(9)
    index.delete(b"a")
    assert list(frozen.scan(b"", KEYS_END)) == [(b"a", b"a"), (b"b", b"b"), (b"c", b"c")]
    assert [frozen.get(name) for name in (b"a", b"b", b"x")] == [b"a", b"b", None]
    frozen.close()


def test_what_was_flushed_is_there_after_a_start(tmp_path: Path) -> None:
    index = open_index(tmp_path / "index")
    index.put(b"a", b"1")
    index.commit(5)
    index.durable(5)
    assert index.unflushed_bytes > 0
    index.flush()
    wait_for_flush(index)
    assert index.flushed_sequence == 5
    assert index.unflushed_bytes == 0
    index.close()
    again = open_index(tmp_path / "index")
    assert again.get(b"a") == b"1"
    again.close()


def test_a_step_whose_record_is_not_durable_never_reaches_the_disk(tmp_path: Path) -> None:
    index = open_index(tmp_path / "index")
    index.put(b"a", b"1")
    index.commit(5)
    index.durable(5)
    index.put(b"a", b"2")
    index.commit(6)
    index.flush()
    wait_for_flush(index)
    index.close()
    again = open_index(tmp_path / "index")
    assert again.get(b"a") == b"1"
    again.close()


def test_a_file_that_vanishes_while_the_size_is_asked_for_counts_as_nothing(index: Index) -> None:
    size = index.size_bytes()
    assert size > 0
    (index.directory / "000999.sst").symlink_to("gone")  # is listed, and cannot be looked at
    assert index.size_bytes() == size


def test_the_index_of_another_member_is_refused(tmp_path: Path) -> None:
    open_index(tmp_path / "index").close()
    with pytest.raises(ShelfError, match="another member, cluster or version: 1 1 2"):
        Index(tmp_path / "index", member_id=3, cluster_id=2)


def filled(directory: Path) -> list[Path]:
    """Make an index with several files; returns those with data, the sorted ones first."""
    index = open_index(directory)
    for number in range(3000):
        index.put(b"k%05d" % number, b"%05d" % number * 20)
        index.put(b"large%05d" % number, b"%05d" % number * 300)
    index.commit(1)
    index.durable(1)
    index.flush()
    wait_for_flush(index)
    index.close()
    return sorted(directory.glob("*.sst")) + sorted(directory.glob("*.blob"))


def read_everything(directory: Path) -> int:
    """Read all entries, and check them; ShelfError where something is damaged."""
    index = open_index(directory)
    try:
        entries = contents(index)
    finally:
        index.close()
    for key, value in entries:
        assert value == key[-5:] * (20 if key.startswith(b"k") else 300)
    return len(entries)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("place", [0, 1], ids=["sorted", "large"])
def test_a_flipped_bit_is_named_or_harmless_and_never_wrong_data(
    tmp_path: Path, place: int, seed: int
) -> None:
    files = filled(tmp_path / "index")
    victim, rng = files[place], random.Random(seed)
    data = bytearray(victim.read_bytes())
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    victim.write_bytes(data)
    line = ""
    try:
        assert read_everything(tmp_path / "index") == 6000
    except ShelfError as error:
        line = str(error)
    assert line == "" or (str(tmp_path / "index") in line and "\n" not in line)


@pytest.mark.slow
@pytest.mark.parametrize("place", [0, 1], ids=["sorted", "large"])
@pytest.mark.parametrize("how", ["gone", "short", "empty", "zeros"])
def test_a_file_that_is_gone_or_cut_is_named(tmp_path: Path, place: int, how: str) -> None:
    victim = filled(tmp_path / "index")[place]
    data = victim.read_bytes()
    victim.unlink()
    if how == "short":
        victim.write_bytes(data[: len(data) // 2])
    elif how == "empty":
        victim.write_bytes(b"")
    elif how == "zeros":
        victim.write_bytes(bytes(len(data)))
    with pytest.raises(ShelfError):
        read_everything(tmp_path / "index")


@pytest.mark.parametrize("name", ["CURRENT", "MANIFEST"])
def test_damaged_books_are_named(tmp_path: Path, name: str) -> None:
    filled(tmp_path / "index")
    (victim,) = (tmp_path / "index").glob(name + "*")
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 1
    victim.write_bytes(data)
    with pytest.raises(ShelfError):
        read_everything(tmp_path / "index")


def test_an_index_found_damaged_is_not_trusted_again_until_it_is_erased(tmp_path: Path) -> None:
    directory = tmp_path / "index"
    victim = filled(directory)[0]
    data = bytearray(victim.read_bytes())
    data[1000] ^= 1
    victim.write_bytes(data)
    for _ in range(2):
        with pytest.raises(ShelfError, match="damaged"):
            read_everything(directory)
    data[1000] ^= 1
    victim.write_bytes(data)
    with pytest.raises(ShelfError, match="damaged"):
        open_index(directory)
    erase(directory)
    index = open_index(directory)
    assert contents(index) == []
    index.close()

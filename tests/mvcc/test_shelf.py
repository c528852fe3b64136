"""What every shelf promises: order, steps, prefixes after a crash."""

from __future__ import annotations

import random

import pytest

from racos.mvcc.shelf import KEYS_END, MemoryShelf


def filled() -> MemoryShelf:
    shelf = MemoryShelf()
    for name in (b"a", b"b", b"c"):
        shelf.put(name, name.upper())
    shelf.commit(1)
    return shelf


def test_reads_see_writes_before_their_commit() -> None:
    shelf = filled()
    shelf.put(b"b", b"new")
    shelf.delete(b"c")
    assert shelf.get(b"b") == b"new"
    assert shelf.many([b"a", b"c", b"x"]) == [b"A", None, None]
    assert list(shelf.scan(b"a", KEYS_END)) == [(b"a", b"A"), (b"b", b"new")]


def test_scan_excludes_its_end_and_can_go_backwards() -> None:
    shelf = filled()
    assert [key for key, _ in shelf.scan(b"a", b"c")] == [b"a", b"b"]
    assert [key for key, _ in shelf.scan(b"a", b"c", reverse=True)] == [b"b", b"a"]


def test_delete_range_deletes_up_to_its_end() -> None:
    shelf = filled()
    shelf.delete_range(b"a", b"c")
    assert list(shelf.scan(b"", KEYS_END)) == [(b"c", b"C")]


def test_a_snapshot_holds_commits_only_and_does_not_change() -> None:
    shelf = filled()
    shelf.put(b"d", b"D")
    frozen = shelf.snapshot()
    shelf.commit(2)
    shelf.delete(b"a")
    assert [key for key, _ in frozen.scan(b"", KEYS_END)] == [b"a", b"b", b"c"]
    assert frozen.get(b"a") == b"A"
    frozen.close()


def test_a_crash_takes_commits_that_no_flush_covers() -> None:
    shelf = filled()
    shelf.durable(1)
    shelf.flush()
    shelf.put(b"a", b"2")
    shelf.commit(2)
    shelf.crash()
    assert shelf.get(b"a") == b"A"
    assert shelf.flushed_sequence == 1


def test_a_crash_never_leaves_a_commit_that_the_log_may_have_lost() -> None:
    shelf = filled()
    shelf.durable(1)
    shelf.put(b"a", b"2")
    shelf.commit(2)
    shelf.flush()
    shelf.crash(lambda most: most)
    assert shelf.get(b"a") == b"A"


def test_a_crash_takes_what_was_not_committed() -> None:
    shelf = filled()
    shelf.durable(9)
    shelf.put(b"a", b"2")
    shelf.delete(b"b")
    shelf.crash(lambda most: most)
    assert shelf.many([b"a", b"b"]) == [b"A", b"B"]


@pytest.mark.parametrize("seed", range(5))
def test_after_a_crash_the_map_is_that_of_some_commit(seed: int) -> None:
    rng = random.Random(seed)
    shelf = MemoryShelf()
    states: list[dict[bytes, bytes]] = [{}]
    flushed = 0
    for number in range(1, 60):
        for _ in range(rng.randint(0, 4)):
            key = b"%d" % rng.randrange(10)
            if rng.random() < 0.7:
                shelf.put(key, b"%d" % number)
            else:
                shelf.delete(key)
        shelf.commit(number)
        states.append(dict(shelf.scan(b"", KEYS_END)))
        if rng.random() < 0.1:
            shelf.durable(number)
            shelf.flush()
            flushed = number
    shelf.durable(50)
    shelf.crash(lambda most: rng.randint(0, most))
    kept = dict(shelf.scan(b"", KEYS_END))
    assert kept in states[flushed : max(flushed, 50) + 1]

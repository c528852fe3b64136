"""Undoing recent changes must give exactly what a scan gives."""

from __future__ import annotations

import random

import pytest

from racos.mvcc.command import DeleteRange, Put, Range
from racos.mvcc.keyindex import KeyIndex
from racos.mvcc.rewind import RewoundRange
from racos.mvcc.shelf import MemoryShelf
from racos.mvcc.store import Store
from racos.mvcc.writes import write_put

KEYS = [b"%02d" % number for number in range(12)]


def churned(revisions: int, seed: int) -> KeyIndex:
    """An index after one random put or delete a revision, from 2 on."""
    index, rng = KeyIndex(MemoryShelf(), lambda _value, _change: None), random.Random(seed)
    for revision in range(2, revisions + 1):
        key = rng.choice(KEYS)
        if rng.random() < 0.4:
            index.delete(key, rng.choice((b"", b"06")), revision)
        else:
            write_put(index, Put(key), revision, index.get(key))
    return index


@pytest.mark.parametrize("seed", range(5))
def test_a_rewound_range_is_what_a_scan_finds(seed: int) -> None:
    index = churned(40, seed)
    for revision in range(20, 41):
        for key, range_end in ((b"\0", b"\0"), (b"03", b"09"), (b"05", b"\0"), (b"09", b"03")):
            past = RewoundRange(index, key, range_end, revision, KEYS)
            expected = index.scan(key, range_end, revision)
            assert past.count == len(expected)
            for place in range(past.count + 1):
                assert past.slice(0, place) == expected[:place]
                assert past.slice(place, past.count) == expected[place:]


def test_paging_at_one_revision_while_writes_go_on_misses_and_repeats_nothing() -> None:
    store = Store()
    for key in KEYS:
        store.apply(Put(key))
    first = store.range(Range(b"\0", b"\0", limit=5))
    found, revision = [kv.key for kv in first.kvs], first.revision
    more = first.more
    for command in (Put(b"055"), DeleteRange(b"07"), Put(b"08"), Put(b"99")):
        store.apply(command)
        if not more:
            break
        page = store.range(Range(found[-1] + b"\0", b"\0", limit=3, revision=revision))
        assert page.count == len(KEYS) - len(found)
        found += [kv.key for kv in page.kvs]
        more = page.more
    assert found == KEYS

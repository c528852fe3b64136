"""Compaction and history: what goes, what stays, and what may still be asked."""

from __future__ import annotations

from collections import Counter

import pytest

from racos.mvcc.command import (
    CodedValue,
    Compact,
    CompactResult,
    DeleteRange,
    Event,
    KeyValue,
    Put,
    Range,
    Txn,
)
from racos.mvcc.encoding import (
    CHANGES,
    LIVE,
    PAST,
    after,
    decode_record,
    past_entries,
    revision_of_changes,
)
from racos.mvcc.errors import Compacted, FutureRevision
from racos.mvcc.store import Store
from tests.mvcc.coded import coded


def filled(*commands: Put | DeleteRange | Txn | Compact) -> Store:
    store = Store()
    for command in commands:
        store.apply(command)
    return store


def values(store: Store, key: bytes, revisions: range) -> list[object]:
    found = [store.range(Range(key, revision=revision)).kvs for revision in revisions]
    return [kvs[0].value if kvs else None for kvs in found]


def test_compacting_answers_with_the_current_revision() -> None:
    store = filled(Put(b"k"), Put(b"k"))
    assert store.apply(Compact(2)) == CompactResult(3)
    assert (store.revision, store.compact_revision) == (3, 2)
    assert store.apply(Compact(3), want_result=False) is None


def test_compacting_to_0_succeeds_once_on_a_fresh_store() -> None:
    store = filled(Compact(0))
    with pytest.raises(Compacted):
        store.apply(Compact(0))
    assert store.apply(Compact(1)) == CompactResult(1)


@pytest.mark.parametrize(
    ("revision", "refusal"),
    [(-1, Compacted), (2, Compacted), (3, Compacted), (5, FutureRevision)],
)
def test_compaction_only_goes_up_to_the_present(revision: int, refusal: type[Exception]) -> None:
    store = filled(Put(b"k"), Put(b"k"), Put(b"k"), Compact(3))
    with pytest.raises(refusal):
        store.apply(Compact(revision))
    assert store.compact_revision == 3


def test_the_compaction_revision_is_readable_and_the_one_below_is_not() -> None:
    store = filled(Put(b"k", b"a"), Put(b"k", b"b"), Put(b"k", b"c"), Put(b"k", b"d"), Compact(4))
    assert values(store, b"k", range(4, 6)) == [b"c", b"d"]
    for request in (Range(b"k", revision=3), Range(b"\0", b"\0", revision=3, count_only=True)):
        with pytest.raises(Compacted):
            store.range(request)


def test_the_newest_version_at_or_below_stays_however_old() -> None:
    store = filled(Put(b"k", b"a"), Put(b"x"), Put(b"x"), Put(b"k", b"b"), Compact(4))
    assert values(store, b"k", range(4, 6)) == [b"a", b"b"]
    store.apply(Compact(5))
    assert values(store, b"k", range(5, 6)) == [b"b"]


def kept(store: Store) -> list[tuple[bytes, int, int]]:
    """What the shelf has: all versions, readable or not yet dropped."""
    past = past_entries(store.shelf.scan(PAST, after(PAST)))
    versions = [kv for _, group in past for kv in group]
    live = store.shelf.scan(LIVE, after(LIVE))
    versions += [decode_record(entry[1:], data) for entry, data in live]
    return sorted((kv.key, kv.mod_revision, kv.version) for kv in versions)


def compact(store: Store, revision: int) -> None:
    """Compact, and drop all that can be dropped."""
    store.apply(Compact(revision))
    while not store.compact_some(1):
        store.commit()


def compacted(commands: list[Put | DeleteRange], *revisions: int) -> Store:
    """A store after those writes, one a revision from 2 on, and compactions one after another."""
    store = filled(*commands)
    for revision in revisions:
        compact(store, revision)
    return store


PUT, DELETE = Put(b"k"), DeleteRange(b"k")


@pytest.mark.parametrize(
    ("commands", "revisions", "expected"),
    [
        ([PUT, PUT, PUT], [3], [(3, 2), (4, 3)]),
        ([PUT, PUT, PUT], [4], [(4, 3)]),
        ([PUT, DELETE], [2], [(2, 1), (3, 0)]),
        ([PUT, DELETE], [3], [(3, 0)]),  # a tombstone exactly at the revision stays
        ([PUT, DELETE, PUT], [3], [(3, 0), (4, 1)]),
        ([PUT, DELETE, PUT], [4], [(4, 1)]),
        ([PUT, DELETE, Put(b"x")], [4], []),  # and one below goes
        ([PUT, DELETE, Put(b"x")], [3, 4], []),  # also if it had stayed before
        ([PUT, DELETE, Put(b"x"), PUT], [3, 4], [(5, 1)]),
        ([PUT, Put(b"x"), PUT], [3, 4], [(4, 2)]),  # superseded exactly at the revision
        ([PUT, PUT, DELETE, PUT, PUT], [2, 5], [(5, 1), (6, 2)]),
    ],
)
def test_what_compaction_keeps(
    commands: list[Put | DeleteRange], revisions: list[int], expected: list[tuple[int, int]]
) -> None:
    store = compacted(commands, *revisions)
    assert [version[1:] for version in kept(store) if version[0] == b"k"] == expected


def test_a_compacted_key_with_one_version_costs_no_history() -> None:
    store = compacted([PUT, PUT, DeleteRange(b"k"), Put(b"k"), Put(b"x")], 6)
    assert list(store.shelf.keys(PAST, after(PAST))) == []


def test_a_step_is_bounded_and_nothing_that_can_be_seen_depends_on_it() -> None:
    store = filled(*[Put(b"k")] * 10)
    store.apply(Compact(10))
    digest = store.state_digest()
    sizes = []
    while not store.compact_some(3):
        sizes.append(len(kept(store)))
        assert store.state_digest() == digest
        assert [kvs[0].mod_revision for kvs in reads(store, b"k", range(10, 12))] == [10, 11]
        assert [revision for revision, _ in store.history(10, 99)] == [10, 11]
    assert sizes[:3] == [7, 4, 2]


def reads(store: Store, key: bytes, revisions: range) -> list[tuple[KeyValue, ...]]:
    return [store.range(Range(key, revision=revision)).kvs for revision in revisions]


def test_a_compaction_that_comes_while_one_is_under_way_is_done_after_it() -> None:
    store = filled(*[Put(b"k")] * 10)
    store.apply(Compact(4))
    store.compact_some(1)
    compact(store, 11)
    assert kept(store) == [(b"k", 11, 10)]


def test_dropping_goes_on_after_a_restart_of_the_store() -> None:
    store = filled(*[Put(b"k")] * 10)
    store.apply(Compact(11))
    store.compact_some(2)
    store.commit()
    store = Store(store.shelf)
    assert not store.compact_some(100)
    while not store.compact_some(100):
        pass
    assert kept(store) == [(b"k", 11, 10)]


def test_names_of_changes_go_with_the_revisions() -> None:
    store = Store()
    for _ in range(6):
        store.apply(Put(b"k"))
        store.commit()
    compact(store, 5)
    left = [revision_of_changes(entry) for entry in store.shelf.keys(CHANGES, after(CHANGES))]
    assert left == [5, 6, 7]
    assert [revision for revision, _ in Store(store.shelf).history(5, 9)] == [5, 6, 7]


def test_references_are_counted_per_version_with_a_coded_value() -> None:
    counted: Counter[CodedValue] = Counter()
    one, other = coded(b"one"), coded(b"other")
    store = Store(referred=lambda value, change: counted.update({value: change}))
    store.apply(Put(b"k", one))
    store.apply(Put(b"k", ignore_value=True))
    store.apply(Put(b"k", other))
    assert counted == {one: 2, other: 1}
    store.apply(DeleteRange(b"k"))
    compact(store, 4)
    assert counted == {one: 0, other: 1}
    store.apply(Put(b"x"))
    compact(store, 6)
    assert counted == {one: 0, other: 0}


def test_history_gives_each_revision_with_previous_versions() -> None:
    store = filled(Put(b"k", b"a"), Put(b"k", b"b"), DeleteRange(b"k"), Put(b"k", b"c"))
    first, second = KeyValue(b"k", 2, 2, 1, b"a", 0), KeyValue(b"k", 2, 3, 2, b"b", 0)
    assert [(revision, list(events)) for revision, events in store.history(1, 99)] == [
        (2, [Event(False, first, None)]),
        (3, [Event(False, second, first)]),
        (4, [Event(True, KeyValue(b"k", 0, 4, 0, b"", 0), second)]),
        (5, [Event(False, KeyValue(b"k", 5, 5, 1, b"c", 0), None)]),
    ]
    assert [revision for revision, _ in store.history(3, 4)] == [3, 4]
    assert list(store.history(6, 9)) == []


def test_history_starts_at_the_compaction_revision_and_not_below() -> None:
    store = filled(Put(b"k", b"a"), DeleteRange(b"k"), Put(b"k", b"b"), Put(b"k", b"c"), Compact(3))
    with pytest.raises(Compacted):
        store.history(2, 9)
    found = [(revision, list(events)) for revision, events in store.history(3, 9)]
    # At the compaction revision the previous version is gone; above it every one is there.
    assert found[0] == (3, [Event(True, KeyValue(b"k", 0, 3, 0, b"", 0), None)])
    assert [event.prev_kv and event.prev_kv.value for _, [event] in found[1:]] == [None, b"b"]


def test_a_reader_overtaken_by_compaction_is_told() -> None:
    store = filled(*[Put(b"k")] * 5)
    reader = store.history(2, 6)
    assert next(reader)[0] == 2
    store.apply(Compact(5))
    with pytest.raises(Compacted):
        next(reader)


def test_history_keeps_the_previous_version_that_compaction_dropped_elsewhere() -> None:
    store = filled(Put(b"k", b"a"), Put(b"x"), Put(b"k", b"b"), Compact(3))
    [(_, [event])] = store.history(4, 4)
    assert event.prev_kv == KeyValue(b"k", 2, 2, 1, b"a", 0)

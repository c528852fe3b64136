"""Compaction and history: what goes, what stays, and what may still be asked."""

from __future__ import annotations

import pytest

from racos.mvcc.command import Compact, CompactResult, DeleteRange, Event, KeyValue, Put, Range, Txn
from racos.mvcc.compaction import Compactor
from racos.mvcc.errors import Compacted, FutureRevision
from racos.mvcc.history import History
from racos.mvcc.keyindex import KeyIndex
from racos.mvcc.store import Store


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


def kept(index: KeyIndex) -> list[tuple[bytes, int, int]]:
    names = index.names_after(b"", 1000)
    return [(kv.key, kv.mod_revision, kv.version) for name in names for kv in index.versions(name)]


def compacted(commands: list[Put | DeleteRange], *revisions: int) -> KeyIndex:
    """An index after those writes, one a revision from 2 on, and compactions one after another."""
    index, history = KeyIndex(), History()
    for revision, command in enumerate(commands, 2):
        if isinstance(command, DeleteRange):
            history.append(tuple(index.delete(command.key, command.range_end, revision)))
            continue
        previous = index.live.get(command.key)
        created = revision if previous is None else previous.create_revision
        version = 1 if previous is None else previous.version + 1
        kv = KeyValue(command.key, created, revision, version, b"", 0)
        index.put(kv, previous)
        history.append(Event(False, kv, previous))
    for revision in revisions:
        compactor = Compactor(index, history, revision)
        while not compactor.step(1):
            pass
    return index


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
    index = compacted(commands, *revisions)
    assert [version[1:] for version in kept(index) if version[0] == b"k"] == expected


def test_a_compacted_key_with_one_version_costs_no_history() -> None:
    index = compacted([PUT, PUT, DeleteRange(b"k"), Put(b"k"), Put(b"x")], 6)
    assert index.past == {}


def test_a_step_is_bounded_and_reads_are_right_between_steps() -> None:
    index, history = KeyIndex(), History()
    for revision in range(2, 12):
        previous = index.live.get(b"k")
        kv = KeyValue(b"k", 2, revision, revision - 1, b"", 0)
        index.put(kv, previous)
        history.append(Event(False, kv, previous))
    compactor = Compactor(index, history, 10)
    for _ in range(2):
        assert not compactor.step(3)
        seen = [index.at(b"k", revision) for revision in (10, 11)]
        assert [kv and kv.mod_revision for kv in seen] == [10, 11]
        assert [event.kv.mod_revision for event in history.events(10)] == [10]
    assert history.first == 2
    assert compactor.step(3)
    assert history.first == 10


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

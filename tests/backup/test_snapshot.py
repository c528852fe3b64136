"""Backups of a store: one revision, whole, whatever happens while they are made."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from racos.backup.contents import GHOST, revision_key
from racos.backup.reader import Database
from racos.backup.snapshot import Snapshot
from racos.backup.source import Source
from racos.errors import RequestTimedOut
from racos.mvcc.command import (
    Alarm,
    AlarmKind,
    AlarmSwitch,
    CodedValue,
    Command,
    Compact,
    DeleteRange,
    KeyValue,
    LeaseGrant,
    Load,
    Put,
    Txn,
)
from racos.mvcc.digest import digest
from racos.mvcc.store import Store
from tests.backup.files import backup, facts_of, nothing_to_load, save, settle


def filled(*commands: Command) -> Store:
    store = Store()
    for command in commands:
        store.apply(command)
    return store


def versions(path: Path) -> list[tuple[bytes, int, int]]:
    with Source(path) as source:
        return [(kv.key, kv.mod_revision, kv.version) for kv in source.versions()]


async def test_an_empty_store(tmp_path: Path) -> None:
    path = save(tmp_path / "db", await backup(Store()))
    assert versions(path) == []
    with Source(path) as source:
        assert source.state()[:2] == (1, -1)


async def test_changes_of_one_revision_keep_their_order(tmp_path: Path) -> None:
    txn = Txn(success=(Put(b"b", b"1"), Put(b"a", b"2"), DeleteRange(b"c")))
    path = save(tmp_path / "db", await backup(filled(Put(b"c"), txn)))
    assert versions(path) == [(b"c", 2, 1), (b"b", 3, 1), (b"a", 3, 1), (b"c", 3, 0)]
    with Database(path, path.stat().st_size - 32) as database:
        keys = [key for key, _ in database.entries(b"key")]
    assert keys == [revision_key(2, 0, False), *(revision_key(3, n, n == 2) for n in range(3))]


async def test_what_a_compaction_keeps(tmp_path: Path) -> None:
    store = filled(Put(b"a"), Put(b"b"), Put(b"a"), DeleteRange(b"b"), Put(b"c"), Compact(5))
    path = save(tmp_path / "db", await backup(store))
    assert versions(path) == [(b"a", 4, 2), (b"b", 5, 0), (b"c", 6, 1)]
    with Source(path) as source:
        assert source.state()[:2] == (6, 5)


async def test_writes_and_compactions_meanwhile_are_not_in_it() -> None:
    commands: list[Command] = [Put(b"%04d" % (n % 300), b"v%d" % n) for n in range(900)]
    store = filled(*commands, DeleteRange(b"0001"), Compact(500))
    before = await backup(store)
    snapshot = Snapshot(store.view(), nothing_to_load, facts_of(store))
    store.apply(DeleteRange(b"0000", b"0100"))
    store.apply(Compact(store.revision))
    await snapshot.prepare()
    blocks = []
    async for block in snapshot.blocks():
        blocks.append(block)
        store.apply(Put(b"0000", b"later"))
        store.apply(DeleteRange(b"02", b"03"))
        if len(blocks) % 2:
            store.apply(Compact(store.revision))
    snapshot.close()
    assert len(blocks) > 2
    assert b"".join(blocks) == before
    store.apply(Compact(store.revision))
    settle(store)
    assert store.usage.versions < 310, "what was held back is dropped in the end"


def test_a_second_view_goes_on_when_the_first_is_closed() -> None:
    store = filled(Put(b"a"), Put(b"a"), Put(b"a"))
    one, other = store.view(), store.view()
    store.apply(Compact(4))
    one.close()
    one.close()
    settle(store)
    assert [kv.mod_revision for kv in other.versions(b"", 9)[0]] == [2, 3, 4]
    assert store.usage.versions == 3
    other.close()
    settle(store)
    assert store.usage.versions == 1


async def test_large_values_are_whole_in_it(tmp_path: Path) -> None:
    values = [b"%d" % number * (1 << 20) for number in range(10)]
    coded = [CodedValue(len(v), digest(v), (), 1, 0, n) for n, v in enumerate(values)]
    store = filled(*(Put(b"%d" % n, value) for n, value in enumerate(coded)))
    asked: list[int] = []

    async def load(wanted: Sequence[CodedValue]) -> list[bytes]:
        asked.append(len(wanted))
        return [values[value.index] for value in wanted]

    path = save(tmp_path / "db", await backup(store, load))
    with Source(path) as source:
        assert [kv.value for kv in source.versions()] == values
    assert max(asked) <= 4, "few at a time"


async def test_a_value_that_cannot_be_had_ends_it() -> None:
    value = CodedValue(5000, digest(b""), (), 1, 0, 0)

    async def load(_wanted: Sequence[CodedValue]) -> list[bytes]:
        raise RequestTimedOut

    with pytest.raises(RequestTimedOut):
        await backup(filled(Put(b"k", value)), load)


async def test_leases_and_alarms(tmp_path: Path) -> None:
    alarm = Alarm(2**64 - 1, AlarmKind.NOSPACE)
    store = filled(LeaseGrant(77, 60), Put(b"k", b"v", 77), AlarmSwitch(alarm, True))
    with Source(save(tmp_path / "db", await backup(store))) as source:
        state = source.state()
        assert state.leases == (LeaseGrant(77, 60),)
        assert state.alarms == (alarm,)
        assert [kv.lease for kv in source.versions()] == [77]


async def test_a_revision_without_a_change_is_kept_by_a_ghost(tmp_path: Path) -> None:
    kept = KeyValue(b"k", 2, 3, 2, b"v", 0)
    store = filled(Load((kept,), compact_revision=1000, revision=1000))
    path = save(tmp_path / "db", await backup(store))
    assert versions(path) == [(b"k", 3, 2)]
    with Database(path, path.stat().st_size - 32) as database:
        assert list(database.entries(b"key"))[-1] == (revision_key(1000, 0, False), GHOST)

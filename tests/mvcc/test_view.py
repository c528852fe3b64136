"""Views hold what they show; alarms refuse what they must, on every replica alike."""

from __future__ import annotations

import pytest

from racos.mvcc.command import (
    Alarm,
    AlarmKind,
    AlarmSwitch,
    Command,
    Compact,
    DeleteRange,
    LeaseExpire,
    LeaseGrant,
    LeaseRenew,
    LeaseRevoke,
    Put,
    Range,
    Txn,
)
from racos.mvcc.errors import ClusterCorrupt, SpaceExceeded
from racos.mvcc.store import Store


def settle(store: Store) -> None:
    while not store.compact_some(100):
        store.commit()


def test_what_a_view_shows_stays_until_the_last_one_is_closed() -> None:
    store = Store()
    for _ in range(3):
        store.apply(Put(b"a"))
    one, other = store.view(), store.view()
    store.apply(Compact(4))
    one.close()
    one.close()
    settle(store)
    assert [kv.mod_revision for kv in other.versions(b"", 9)[0]] == [2, 3, 4]
    assert [event.kv.mod_revision for event in other.changes(2)] == [2]
    other.close()
    settle(store)
    assert store.usage.versions == 1


def test_a_view_shows_nothing_newer() -> None:
    store = Store()
    store.apply(Put(b"a", b"1"))
    view = store.view()
    store.apply(Put(b"a", b"2"))
    store.apply(Put(b"b"))
    store.apply(DeleteRange(b"a"))
    versions, above = view.versions(b"", 1)
    assert [(kv.key, kv.value) for kv in versions] == [(b"a", b"1")]
    assert above == b"a"
    assert view.versions(above, 9) == ([], None)
    assert view.version(b"a", 2).value == b"1"
    view.close()


PUT = Txn(success=(Txn(failure=(Put(b"k"),)),))
DELETION = Txn(success=(DeleteRange(b"k"), Range(b"k")))
CHANGES: list[Command] = [Put(b"k"), PUT, LeaseGrant(9, 60)]
OTHERS: list[Command] = [
    DELETION,
    DeleteRange(b"a"),
    Compact(2),
    LeaseExpire(5, 1),
    LeaseRevoke(6),
]


def alarmed(kind: AlarmKind) -> Store:
    store = Store()
    for command in (Put(b"a"), LeaseGrant(5, 60), LeaseGrant(6, 60)):
        store.apply(command)
    store.apply(AlarmSwitch(Alarm(1, kind), True))
    return store


@pytest.mark.parametrize("command", CHANGES)
def test_no_space_refuses_what_could_grow(command: Command) -> None:
    store = alarmed(AlarmKind.NOSPACE)
    before = store.state_digest()
    with pytest.raises(SpaceExceeded):
        store.apply(command)
    assert store.state_digest() == before


def test_no_space_lets_the_rest_pass() -> None:
    store = alarmed(AlarmKind.NOSPACE)
    for command in (*OTHERS, LeaseRenew((7,)), AlarmSwitch(Alarm(1, AlarmKind.NOSPACE), False)):
        store.apply(command)
    store.apply(Put(b"k"))


@pytest.mark.parametrize("command", [*CHANGES, *OTHERS])
def test_corrupt_refuses_every_change(command: Command) -> None:
    store = alarmed(AlarmKind.CORRUPT)
    before = store.state_digest()
    with pytest.raises(ClusterCorrupt):
        store.apply(command)
    assert store.state_digest() == before

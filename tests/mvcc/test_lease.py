"""Leases in the state machine: attached keys, revocation, renewals, expiry by renewal number."""

from __future__ import annotations

import pytest

from racos.mvcc.command import (
    Compare,
    CompareResult,
    CompareTarget,
    DeleteRange,
    LeaseEndResult,
    LeaseExpire,
    LeaseGrant,
    LeaseGrantResult,
    LeaseRenew,
    LeaseRenewResult,
    LeaseRevoke,
    Put,
    Txn,
)
from racos.mvcc.errors import LeaseExists, LeaseNotFound
from racos.mvcc.store import Store


def keys(store: Store, id_: int) -> list[bytes]:
    lease = store.leases.get(id_)
    assert lease is not None
    return lease.sorted_keys()


def renewal(store: Store, id_: int) -> int:
    lease = store.leases.get(id_)
    assert lease is not None
    return lease.renewal


@pytest.fixture
def store() -> Store:
    """Leases 7 and 9; c, a and b on 7 (revisions 2 to 4), d on none (5)."""
    store = Store()
    store.apply(LeaseGrant(7, 60))
    store.apply(LeaseGrant(9, 30))
    for key in (b"c", b"a", b"b"):
        store.apply(Put(key, key, lease=7))
    store.apply(Put(b"d", b"d"))
    return store


def test_a_grant_takes_no_revision_and_its_id_only_once() -> None:
    store = Store()
    assert store.apply(LeaseGrant(-5, 2)) == LeaseGrantResult(1, -5, 2)
    with pytest.raises(LeaseExists):
        store.apply(LeaseGrant(-5, 3))


def test_a_revocation_deletes_the_keys_in_key_order_in_one_revision(store: Store) -> None:
    assert store.apply(LeaseRevoke(7)) == LeaseEndResult(6, True)
    ((revision, events),) = store.history(6, 6)
    assert revision == 6
    assert [(event.is_delete, event.kv.key) for event in events] == [
        (True, b"a"),
        (True, b"b"),
        (True, b"c"),
    ]
    assert all(event.prev_kv is not None and event.prev_kv.lease == 7 for event in events)
    assert 7 not in store.leases


def test_a_revocation_without_keys_takes_no_revision(store: Store) -> None:
    assert store.apply(LeaseRevoke(9)) == LeaseEndResult(5, True)
    with pytest.raises(LeaseNotFound):
        store.apply(LeaseRevoke(9))


@pytest.mark.parametrize(
    ("command", "seven", "nine"),
    [
        (Put(b"a", b"w"), [b"b", b"c"], []),
        (Put(b"a", b"w", lease=9), [b"b", b"c"], [b"a"]),
        (Put(b"a", b"w", lease=7), [b"a", b"b", b"c"], []),
        (Put(b"a", b"w", ignore_lease=True), [b"a", b"b", b"c"], []),
        (Put(b"d", b"w", lease=9), [b"a", b"b", b"c"], [b"d"]),
        (DeleteRange(b"a", b"c"), [b"c"], []),
        (DeleteRange(b"d"), [b"a", b"b", b"c"], []),
    ],
)
@pytest.mark.parametrize("in_txn", [False, True])
def test_what_a_write_does_to_attachments(
    store: Store, command: Put | DeleteRange, seven: list[bytes], nine: list[bytes], in_txn: bool
) -> None:
    store.apply(Txn((), (command,)) if in_txn else command, want_result=False)
    assert (keys(store, 7), keys(store, 9)) == (seven, nine)


def test_a_key_deleted_and_put_again_in_one_txn_hangs_on_the_new_lease(store: Store) -> None:
    store.apply(Txn((), (DeleteRange(b"a", b"z"), Put(b"a", lease=9), Put(b"e", lease=9))))
    assert (keys(store, 7), keys(store, 9)) == ([], [b"a", b"e"])


def test_a_refused_txn_attaches_nothing(store: Store) -> None:
    with pytest.raises(LeaseNotFound):
        store.apply(Txn((), (Put(b"e", lease=9), Put(b"f", lease=8))))
    assert keys(store, 9) == []


def test_a_guard_can_ask_for_the_lease(store: Store) -> None:
    guard = Compare(CompareResult.EQUAL, CompareTarget.LEASE, b"a", 7)
    assert store.read_txn(Txn((guard,))).succeeded
    store.apply(LeaseRevoke(7))
    assert not store.read_txn(Txn((guard,))).succeeded


def test_renewals_answer_for_each_lease_in_order(store: Store) -> None:
    assert store.apply(LeaseRenew((9, 8, 7))) == LeaseRenewResult(5, (30, 0, 60))


def test_an_expiry_acts_only_if_nothing_was_renewed_since(store: Store) -> None:
    seen = renewal(store, 7)
    store.apply(LeaseRenew((7,)))
    assert store.apply(LeaseExpire(7, seen)) == LeaseEndResult(5, False)
    assert store.apply(LeaseExpire(7, renewal(store, 7))) == LeaseEndResult(6, True)
    assert store.apply(LeaseExpire(7, renewal(store, 9))) == LeaseEndResult(6, False)


def test_an_expiry_still_under_way_does_not_end_a_lease_granted_anew_with_its_id() -> None:
    store = Store()
    store.apply(LeaseGrant(7, 2))
    late = LeaseExpire(7, renewal(store, 7))
    store.apply(late)
    store.apply(LeaseGrant(7, 60))
    assert store.apply(late) == LeaseEndResult(1, False)
    assert 7 in store.leases


def test_the_listener_hears_of_grants_renewals_and_ends() -> None:
    store, heard = Store(), list[int]()
    store.leases.listener = heard.append
    store.apply(LeaseGrant(7, 2))
    store.apply(Put(b"k", lease=7))
    store.apply(LeaseRenew((7, 8)))
    store.apply(LeaseRevoke(7), want_result=False)
    assert heard == [7, 7, 7]


def test_the_digest_covers_leases(store: Store) -> None:
    digests = {store.state_digest()}
    for command in (LeaseRenew((7,)), LeaseRevoke(9), LeaseGrant(9, 30), LeaseGrant(8, 30)):
        store.apply(command)
        digests.add(store.state_digest())
    assert len(digests) == 5

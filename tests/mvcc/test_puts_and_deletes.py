"""Revisions, versions and what single writes answer."""

from __future__ import annotations

import pytest

from racos.mvcc.command import (
    DeleteRange,
    DeleteResult,
    KeyValue,
    LeaseGrant,
    Put,
    PutResult,
    Range,
)
from racos.mvcc.errors import KeyNotFound, LeaseNotFound
from racos.mvcc.store import Store
from tests.mvcc.coded import coded


def get(store: Store, key: bytes, revision: int = 0) -> KeyValue | None:
    kvs = store.range(Range(key, revision=revision)).kvs
    return kvs[0] if kvs else None


def test_an_empty_store_is_at_revision_1_and_was_never_compacted() -> None:
    store = Store()
    assert (store.revision, store.compact_revision) == (1, -1)


def test_the_first_write_has_revision_2() -> None:
    store = Store()
    assert store.apply(Put(b"k", b"v")) == PutResult(2, None)
    assert get(store, b"k") == KeyValue(b"k", 2, 2, 1, b"v", 0)


def test_a_put_of_the_same_value_is_a_change() -> None:
    store = Store()
    store.apply(Put(b"k", b"v"))
    assert store.apply(Put(b"k", b"v", prev_kv=True)) == PutResult(
        3, KeyValue(b"k", 2, 2, 1, b"v", 0)
    )
    assert get(store, b"k") == KeyValue(b"k", 2, 3, 2, b"v", 0)


def test_a_deleted_key_starts_again_at_version_1() -> None:
    store = Store()
    for command in (Put(b"k", b"a"), Put(b"k", b"b"), DeleteRange(b"k")):
        store.apply(command)
    assert store.apply(Put(b"k", b"c", prev_kv=True)) == PutResult(5, None)
    assert get(store, b"k") == KeyValue(b"k", 5, 5, 1, b"c", 0)


def test_a_delete_of_nothing_takes_no_revision() -> None:
    store = Store()
    assert store.apply(DeleteRange(b"k")) == DeleteResult(1, 0, ())
    assert store.revision == 1


def test_a_range_delete_is_one_revision_and_shows_the_keys_in_order() -> None:
    store = Store()
    for key in (b"b", b"a", b"c"):
        store.apply(Put(key, key))
    result = store.apply(DeleteRange(b"a", b"c", prev_kv=True))
    assert isinstance(result, DeleteResult)
    assert (result.revision, result.deleted) == (5, 2)
    assert [kv.key for kv in result.prev_kvs] == [b"a", b"b"]
    assert store.count(b"\0", b"\0") == 1


def test_a_delete_shows_previous_versions_only_when_asked() -> None:
    store = Store()
    store.apply(Put(b"a"))
    assert store.apply(DeleteRange(b"a")) == DeleteResult(3, 1, ())


@pytest.mark.parametrize("flags", [(True, False), (False, True), (True, True)])
def test_taking_over_from_a_missing_key_is_refused(flags: tuple[bool, bool]) -> None:
    store = Store()
    with pytest.raises(KeyNotFound):
        store.apply(Put(b"k", ignore_value=flags[0], ignore_lease=flags[1]))
    assert store.revision == 1


def test_ignore_value_keeps_the_old_value_object() -> None:
    store, value = Store(), coded(b"large")
    store.apply(Put(b"k", value))
    store.apply(Put(b"k", ignore_value=True))
    kv = get(store, b"k")
    assert kv is not None
    assert kv.value is value
    assert kv.version == 2


def test_an_unknown_lease_is_refused_and_nothing_written() -> None:
    store = Store()
    with pytest.raises(LeaseNotFound):
        store.apply(Put(b"k", b"v", lease=5))
    assert (store.revision, get(store, b"k")) == (1, None)


def test_the_lease_is_looked_for_before_the_key_in_a_single_put() -> None:
    with pytest.raises(LeaseNotFound):
        Store().apply(Put(b"k", lease=5, ignore_value=True))


@pytest.mark.parametrize(
    ("put", "lease"),
    [
        (Put(b"k", b"w"), 0),
        (Put(b"k", b"w", lease=9), 9),
        (Put(b"k", b"w", ignore_lease=True), 7),
        (Put(b"k", lease=9, ignore_value=True), 9),
    ],
)
def test_each_put_decides_the_lease_anew(put: Put, lease: int) -> None:
    store = Store()
    for id_ in (7, 9):
        store.apply(LeaseGrant(id_, 60))
    store.apply(Put(b"k", b"v", lease=7))
    store.apply(put)
    kv = get(store, b"k")
    assert kv is not None
    assert kv.lease == lease


def test_old_revisions_show_what_was_there() -> None:
    store = Store()
    for command in (Put(b"k", b"a"), Put(b"k", b"b"), DeleteRange(b"k"), Put(b"k", b"c")):
        store.apply(command)
    seen = [get(store, b"k", revision) for revision in range(1, 6)]
    assert [None if kv is None else kv.value for kv in seen] == [None, b"a", b"b", None, b"c"]


def test_no_result_is_built_when_none_is_wanted() -> None:
    store = Store()
    assert store.apply(Put(b"k"), want_result=False) is None
    assert store.apply(DeleteRange(b"k"), want_result=False) is None
    assert store.revision == 3
    with pytest.raises(KeyNotFound):
        store.apply(Put(b"k", ignore_value=True), want_result=False)


def test_equal_states_have_equal_digests_however_values_are_kept() -> None:
    one, other = Store(), Store()
    one.apply(Put(b"k", b"large"))
    other.apply(Put(b"k", coded(b"large")), want_result=False)
    assert one.state_digest() == other.state_digest()
    other.apply(Put(b"k", b"large"))
    assert one.state_digest() != other.state_digest()

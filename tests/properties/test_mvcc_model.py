"""The store against the simple model, command by command, with everything a client could see."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from racos.mvcc.command import (
    Command,
    Compact,
    LeaseExpire,
    LeaseGrant,
    LeaseRenew,
    LeaseRevoke,
    Put,
    Range,
    Txn,
    Value,
)
from racos.mvcc.errors import StoreError
from racos.mvcc.store import Store
from tests.mvcc import strategies
from tests.mvcc.coded import load, plain_command, plain_event, plain_result
from tests.mvcc.model import Model

pytestmark = pytest.mark.slow


class StoreAgainstModel(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.store = Store()
        self.quiet = Store()  # a replica that owes nobody an answer
        self.model = Model()
        for lease in sorted(strategies.LEASES):
            self.apply(LeaseGrant(lease, 5))

    @rule(command=strategies.puts)
    def put(self, command: Put) -> None:
        self.apply(command)

    @rule(command=strategies.puts, count=st.integers(1, 3))
    def put_plainly(self, command: Put, count: int) -> None:
        for _ in range(count):
            self.apply(Put(command.key, command.value))

    @rule(value=strategies.values)
    def fill(self, value: Value) -> None:
        """Ranges mean little over the few keys that random deletes leave."""
        for key in strategies.KEYS:
            self.apply(Put(key, value))

    @rule(command=strategies.deletes)
    def delete(self, command: Command) -> None:
        self.apply(command)

    @rule(lease=strategies.lease_ids, ttl=st.integers(2, 9))
    def grant(self, lease: int, ttl: int) -> None:
        self.apply(LeaseGrant(lease, ttl))

    @rule(lease=strategies.lease_ids)
    def revoke(self, lease: int) -> None:
        self.apply(LeaseRevoke(lease))

    @rule(leases=st.lists(strategies.lease_ids, max_size=3))
    def renew(self, leases: list[int]) -> None:
        self.apply(LeaseRenew(tuple(leases)))

    @rule(lease=strategies.lease_ids, behind=st.sampled_from([0, 0, 1, -1]))
    def expire(self, lease: int, behind: int) -> None:
        _, renewal = self.model.leases.get(lease, (0, self.model.renewals))
        self.apply(LeaseExpire(lease, renewal - behind))

    @rule(command=strategies.txns())
    def txn(self, command: Txn) -> None:
        self.apply(command)

    @rule(revision=st.integers(-1, strategies.REVISIONS_MAX))
    def compact(self, revision: int) -> None:
        self.apply(Compact(revision))

    @precondition(lambda self: self.model.revision > 2)
    @rule(back=st.integers(0, 3))
    def compact_near(self, back: int) -> None:
        self.apply(Compact(self.model.revision - back))

    @rule(versions=st.integers(1, 5))
    def drop_some_compacted_versions(self, versions: int) -> None:
        self.store.compact_some(versions)

    @rule(keys=st.integers(1, 4))
    def load_some_keys(self, keys: int) -> None:
        self.store.load_some(keys)

    @rule()
    def restart(self) -> None:
        """The store begins anew with what the shelf has."""
        self.store.commit()
        self.store = Store(self.store.shelf, cache_bytes=1000, recent_bytes=1000)

    @rule(requests=st.lists(strategies.ranges(), min_size=1, max_size=4))
    def read(self, requests: list[Range]) -> None:
        for request in requests:
            self.compare_range(request)

    @rule(requests=st.lists(strategies.ranges(), min_size=1, max_size=4), back=st.integers(0, 4))
    def read_near(self, requests: list[Range], back: int) -> None:
        revision = max(1, self.model.revision - back)
        for request in requests:
            self.compare_range(request._replace(revision=revision))

    @rule(txn=strategies.read_txns())
    def read_txn(self, txn: Txn) -> None:
        loaded = load(self.store.values_needed(txn))
        self.compare(
            lambda: self.store.read_txn(txn, loaded),
            lambda: self.model.read_txn(txn),
        )

    @rule(key=strategies.keys, end=strategies.range_ends, revision=strategies.revisions)
    def count(self, key: bytes, end: bytes, revision: int) -> None:
        counted = outcome(lambda: self.store.count(key, end, revision))
        request = Range(key, end, revision=revision)
        assert counted == outcome(lambda: self.model.range(request).count)

    @rule(start=st.integers(-1, strategies.REVISIONS_MAX), length=st.integers(-1, 40))
    def history(self, start: int, length: int) -> None:
        self.compare_history(start, start + length)

    @rule(above=st.integers(-1, 1))
    def history_from_the_compaction(self, above: int) -> None:
        self.compare_history(self.model.compact_revision + above, self.model.revision)

    @invariant()
    def revisions_agree(self) -> None:
        assert self.store.revision == self.model.revision
        assert self.store.compact_revision == self.model.compact_revision

    @invariant()
    def exactly_the_right_versions_are_kept(self) -> None:
        expected = self.model.digest()
        assert self.store.state_digest() == expected
        assert self.quiet.state_digest() == expected

    @invariant()
    def leases_have_the_keys_that_name_them(self) -> None:
        found = {lease.id: lease.sorted_keys() for lease in self.store.leases}
        assert found == {id_: self.model.attached(id_) for id_ in self.model.leases}

    def apply(self, command: Command) -> None:
        loaded = load(self.store.values_needed(command))
        quietly = outcome(lambda: self.quiet.apply(command, loaded, want_result=False))
        simple = plain_command(command)
        result = self.compare(
            lambda: self.store.apply(command, loaded),
            lambda: self.model.apply(simple),
        )
        assert isinstance(quietly, type) == isinstance(result, type)

    def compare_history(self, start: int, end: int) -> None:
        found = outcome(lambda: list(self.store.history(start, end)))
        if isinstance(found, list):
            found = [(rev, [plain_event(event) for event in events]) for rev, events in found]
        assert found == outcome(lambda: self.model.history(start, end))

    def compare_range(self, request: Range) -> None:
        self.compare(lambda: self.store.range(request), lambda: self.model.range(request))

    def compare(self, ours: Callable[[], Any], theirs: Callable[[], Any]) -> object:
        result = outcome(ours)
        if not isinstance(result, type):
            result = plain_result(result)
        assert result == outcome(theirs)
        return result


def outcome(call: Callable[[], Any]) -> Any:
    """What a call returned, or the type of its refusal."""
    try:
        return call()
    except StoreError as error:
        return type(error)


TestStoreAgainstModel = StoreAgainstModel.TestCase
TestStoreAgainstModel.settings = settings(
    max_examples=25, stateful_step_count=30, deadline=None, derandomize=True, database=None
)

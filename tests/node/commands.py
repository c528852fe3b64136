"""Hypothesis strategies for commands of the state machine."""

from __future__ import annotations

from hypothesis import strategies as st

from racos.mvcc.command import (
    Command,
    Compact,
    Compare,
    DeleteRange,
    LeaseExpire,
    LeaseGrant,
    LeaseRenew,
    LeaseRevoke,
    Operation,
    Put,
    Range,
    Txn,
)

keys = st.binary(min_size=1, max_size=6)
values = st.binary(max_size=40)
numbers = st.integers(0, 2**62)

puts = st.builds(Put, keys, values, st.integers(0, 5), st.booleans(), st.booleans(), st.booleans())
deletes = st.builds(DeleteRange, keys, st.binary(max_size=3), st.booleans())
ranges = st.builds(
    Range,
    keys,
    st.binary(max_size=3),
    st.integers(-1, 9),
    st.integers(-1, 9),
    st.integers(0, 2),
    st.integers(0, 4),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    numbers,
    numbers,
    numbers,
    numbers,
)
compares = st.one_of(
    st.builds(Compare, st.integers(0, 3), st.sampled_from([0, 1, 2, 4]), keys, numbers),
    st.builds(Compare, st.integers(0, 3), st.just(3), keys, values, st.binary(max_size=2)),
)


def _txns(children: st.SearchStrategy[Operation]) -> st.SearchStrategy[Txn]:
    branch = st.lists(children, max_size=3).map(tuple)
    return st.builds(Txn, st.lists(compares, max_size=3).map(tuple), branch, branch)


operations: st.SearchStrategy[Operation] = st.recursive(
    st.one_of(puts, deletes, ranges), _txns, max_leaves=6
)
txns = _txns(operations)
lease_ids = st.integers(-(2**63), 2**63 - 1)
leases: st.SearchStrategy[Command] = st.one_of(
    st.builds(LeaseGrant, lease_ids, numbers),
    st.builds(LeaseRevoke, lease_ids),
    st.builds(LeaseRenew, st.lists(lease_ids, max_size=3).map(tuple)),
    st.builds(LeaseExpire, lease_ids, numbers),
)
commands: st.SearchStrategy[Command] = st.one_of(
    puts, deletes, txns, st.builds(Compact, numbers, st.booleans()), leases
)

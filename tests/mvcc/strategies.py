"""Random commands over a keyspace so small that everything collides with everything."""

from __future__ import annotations

from hypothesis import strategies as st

from racos.mvcc.command import (
    Compare,
    CompareTarget,
    DeleteRange,
    Operation,
    Put,
    Range,
    Txn,
)
from tests.mvcc.coded import coded

LEASES = frozenset({7, 9})  # granted at the beginning
REVISIONS_MAX = 30  # a run seldom gets further, so revisions of every kind occur

KEYS = (b"\0", b"a", b"aa", b"ab", b"b", b"c", b"\xff")

keys = st.sampled_from(KEYS)
range_ends = st.sampled_from([b"", b"", b"\0", b"a", b"ab", b"b", b"d", b"\xff\xff"])
literals = st.sampled_from([b"", b"m", b"mm", b"n", b"nn"])
values = literals | st.builds(coded, st.sampled_from([b"m", b"mm", b"nn"]), st.integers(0, 2))
revisions = st.just(0) | st.integers(-2, REVISIONS_MAX)
bounds = st.sampled_from(
    [0, 0, 0, 0, 2, 3, 4, 6, 9, 14, -1]
)  # mostly off, and low as revisions are
flags = st.booleans()
lease_ids = st.sampled_from([7, 7, 9, 8])
leases = st.sampled_from([0, 0, 0, 7, 9, 8])  # 8 seldom exists

puts = st.builds(Put, keys, values, leases, flags, st.just(False), st.just(False)) | st.builds(
    Put, keys, values, leases, flags, flags, flags
)
deletes = st.builds(DeleteRange, keys, range_ends, flags)
wide_ends = st.sampled_from([b"\0", b"\xff\xff", b"c"]) | range_ends
unfiltered = st.builds(
    Range,
    keys,
    wide_ends,
    st.integers(-1, 4),
    revisions,
    st.integers(0, 2),
    st.integers(0, 4),
    flags,
    flags,
    st.sampled_from([False, False, True]),
)
filtered = st.builds(
    Range,
    keys,
    wide_ends,
    st.integers(-1, 4),
    revisions,
    st.integers(0, 2),
    st.integers(0, 4),
    flags,
    flags,
    st.sampled_from([False, False, True]),
    bounds,
    bounds,
    bounds,
    bounds,
)

_numbers = st.sampled_from([t for t in CompareTarget if t is not CompareTarget.VALUE])
compares = st.builds(
    Compare, st.integers(0, 3), _numbers, keys, st.integers(0, REVISIONS_MAX), range_ends
) | st.builds(Compare, st.integers(0, 3), st.just(CompareTarget.VALUE), keys, literals, range_ends)


def _txns(operations: st.SearchStrategy[Operation]) -> st.SearchStrategy[Txn]:
    branch = st.lists(operations, max_size=4).map(tuple)
    return st.builds(Txn, st.lists(compares, max_size=2).map(tuple), branch, branch)


# Composites, because Hypothesis prints strategies and these would otherwise print all they contain.


@st.composite
def ranges(draw: st.DrawFn) -> Range:
    return draw(unfiltered | filtered)


@st.composite
def _leaves(draw: st.DrawFn) -> Operation:
    return draw(puts | deletes | ranges())


@st.composite
def txns(draw: st.DrawFn) -> Txn:
    return draw(_txns(_leaves() | _txns(_leaves() | _txns(_leaves()))))


@st.composite
def read_txns(draw: st.DrawFn) -> Txn:
    return draw(_txns(ranges() | _txns(ranges())))

"""Transactions: guards first, checks second, writes last."""

from __future__ import annotations

import pytest

from racos.mvcc.command import (
    Compact,
    Compare,
    CompareResult,
    CompareTarget,
    DeleteRange,
    DeleteResult,
    KeyValue,
    LeaseGrant,
    Operation,
    Put,
    PutResult,
    Range,
    RangeResult,
    Txn,
    TxnResult,
)
from racos.mvcc.errors import (
    Compacted,
    FutureRevision,
    KeyNotFound,
    LeaseNotFound,
    StoreError,
)
from racos.mvcc.store import Store
from tests.mvcc.coded import coded, load

EQUAL, GREATER, LESS, NOT_EQUAL = CompareResult
VERSION, CREATE, MOD, VALUE, LEASE = CompareTarget


@pytest.fixture
def store() -> Store:
    """a at revision 2, b at 3 and 4 with lease 7."""
    store = Store()
    for command in (LeaseGrant(7, 60), Put(b"a", b"m"), Put(b"b", b"n"), Put(b"b", b"n", lease=7)):
        store.apply(command)
    return store


def passes(store: Store, *compares: Compare) -> bool:
    result = store.read_txn(Txn(compares))
    return result.succeeded


def run(store: Store, *operations: Operation) -> TxnResult:
    result = store.apply(Txn((), operations))
    assert isinstance(result, TxnResult)
    return result


def test_no_guards_succeed(store: Store) -> None:
    assert passes(store)


def test_a_transaction_without_changes_takes_no_revision(store: Store) -> None:
    assert store.apply(Txn()) == TxnResult(4, True, ())
    assert run(store, DeleteRange(b"x"), Range(b"x")).revision == 4
    assert store.revision == 4


@pytest.mark.parametrize(("target", "actual"), [(VERSION, 2), (CREATE, 3), (MOD, 4), (LEASE, 7)])
def test_numbers_compare_in_every_way(store: Store, target: int, actual: int) -> None:
    for operand in (actual - 1, actual, actual + 1):
        assert passes(store, Compare(EQUAL, target, b"b", operand)) == (actual == operand)
        assert passes(store, Compare(GREATER, target, b"b", operand)) == (actual > operand)
        assert passes(store, Compare(LESS, target, b"b", operand)) == (actual < operand)
        assert passes(store, Compare(NOT_EQUAL, target, b"b", operand)) == (actual != operand)


@pytest.mark.parametrize("target", [VERSION, CREATE, MOD, LEASE])
def test_a_missing_key_compares_as_zero(store: Store, target: int) -> None:
    assert passes(store, Compare(EQUAL, target, b"x", 0))
    assert passes(store, Compare(LESS, target, b"x", 1))
    assert not passes(store, Compare(NOT_EQUAL, target, b"x", 0))


@pytest.mark.parametrize("result", CompareResult)
def test_a_missing_key_has_no_value_to_compare(store: Store, result: int) -> None:
    assert not passes(store, Compare(result, VALUE, b"x", b""))
    assert not passes(store, Compare(result, VALUE, b"x", b"", b"y"))


def test_an_operand_of_the_wrong_kind_counts_as_unset(store: Store) -> None:
    assert passes(store, Compare(EQUAL, VERSION, b"x", b"2"))
    assert passes(store, Compare(GREATER, VALUE, b"a", 2))


def test_a_range_guard_needs_every_key(store: Store) -> None:
    assert passes(store, Compare(GREATER, MOD, b"a", 1, b"c"))
    assert not passes(store, Compare(GREATER, MOD, b"a", 2, b"\0"))
    assert passes(store, Compare(EQUAL, MOD, b"x", 0, b"y"))
    assert not passes(store, Compare(EQUAL, VALUE, b"a", b"m", b"c"))


def test_every_guard_must_hold(store: Store) -> None:
    holds, fails = Compare(EQUAL, VERSION, b"a", 1), Compare(EQUAL, VERSION, b"a", 2)
    assert passes(store, holds, holds)
    assert not passes(store, holds, fails)
    assert not passes(store, fails, holds)


def test_guards_of_nested_transactions_see_the_state_before_everything(store: Store) -> None:
    nested = Txn((Compare(EQUAL, VERSION, b"x", 0),), (Put(b"y"),), (Put(b"z"),))
    result = run(store, Put(b"x"), nested)
    assert result == TxnResult(
        5, True, (PutResult(5, None), TxnResult(0, True, (PutResult(5, None),)))
    )
    assert store.count(b"y") == 1


def test_operations_see_earlier_writes_of_the_same_transaction(store: Store) -> None:
    put, seen, gone, after, old = run(
        store,
        Put(b"x", b"v"),
        Range(b"x"),
        DeleteRange(b"a", b"b", prev_kv=True),
        Range(b"\0", b"\0", count_only=True),
        Range(b"a", revision=4),
    ).responses
    first = KeyValue(b"a", 2, 2, 1, b"m", 0)
    assert put == PutResult(5, None)
    assert seen == RangeResult(5, (KeyValue(b"x", 5, 5, 1, b"v", 0),), 1, False)
    assert gone == DeleteResult(5, 1, (first,))
    assert after == RangeResult(5, (), 2, False)
    assert old == RangeResult(5, (first,), 1, False)


def test_answers_before_the_first_change_carry_the_revision_before(store: Store) -> None:
    seen, nothing, _, later = run(
        store, Range(b"a"), DeleteRange(b"x"), Put(b"x"), DeleteRange(b"q")
    ).responses
    assert [seen.revision, nothing.revision, later.revision] == [4, 4, 5]


def test_changes_share_one_revision_in_operation_order(store: Store) -> None:
    run(store, Put(b"y"), DeleteRange(b"a", b"c"), Put(b"x"))
    [(revision, events)] = store.history(5, 5)
    assert revision == 5
    assert [(event.is_delete, event.kv.key) for event in events] == [
        (False, b"y"),
        (True, b"a"),
        (True, b"b"),
        (False, b"x"),
    ]
    assert {event.kv.mod_revision for event in events} == {5}


@pytest.mark.parametrize(
    ("operation", "refusal"),
    [
        (Put(b"x", ignore_value=True), KeyNotFound),
        (Put(b"x", ignore_lease=True), KeyNotFound),
        (Put(b"x", lease=8), LeaseNotFound),
        (Put(b"x", lease=8, ignore_value=True), KeyNotFound),
        (Range(b"a", revision=5), FutureRevision),
        (Range(b"a", revision=2), Compacted),
        (Range(b"a", revision=-1), Compacted),
        (Txn((), (Range(b"a", revision=5),)), FutureRevision),
    ],
)
def test_a_failing_check_changes_nothing(
    store: Store, operation: Operation, refusal: type[StoreError]
) -> None:
    store.apply(Compact(3))
    before = store.state_digest()
    with pytest.raises(refusal):
        run(store, Put(b"w"), operation)
    with pytest.raises(refusal):
        store.apply(Txn((), (Put(b"w"), operation)), want_result=False)
    assert store.state_digest() == before
    assert list(store.history(5, 9)) == []


def test_only_the_chosen_path_is_checked(store: Store) -> None:
    txn = Txn((Compare(EQUAL, VERSION, b"a", 9),), (Range(b"a", revision=99),), (Put(b"w"),))
    assert store.apply(txn) == TxnResult(5, False, (PutResult(5, None),))


def test_puts_are_checked_before_ranges(store: Store) -> None:
    with pytest.raises(LeaseNotFound):
        run(store, Range(b"a", revision=99), Txn((), (Put(b"w", lease=8),)))


def test_a_key_written_in_the_transaction_does_not_exist_for_checks(store: Store) -> None:
    with pytest.raises(KeyNotFound):
        run(store, Put(b"x"), Put(b"x", ignore_value=True))


def test_a_negative_revision_reads_now_unless_below_the_compaction(store: Store) -> None:
    [seen] = run(store, Range(b"a", revision=-1)).responses
    assert isinstance(seen, RangeResult)
    assert seen.count == 1
    with pytest.raises(Compacted):
        run(store, Range(b"a", revision=-2))


def test_reading_transactions_are_checked_the_same_way(store: Store) -> None:
    nested = Txn((Compare(EQUAL, VERSION, b"a", 9),), (), (Range(b"b", revision=3),))
    old = KeyValue(b"b", 3, 3, 1, b"n", 0)
    assert store.read_txn(Txn((), (nested,))) == TxnResult(
        4, True, (TxnResult(0, False, (RangeResult(4, (old,), 1, False),)),)
    )
    with pytest.raises(FutureRevision):
        store.read_txn(Txn((), (Range(b"b", revision=5),)))


def test_a_transaction_that_may_write_is_not_a_reading_one(store: Store) -> None:
    with pytest.raises(ValueError, match="ranges only"):
        store.read_txn(Txn((), (), (Txn((), (DeleteRange(b"a"),)),)))


def test_no_result_is_built_when_none_is_wanted(store: Store) -> None:
    assert store.apply(Txn((), (Put(b"x"), Range(b"x"))), want_result=False) is None
    assert store.revision == 5


class TestGuardsOnCodedValues:
    """The store knows length and digest of a coded value, not its bytes."""

    @pytest.fixture
    def store(self) -> Store:
        store = Store()
        store.apply(Put(b"k", coded(b"mm")))
        return store

    @pytest.mark.parametrize("literal", [b"", b"m", b"mm", b"mn", b"mmm"])
    def test_equality_needs_no_bytes(self, store: Store, literal: bytes) -> None:
        for result in (EQUAL, NOT_EQUAL):
            txn = Txn((Compare(result, VALUE, b"k", literal),))
            assert store.values_needed(txn) == ()
            assert store.read_txn(txn).succeeded == ((literal == b"mm") == (result == EQUAL))

    @pytest.mark.parametrize(
        ("literal", "needed"), [(b"", False), (b"mm", False), (b"ml", True), (b"n", True)]
    )
    def test_order_needs_bytes_unless_it_follows(
        self, store: Store, literal: bytes, needed: bool
    ) -> None:
        for result in (GREATER, LESS):
            txn = Txn((Compare(result, VALUE, b"k", literal),))
            values = store.values_needed(txn)
            assert values == ((coded(b"mm"),) if needed else ())
            expected = literal < b"mm" if result == GREATER else literal > b"mm"
            assert store.read_txn(txn, load(values)).succeeded == expected

    def test_a_guard_known_to_fail_makes_the_others_unimportant(self, store: Store) -> None:
        ordered, fails = Compare(LESS, VALUE, b"k", b"n"), Compare(EQUAL, VERSION, b"k", 9)
        txn = Txn((ordered, fails))
        assert store.values_needed(txn) == ()
        assert not store.read_txn(txn).succeeded

    def test_both_branches_count_while_undecided_and_one_when_decided(self, store: Store) -> None:
        store.apply(Put(b"l", coded(b"ll")))
        undecided, inner = Compare(LESS, VALUE, b"k", b"n"), Compare(LESS, VALUE, b"l", b"n")
        nested = Txn((inner,))
        both = (coded(b"mm"), coded(b"ll"))
        assert store.values_needed(Txn((undecided,), (), (nested,))) == both
        decided = Compare(EQUAL, VERSION, b"k", 1)
        assert store.values_needed(Txn((decided,), (), (nested,))) == ()
        assert store.values_needed(Txn((decided,), (nested,))) == both[1:]

    def test_other_commands_need_nothing(self, store: Store) -> None:
        assert store.values_needed(Put(b"k")) == ()

    def test_applying_without_the_bytes_is_a_programming_error(self, store: Store) -> None:
        with pytest.raises(AssertionError, match="not loaded"):
            store.apply(Txn((Compare(LESS, VALUE, b"k", b"n"),)))

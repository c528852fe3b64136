"""Range: bounds, count, limit, filters and order."""

from __future__ import annotations

import pytest

from racos.mvcc.command import Compact, DeleteRange, Put, Range, RangeResult, SortOrder, SortTarget
from racos.mvcc.errors import Compacted, FutureRevision
from racos.mvcc.ranges import finish
from racos.mvcc.store import Store
from tests.mvcc.coded import coded, plain_kv

ALL = (b"\0", b"\0")


@pytest.fixture
def store() -> Store:
    """Keys a..e created at 2..6; then b put again (7) and d put twice (8, 9)."""
    store = Store()
    for key, value in ((b"a", b"5"), (b"b", b"4"), (b"c", b"3"), (b"d", b"2"), (b"e", b"1")):
        store.apply(Put(key, value))
    for key in (b"b", b"d", b"d"):
        store.apply(Put(key, ignore_value=True))
    return store


def keys(result: RangeResult) -> bytes:
    return b"".join(kv.key for kv in result.kvs)


@pytest.mark.parametrize(
    ("key", "range_end", "expected"),
    [
        (b"b", b"", b"b"),
        (b"x", b"", b""),
        (b"b", b"d", b"bc"),
        (b"b", b"\0", b"bcde"),
        (b"\0", b"\0", b"abcde"),
        (b"d", b"b", b""),
        (b"d", b"d", b""),
        (b"aa", b"cc", b"bc"),
    ],
)
def test_bounds(store: Store, key: bytes, range_end: bytes, expected: bytes) -> None:
    result = store.range(Range(key, range_end))
    assert (keys(result), result.count) == (expected, len(expected))
    old = store.range(Range(key, range_end, revision=8))
    assert (keys(old), old.count) == (expected, len(expected))


@pytest.mark.parametrize("revision", [0, 8])
def test_count_ignores_limit_and_filters(store: Store, revision: int) -> None:
    request = Range(*ALL, limit=1, revision=revision, min_create_revision=3)
    result = store.range(request)
    assert (keys(result), result.count, result.more) == (b"b", 5, True)


@pytest.mark.parametrize(
    ("limit", "expected", "more"),
    [(-1, b"abcde", False), (0, b"abcde", False), (4, b"abcd", True), (5, b"abcde", False)],
)
@pytest.mark.parametrize("revision", [0, 8])
def test_limit_and_more(
    store: Store, limit: int, expected: bytes, more: bool, revision: int
) -> None:
    result = store.range(Range(*ALL, limit=limit, revision=revision))
    assert (keys(result), result.more, result.count) == (expected, more, 5)


def test_more_counts_what_is_left_after_filters(store: Store) -> None:
    assert not store.range(Range(*ALL, limit=2, min_mod_revision=8)).more
    assert store.range(Range(*ALL, limit=1, min_mod_revision=6)).more


def test_count_only_has_no_keys_and_no_more(store: Store) -> None:
    assert store.range(Range(*ALL, limit=1, count_only=True)) == RangeResult(9, (), 5, False)
    assert store.range(Range(b"a", count_only=True)) == RangeResult(9, (), 1, False)
    assert store.range(Range(*ALL, revision=3, count_only=True)) == RangeResult(9, (), 2, False)


@pytest.mark.parametrize("range_end", [b"", b"\0"])
def test_keys_only_drops_values_and_nothing_else(store: Store, range_end: bytes) -> None:
    full = store.range(Range(b"e", range_end)).kvs
    assert store.range(Range(b"e", range_end, keys_only=True)).kvs == (full[0]._replace(value=b""),)


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (Range(*ALL, min_mod_revision=6), b"bde"),
        (Range(*ALL, max_mod_revision=6), b"ace"),
        (Range(*ALL, min_create_revision=4), b"cde"),
        (Range(*ALL, max_create_revision=4), b"abc"),
        (Range(*ALL, min_mod_revision=4, max_mod_revision=7), b"bce"),
        (Range(*ALL, max_mod_revision=-1), b""),
    ],
)
def test_filters_are_inclusive(store: Store, request_: Range, expected: bytes) -> None:
    assert keys(store.range(request_)) == expected


def test_a_filter_hides_a_single_key_but_not_its_count(store: Store) -> None:
    assert store.range(Range(b"a", min_mod_revision=3)) == RangeResult(9, (), 1, False)


@pytest.mark.parametrize(
    ("target", "ascending", "descending"),
    [
        (SortTarget.KEY, b"abcde", b"edcba"),
        (SortTarget.VERSION, b"acebd", b"dbace"),
        (SortTarget.CREATE, b"abcde", b"edcba"),
        (SortTarget.MOD, b"acebd", b"dbeca"),
        (SortTarget.VALUE, b"edcba", b"abcde"),
    ],
)
def test_order_comes_before_the_limit(
    store: Store, target: SortTarget, ascending: bytes, descending: bytes
) -> None:
    for order, expected in ((SortOrder.ASCEND, ascending), (SortOrder.DESCEND, descending)):
        request = Range(*ALL, limit=3, sort_order=order, sort_target=target)
        result = store.range(request)
        assert (keys(result), result.more, result.count) == (expected[:3], True, 5)
        assert keys(store.range(request._replace(limit=0, revision=0))) == expected


def test_a_target_without_an_order_ascends(store: Store) -> None:
    assert keys(store.range(Range(*ALL, sort_target=SortTarget.VALUE))) == b"edcba"


def test_a_target_without_an_order_sorts_only_the_first_keys_and_one_more(store: Store) -> None:
    result = store.range(Range(*ALL, limit=2, sort_target=SortTarget.VALUE))
    assert (keys(result), result.more) == (b"cb", True)


def test_an_old_revision_answers_with_the_current_one_in_its_header(store: Store) -> None:
    result = store.range(Range(*ALL, revision=4))
    assert (result.revision, keys(result), result.count) == (9, b"abc", 3)


def test_an_old_revision_shows_keys_deleted_since_and_hides_new_ones(store: Store) -> None:
    store.apply(DeleteRange(b"b", b"d"))
    store.apply(Put(b"bb"))
    assert keys(store.range(Range(*ALL, revision=9))) == b"abcde"
    assert keys(store.range(Range(*ALL, revision=10))) == b"ade"
    assert keys(store.range(Range(*ALL))) == b"abbde"


@pytest.mark.parametrize("revision", [-5, 0, 9])
def test_no_revision_and_negative_ones_mean_now(store: Store, revision: int) -> None:
    assert keys(store.range(Range(*ALL, revision=revision))) == b"abcde"


def test_a_future_revision_is_refused(store: Store) -> None:
    with pytest.raises(FutureRevision):
        store.range(Range(b"a", revision=10))
    with pytest.raises(FutureRevision):
        store.count(b"a", revision=10)


def test_an_order_and_a_target_not_known_sort_nothing(store: Store) -> None:
    assert keys(store.range(Range(*ALL, sort_order=9, sort_target=9))) == b"abcde"


class TestCodedValues:
    """Sorting by VALUE has to wait for the bytes; everything else does not."""

    @pytest.fixture
    def store(self) -> Store:
        store = Store()
        for key, value in ((b"a", coded(b"zz")), (b"b", b"m"), (b"c", coded(b"aa"))):
            store.apply(Put(key, value))
        return store

    @pytest.mark.parametrize(
        ("limit", "order", "expected", "more"),
        [
            (0, SortOrder.ASCEND, b"cba", False),
            (2, SortOrder.ASCEND, b"cb", True),
            (2, SortOrder.DESCEND, b"ab", True),
            (3, SortOrder.DESCEND, b"abc", False),
            (1, SortOrder.NONE, b"b", True),
        ],
    )
    @pytest.mark.parametrize("keys_only", [False, True])
    def test_finish_sorts_and_cuts(
        self,
        store: Store,
        limit: int,
        order: int,
        expected: bytes,
        more: bool,
        keys_only: bool,
    ) -> None:
        request = Range(*ALL, limit, 0, order, SortTarget.VALUE, keys_only=keys_only)
        waiting = store.range(request)
        assert waiting.finish == request
        result = finish(waiting, [plain_kv(kv) for kv in waiting.kvs])
        assert (keys(result), result.more, result.count) == (expected, more, 3)
        assert result.finish is None
        assert all((kv.value == b"") == keys_only for kv in result.kvs)

    @pytest.mark.parametrize(
        "request_",
        [
            Range(b"a", sort_target=SortTarget.VALUE),
            Range(b"b", b"c", sort_target=SortTarget.VALUE),
            Range(*ALL, sort_target=SortTarget.MOD),
            Range(*ALL, sort_target=SortTarget.VALUE, count_only=True),
            Range(*ALL, sort_target=SortTarget.VALUE, min_mod_revision=3, max_mod_revision=3),
        ],
    )
    def test_what_does_not_depend_on_bytes_is_finished(self, store: Store, request_: Range) -> None:
        assert store.range(request_).finish is None

    def test_finish_of_a_finished_result_only_fills_in_values(self, store: Store) -> None:
        result = store.range(Range(*ALL, limit=1))
        finished = finish(result, [plain_kv(kv) for kv in result.kvs])
        assert (finished.more, finished.count, finished.kvs[0].value) == (True, 3, b"zz")


def test_a_compacted_revision_is_refused(store: Store) -> None:
    store.apply(Compact(5))
    with pytest.raises(Compacted):
        store.range(Range(b"a", revision=4))
    assert keys(store.range(Range(b"a", revision=5))) == b"a"

"""Reading a range: which keys, in which order, how many, and whether there are more.

etcd's rules, kept to the letter because clients page by them: `count` is the number of keys in the
range whatever limit and filters say; filters come before sorting and sorting before the limit. One
accident is kept too: a sort target other than KEY without an order fetches limit + 1 keys in key
order first, and sorts only those.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any

from racos.mvcc.command import KeyValue, Range, RangeResult, SortOrder, SortTarget
from racos.mvcc.history import History
from racos.mvcc.keyindex import KeyIndex
from racos.mvcc.rewind import RewoundRange

_SORT_KEYS: dict[int, Callable[[KeyValue], Any]] = {
    SortTarget.VERSION: itemgetter(KeyValue._fields.index("version")),
    SortTarget.CREATE: itemgetter(KeyValue._fields.index("create_revision")),
    SortTarget.MOD: itemgetter(KeyValue._fields.index("mod_revision")),
    SortTarget.VALUE: itemgetter(KeyValue._fields.index("value")),
}


def evaluate(
    index: KeyIndex, request: Range, current: int, at: int, history: History | None = None
) -> RangeResult:
    """Answer `request` with header revision `current`.

    `at` is the old revision to read, already checked to be readable, or 0 for the present state.
    `history`, if it is complete up to the present state, makes reads at recent revisions cheap.
    """
    if not request.range_end:
        return _evaluate_key(index, request, current, at)
    if at:
        count, kvs = _fetch_past(index, request, at, history)
    else:
        first, last = index.order.span(request.key, request.range_end)
        count = last - first
        start, stop = _fetch_window(request, first, last)
        kvs = index.slice(start, stop)
    if request.count_only:
        return RangeResult(current, (), count, False)
    return _arrange(request, current, count, kvs)


def finish(result: RangeResult, kvs: Sequence[KeyValue]) -> RangeResult:
    """Complete a result whose order had to wait for value bytes.

    `kvs` are `result.kvs` with every coded value replaced by its bytes. Needed when `result.finish`
    is set; otherwise the result's order and cut stand and only the values are replaced.
    """
    request = result.finish
    if request is None:
        return result._replace(kvs=tuple(kvs))
    return _cut(request, result.revision, result.count, _sort(request, list(kvs)))


def _evaluate_key(index: KeyIndex, request: Range, current: int, at: int) -> RangeResult:
    """The hot path: one key needs no order and no limit."""
    kv = index.at(request.key, at) if at else index.get(request.key)
    if kv is None:
        return RangeResult(current, (), 0, False)
    if request.count_only or not _passes(request, kv):
        return RangeResult(current, (), 1, False)
    if request.keys_only:
        kv = _without_value(kv)
    return RangeResult(current, (kv,), 1, False)


def _fetch_past(
    index: KeyIndex, request: Range, at: int, history: History | None
) -> tuple[int, list[KeyValue]]:
    """Count at an old revision, and the versions fetched: by undoing changes if they are fewer than
    the keys to scan."""
    if history is not None:
        first, last = index.order.span(request.key, request.range_end)
        changed = history.changed_since(at, last - first)
        if changed is not None:
            past = RewoundRange(index, request.key, request.range_end, at, changed)
            return past.count, past.slice(*_fetch_window(request, 0, past.count))
    kvs = index.scan(request.key, request.range_end, at)
    start, stop = _fetch_window(request, 0, len(kvs))
    return len(kvs), kvs[start:stop]


def _fetch_window(request: Range, first: int, last: int) -> tuple[int, int]:
    """The part of positions [first, last) that must be fetched: one key more than the limit, if the
    limit may be applied before filters and sorting, because the extra key tells `more`."""
    if request.count_only:
        return first, first
    limit, order = request.limit, request.sort_order
    if limit <= 0 or _is_filtered(request):
        return first, last
    if order == SortOrder.NONE or (
        order == SortOrder.ASCEND and request.sort_target == SortTarget.KEY
    ):
        return first, min(last, first + limit + 1)
    if order == SortOrder.DESCEND and request.sort_target == SortTarget.KEY:
        return max(first, last - limit - 1), last
    return first, last


def _arrange(request: Range, current: int, count: int, kvs: list[KeyValue]) -> RangeResult:
    """Filter, sort and cut what was fetched in key order."""
    if _is_filtered(request):
        kvs = [kv for kv in kvs if _passes(request, kv)]
    if (
        request.sort_target == SortTarget.VALUE
        and len(kvs) > 1
        and not all(isinstance(kv.value, bytes) for kv in kvs)
    ):
        return RangeResult(current, tuple(kvs), count, False, request)
    return _cut(request, current, count, _sort(request, kvs))


def _sort(request: Range, kvs: list[KeyValue]) -> list[KeyValue]:
    """Order `kvs`, which are in key order, in place. A target not known counts as KEY."""
    descending = request.sort_order == SortOrder.DESCEND
    sort_key = _SORT_KEYS.get(request.sort_target)
    if sort_key is not None:
        kvs.sort(key=sort_key, reverse=descending)
    elif descending:
        kvs.reverse()
    return kvs


def _cut(request: Range, current: int, count: int, kvs: list[KeyValue]) -> RangeResult:
    more = 0 < request.limit < len(kvs)
    if more:
        kvs = kvs[: request.limit]
    if request.keys_only:
        kvs = [_without_value(kv) for kv in kvs]
    return RangeResult(current, tuple(kvs), count, more)


def _is_filtered(request: Range) -> bool:
    return bool(
        request.min_mod_revision
        or request.max_mod_revision
        or request.min_create_revision
        or request.max_create_revision
    )


def _passes(request: Range, kv: KeyValue) -> bool:
    """Whether the revision filters, each off at 0 and inclusive otherwise, keep this version."""
    mod, create = kv.mod_revision, kv.create_revision
    return not (
        (request.min_mod_revision and mod < request.min_mod_revision)
        or (request.max_mod_revision and mod > request.max_mod_revision)
        or (request.min_create_revision and create < request.min_create_revision)
        or (request.max_create_revision and create > request.max_create_revision)
    )


def _without_value(kv: KeyValue) -> KeyValue:
    return KeyValue(kv.key, kv.create_revision, kv.mod_revision, kv.version, b"", kv.lease)

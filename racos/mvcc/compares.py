"""Guards of a transaction, evaluated against the state before it.

Three-valued: a coded value's order against a literal may be unknown until its bytes are loaded. A
guard list is false as soon as any guard is known to be false, whichever others are unknown, so
values are loaded only when the outcome hangs on them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter

from racos.mvcc.command import CodedValue, Compare, CompareResult, CompareTarget, KeyValue, Value
from racos.mvcc.digest import digest
from racos.mvcc.keyindex import KeyIndex

_ABSENT = KeyValue(b"", 0, 0, 0, b"", 0)

_NUMBERS: dict[int, Callable[[KeyValue], int]] = {
    CompareTarget.VERSION: attrgetter("version"),
    CompareTarget.CREATE: attrgetter("create_revision"),
    CompareTarget.MOD: attrgetter("mod_revision"),
    CompareTarget.LEASE: attrgetter("lease"),
}

_SATISFYING_ORDERS: dict[int, tuple[int, ...]] = {
    CompareResult.EQUAL: (0,),
    CompareResult.GREATER: (1,),
    CompareResult.LESS: (-1,),
    CompareResult.NOT_EQUAL: (-1, 1),
}


def holds_all(
    index: KeyIndex,
    compares: Sequence[Compare],
    loaded: Mapping[CodedValue, bytes],
    missing: list[CodedValue],
) -> bool | None:
    """Whether every guard holds; None if that hangs on values not loaded: they join `missing`."""
    unknown: list[CodedValue] = []
    for compare in compares:
        if _holds(index, compare, loaded, unknown) is False:
            return False
    missing += unknown
    return None if unknown else True


def _holds(
    index: KeyIndex,
    compare: Compare,
    loaded: Mapping[CodedValue, bytes],
    unknown: list[CodedValue],
) -> bool:
    """Whether one guard holds, taking unknown outcomes (added to `unknown`) as true."""
    kvs = index.select(compare.key, compare.range_end)
    if compare.target == CompareTarget.VALUE:
        # A missing key has no value, so even NOT_EQUAL fails on it.
        return bool(kvs) and all(_value_holds(compare, kv.value, loaded, unknown) for kv in kvs)
    return all(_number_holds(compare, kv) for kv in kvs or (_ABSENT,))


def _number_holds(compare: Compare, kv: KeyValue) -> bool:
    operand = compare.operand if isinstance(compare.operand, int) else 0  # unset counts as 0
    number = _NUMBERS.get(compare.target)
    actual = operand if number is None else number(kv)
    return _verdict(compare.result, (actual > operand) - (actual < operand))


def _value_holds(
    compare: Compare,
    stored: Value,
    loaded: Mapping[CodedValue, bytes],
    unknown: list[CodedValue],
) -> bool:
    literal = compare.operand if isinstance(compare.operand, bytes) else b""
    if isinstance(stored, CodedValue):
        known = loaded.get(stored)
        if known is None:
            return _coded_holds(compare.result, stored, literal, unknown)
        stored = known
    return _verdict(compare.result, (stored > literal) - (stored < literal))


def _coded_holds(
    result: int, stored: CodedValue, literal: bytes, unknown: list[CodedValue]
) -> bool:
    """Compare without the bytes: equality by length and digest, order only where it follows."""
    if stored.length == len(literal) and stored.digest == digest(literal):
        return _verdict(result, 0)
    if not literal or result not in (CompareResult.GREATER, CompareResult.LESS):
        return _verdict(
            result, 1
        )  # unequal is all that counts; and every value is above the empty one
    unknown.append(stored)
    return True


def _verdict(result: int, order: int) -> bool:
    """Whether `order` (-1, 0 or 1: actual against operand) satisfies the wanted result."""
    wanted = _SATISFYING_ORDERS.get(result)
    return wanted is None or order in wanted  # etcd lets a result it does not know pass

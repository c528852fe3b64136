"""Coded values with known bytes, and the way back from what the store says to plain bytes."""

from __future__ import annotations

from collections.abc import Sequence

from racos.mvcc.command import (
    CodedValue,
    Command,
    DeleteResult,
    Event,
    KeyValue,
    Operation,
    Put,
    PutResult,
    RangeResult,
    Result,
    Txn,
    TxnResult,
    Value,
)
from racos.mvcc.digest import digest
from racos.mvcc.ranges import finish

_bytes_of: dict[CodedValue, bytes] = {}


def coded(data: bytes, slot: int = 0) -> CodedValue:
    """`data` as a coded value proposed in some slot."""
    value = CodedValue(len(data), digest(data), (b"f" * 16,) * 3, slot, slot % 3, slot % 5)
    _bytes_of[value] = data
    return value


def load(values: Sequence[CodedValue]) -> dict[CodedValue, bytes]:
    return {value: _bytes_of[value] for value in values}


def plain(value: Value) -> bytes:
    return value if isinstance(value, bytes) else _bytes_of[value]


def plain_kv(kv: KeyValue) -> KeyValue:
    return kv._replace(value=plain(kv.value))


def plain_event(event: Event) -> Event:
    previous = None if event.prev_kv is None else plain_kv(event.prev_kv)
    return Event(event.is_delete, plain_kv(event.kv), previous)


def plain_command(command: Command) -> Command:
    if isinstance(command, Put):
        return command._replace(value=plain(command.value))
    if isinstance(command, Txn):
        success = tuple(plain_operation(operation) for operation in command.success)
        failure = tuple(plain_operation(operation) for operation in command.failure)
        return Txn(command.compare, success, failure)
    return command


def plain_operation(operation: Operation) -> Operation:
    if isinstance(operation, Put | Txn):
        return plain_command(operation)  # type: ignore[return-value]
    return operation


def plain_result(result: Result) -> Result:
    """The result as a client sees it: values loaded, order and cut finished."""
    if isinstance(result, RangeResult):
        kvs = [plain_kv(kv) for kv in result.kvs]
        return finish(result, kvs)
    if isinstance(result, PutResult):
        previous = result.prev_kv
        return result._replace(prev_kv=None if previous is None else plain_kv(previous))
    if isinstance(result, DeleteResult):
        return result._replace(prev_kvs=tuple(plain_kv(kv) for kv in result.prev_kvs))
    if isinstance(result, TxnResult):
        return result._replace(responses=tuple(plain_result(each) for each in result.responses))
    return result

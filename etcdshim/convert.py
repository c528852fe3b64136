"""From protobuf requests to commands of the state machine, and from its results to responses."""

from __future__ import annotations

from collections.abc import Mapping

from etcdshim.header import Headers
from etcdshim.large_put import AnyPut
from etcdshim.pb import kv_pb2
from etcdshim.pb import rpc_pb2 as pb
from racos.mvcc.command import (
    CodedValue,
    Compare,
    CompareTarget,
    DeleteRange,
    DeleteResult,
    KeyValue,
    Operation,
    Put,
    PutResult,
    Range,
    RangeResult,
    Result,
    Txn,
    TxnResult,
)
from racos.mvcc.ranges import finish

Loaded = Mapping[CodedValue, bytes]


def to_range(request: pb.RangeRequest) -> Range:
    return Range(
        request.key,
        request.range_end,
        request.limit,
        request.revision,
        request.sort_order,
        request.sort_target,
        request.serializable,
        request.keys_only,
        request.count_only,
        request.min_mod_revision,
        request.max_mod_revision,
        request.min_create_revision,
        request.max_create_revision,
    )


def to_put(request: AnyPut) -> Put:
    return Put(
        request.key,
        request.value,
        request.lease,
        request.prev_kv,
        request.ignore_value,
        request.ignore_lease,
    )


def to_delete(request: pb.DeleteRangeRequest) -> DeleteRange:
    return DeleteRange(request.key, request.range_end, request.prev_kv)


def to_txn(request: pb.TxnRequest) -> Txn:
    return Txn(
        tuple(map(_to_compare, request.compare)),
        tuple(map(_to_operation, request.success)),
        tuple(map(_to_operation, request.failure)),
    )


def _to_compare(compare: pb.Compare) -> Compare:
    operand: int | bytes
    # A field of the union that was not set reads as zero or empty: what etcd compares with.
    match compare.target:
        case CompareTarget.VERSION:
            operand = compare.version
        case CompareTarget.CREATE:
            operand = compare.create_revision
        case CompareTarget.MOD:
            operand = compare.mod_revision
        case CompareTarget.VALUE:
            operand = compare.value
        case CompareTarget.LEASE:
            operand = compare.lease
        case _:
            operand = 0
    return Compare(compare.result, compare.target, compare.key, operand, compare.range_end)


def _to_operation(operation: pb.RequestOp) -> Operation:
    match operation.WhichOneof("request"):
        case "request_range":
            return to_range(operation.request_range)
        case "request_put":
            return to_put(operation.request_put)
        case "request_delete_range":
            return to_delete(operation.request_delete_range)
        case _:  # checks.check_txn has refused an operation without content
            return to_txn(operation.request_txn)


def coded_values(result: Result) -> list[CodedValue]:
    """The coded values anywhere in a result, whose bytes the response will need."""
    match result:
        case RangeResult():
            return _coded(result.kvs)
        case PutResult():
            return [] if result.prev_kv is None else _coded((result.prev_kv,))
        case DeleteResult():
            return _coded(result.prev_kvs)
        case TxnResult():
            return [value for nested in result.responses for value in coded_values(nested)]
        case _:
            return []


def _coded(kvs: tuple[KeyValue, ...]) -> list[CodedValue]:
    return [kv.value for kv in kvs if isinstance(kv.value, CodedValue)]


class Responses:
    """Builds responses. `loaded` holds the bytes of every coded value in the result."""

    __slots__ = ("_headers",)

    def __init__(self, headers: Headers) -> None:
        self._headers = headers

    def range(self, result: RangeResult, loaded: Loaded) -> pb.RangeResponse:
        response = pb.RangeResponse()
        self._headers.stamp(response.header, result.revision)
        _fill_range(response, result, loaded)
        return response

    def put(self, result: PutResult, loaded: Loaded) -> pb.PutResponse:
        response = pb.PutResponse()
        self._headers.stamp(response.header, result.revision)
        if result.prev_kv is not None:
            fill_key_value(response.prev_kv, result.prev_kv, loaded)
        return response

    def delete(self, result: DeleteResult, loaded: Loaded) -> pb.DeleteRangeResponse:
        response = pb.DeleteRangeResponse()
        self._headers.stamp(response.header, result.revision)
        _fill_delete(response, result, loaded)
        return response

    def txn(self, result: TxnResult, loaded: Loaded) -> pb.TxnResponse:
        response = pb.TxnResponse()
        self._headers.stamp(response.header, result.revision)
        _fill_txn(response, result, loaded)
        return response


def _fill_range(response: pb.RangeResponse, result: RangeResult, loaded: Loaded) -> None:
    if result.finish is not None:
        result = finish(result, [_with_bytes(kv, loaded) for kv in result.kvs])
    response.more = result.more
    response.count = result.count
    add = response.kvs.add
    for kv in result.kvs:
        key, create_revision, mod_revision, version, value, lease = kv
        add(
            key=key,
            create_revision=create_revision,
            mod_revision=mod_revision,
            version=version,
            value=loaded[value] if isinstance(value, CodedValue) else value,
            lease=lease,
        )


def _with_bytes(kv: KeyValue, loaded: Loaded) -> KeyValue:
    if isinstance(kv.value, CodedValue):
        return kv._replace(value=loaded[kv.value])
    return kv


def _fill_delete(response: pb.DeleteRangeResponse, result: DeleteResult, loaded: Loaded) -> None:
    response.deleted = result.deleted
    for kv in result.prev_kvs:
        fill_key_value(response.prev_kvs.add(), kv, loaded)


def _fill_txn(response: pb.TxnResponse, result: TxnResult, loaded: Loaded) -> None:
    """Nested answers carry a header with the revision alone; that of a nested transaction is 0."""
    response.succeeded = result.succeeded
    for nested in result.responses:
        operation = response.responses.add()
        match nested:
            case RangeResult():
                operation.response_range.header.revision = nested.revision
                _fill_range(operation.response_range, nested, loaded)
            case PutResult():
                operation.response_put.header.revision = nested.revision
                if nested.prev_kv is not None:
                    fill_key_value(operation.response_put.prev_kv, nested.prev_kv, loaded)
            case DeleteResult():
                operation.response_delete_range.header.revision = nested.revision
                _fill_delete(operation.response_delete_range, nested, loaded)
            case TxnResult():
                operation.response_txn.header.SetInParent()
                _fill_txn(operation.response_txn, nested, loaded)
            case _:
                raise AssertionError(f"no such result inside a transaction: {nested!r}")


def fill_key_value(message: kv_pb2.KeyValue, kv: KeyValue, loaded: Loaded) -> None:
    message.key = kv.key
    message.create_revision = kv.create_revision
    message.mod_revision = kv.mod_revision
    message.version = kv.version
    message.value = loaded[kv.value] if isinstance(kv.value, CodedValue) else kv.value
    message.lease = kv.lease

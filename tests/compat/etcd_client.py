"""The store's vocabulary spoken to a real etcd: commands out, results and refusals back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import grpc

from etcdshim.pb import kv_pb2, rpc_pb2, rpc_pb2_grpc
from racos.mvcc.command import (
    Command,
    Compact,
    CompactResult,
    Compare,
    CompareTarget,
    DeleteRange,
    DeleteResult,
    Event,
    KeyValue,
    LeaseEndResult,
    LeaseGrant,
    LeaseGrantResult,
    LeaseRevoke,
    Operation,
    Put,
    PutResult,
    Range,
    RangeResult,
    Result,
    Txn,
    TxnResult,
)
from racos.mvcc.errors import (
    Compacted,
    FutureRevision,
    KeyNotFound,
    LeaseExists,
    LeaseNotFound,
    StoreError,
)

CALL_SECONDS_MAX = 10.0

_REFUSALS: dict[str, type[StoreError]] = {
    "etcdserver: mvcc: required revision has been compacted": Compacted,
    "etcdserver: mvcc: required revision is a future revision": FutureRevision,
    "etcdserver: key not found": KeyNotFound,
    "etcdserver: lease already exists": LeaseExists,
    "etcdserver: requested lease not found": LeaseNotFound,
}
_COMPARE_FIELDS = {
    CompareTarget.VERSION: "version",
    CompareTarget.CREATE: "create_revision",
    CompareTarget.MOD: "mod_revision",
    CompareTarget.VALUE: "value",
    CompareTarget.LEASE: "lease",
}


class Invalid(Exception):
    """etcd's request validation refused the call before it reached the state machine."""


class EtcdClient:
    """Bounded calls to one etcd. Raises a StoreError as the store would, or Invalid."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._kv: Any = rpc_pb2_grpc.KVStub(channel)  # type: ignore[no-untyped-call]
        self._lease: Any = rpc_pb2_grpc.LeaseStub(channel)  # type: ignore[no-untyped-call]
        self._watch: Any = rpc_pb2_grpc.WatchStub(channel)  # type: ignore[no-untyped-call]

    def apply(self, command: Command | Range) -> Result:
        """TypeError for commands that no client can send."""
        if isinstance(command, Put):
            return put_result(_call(self._kv.Put, put_request(command)))
        if isinstance(command, DeleteRange):
            return delete_result(_call(self._kv.DeleteRange, delete_request(command)))
        if isinstance(command, Txn):
            return txn_result(_call(self._kv.Txn, txn_request(command)))
        if isinstance(command, Range):
            return range_result(_call(self._kv.Range, range_request(command)))
        if isinstance(command, Compact):
            return self._compact(command)
        if isinstance(command, LeaseGrant):
            return self._grant(command)
        if isinstance(command, LeaseRevoke):
            return self._revoke(command)
        raise TypeError(f"no request for {command}")

    def history(self, start: int, end: int) -> list[tuple[int, list[Event]]]:
        """Events of [start, end] as a watcher with prev_kv sees them."""
        create = rpc_pb2.WatchCreateRequest(
            key=b"\0", range_end=b"\0", start_revision=start, prev_kv=True
        )
        request = rpc_pb2.WatchRequest(create_request=create)
        found: dict[int, list[Event]] = {}
        stream = self._watch.Watch(_once(request), timeout=CALL_SECONDS_MAX)
        for response in stream:
            for event in response.events:
                found.setdefault(event.kv.mod_revision, []).append(watched(event))
            if max(found, default=0) >= end:
                stream.cancel()
                break
        return sorted(found.items())

    def _grant(self, command: LeaseGrant) -> LeaseGrantResult:
        request = rpc_pb2.LeaseGrantRequest(ID=command.id, TTL=command.ttl)
        response = _call(self._lease.LeaseGrant, request)
        return LeaseGrantResult(response.header.revision, response.ID, response.TTL)

    def _revoke(self, command: LeaseRevoke) -> LeaseEndResult:
        response = _call(self._lease.LeaseRevoke, rpc_pb2.LeaseRevokeRequest(ID=command.id))
        return LeaseEndResult(response.header.revision, True)

    def _compact(self, command: Compact) -> CompactResult:
        request = rpc_pb2.CompactionRequest(revision=command.revision, physical=True)
        return CompactResult(_call(self._kv.Compact, request).header.revision)


def _once(request: rpc_pb2.WatchRequest) -> Iterator[rpc_pb2.WatchRequest]:
    yield request  # and half-close: etcd keeps sending


def _call(method: Callable[..., Any], request: Any) -> Any:
    try:
        return method(request, timeout=CALL_SECONDS_MAX)
    except grpc.RpcError as error:
        status: Any = error
        refusal = _REFUSALS.get(status.details())
        if refusal is not None:
            raise refusal(status.details()) from error
        if status.code() == grpc.StatusCode.INVALID_ARGUMENT:
            raise Invalid(status.details()) from error
        raise


def put_request(put: Put) -> rpc_pb2.PutRequest:
    return rpc_pb2.PutRequest(**put._asdict())


def delete_request(request: DeleteRange) -> rpc_pb2.DeleteRangeRequest:
    return rpc_pb2.DeleteRangeRequest(**request._asdict())


def range_request(request: Range) -> rpc_pb2.RangeRequest:
    return rpc_pb2.RangeRequest(**request._asdict())


def txn_request(txn: Txn) -> rpc_pb2.TxnRequest:
    return rpc_pb2.TxnRequest(
        compare=[compare_request(compare) for compare in txn.compare],
        success=[operation_request(operation) for operation in txn.success],
        failure=[operation_request(operation) for operation in txn.failure],
    )


def compare_request(compare: Compare) -> rpc_pb2.Compare:
    operand: dict[str, Any] = {_COMPARE_FIELDS[CompareTarget(compare.target)]: compare.operand}
    enums: dict[str, Any] = {"result": compare.result, "target": compare.target}
    return rpc_pb2.Compare(key=compare.key, range_end=compare.range_end, **enums, **operand)


def operation_request(operation: Operation) -> rpc_pb2.RequestOp:
    if isinstance(operation, Put):
        return rpc_pb2.RequestOp(request_put=put_request(operation))
    if isinstance(operation, DeleteRange):
        return rpc_pb2.RequestOp(request_delete_range=delete_request(operation))
    if isinstance(operation, Range):
        return rpc_pb2.RequestOp(request_range=range_request(operation))
    return rpc_pb2.RequestOp(request_txn=txn_request(operation))


def key_value(kv: kv_pb2.KeyValue) -> KeyValue:
    return KeyValue(kv.key, kv.create_revision, kv.mod_revision, kv.version, kv.value, kv.lease)


def put_result(response: rpc_pb2.PutResponse) -> PutResult:
    previous = key_value(response.prev_kv) if response.HasField("prev_kv") else None
    return PutResult(response.header.revision, previous)


def delete_result(response: rpc_pb2.DeleteRangeResponse) -> DeleteResult:
    gone = tuple(key_value(kv) for kv in response.prev_kvs)
    return DeleteResult(response.header.revision, response.deleted, gone)


def range_result(response: rpc_pb2.RangeResponse) -> RangeResult:
    kvs = tuple(key_value(kv) for kv in response.kvs)
    return RangeResult(response.header.revision, kvs, response.count, response.more)


def txn_result(response: rpc_pb2.TxnResponse) -> TxnResult:
    results = tuple(operation_result(each) for each in response.responses)
    return TxnResult(response.header.revision, response.succeeded, results)


def operation_result(response: rpc_pb2.ResponseOp) -> Result:
    match response.WhichOneof("response"):
        case "response_put":
            return put_result(response.response_put)
        case "response_delete_range":
            return delete_result(response.response_delete_range)
        case "response_range":
            return range_result(response.response_range)
    return txn_result(response.response_txn)


def watched(event: kv_pb2.Event) -> Event:
    previous = key_value(event.prev_kv) if event.HasField("prev_kv") else None
    return Event(event.type == kv_pb2.Event.DELETE, key_value(event.kv), previous)

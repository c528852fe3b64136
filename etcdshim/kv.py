"""The KV service: check as etcd does, hand the command to the backend, build the answer."""

from __future__ import annotations

from etcdshim import convert, quota, values
from etcdshim.asgi import Call
from etcdshim.backend import Backend
from etcdshim.checks import (
    SizeCheck,
    check_delete,
    check_put,
    check_range,
    check_txn,
    is_read_only,
    is_serializable,
)
from etcdshim.errors import BackendFailure, translate
from etcdshim.header import Headers, check_call
from etcdshim.large_put import AnyPut
from etcdshim.limits import Limits
from etcdshim.pb import rpc_pb2 as pb
from racos.mvcc.command import Compact, DeleteResult, PutResult, Result, Txn, TxnResult


class KvService:
    """Range, Put, DeleteRange, Txn and Compact.

    A caller that goes away cancels only the future it waits on; the proposal itself goes on, since
    the backend owns it.
    """

    __slots__ = ("_backend", "_headers", "_limits", "_quota", "_responses", "_size")

    def __init__(self, backend: Backend, limits: Limits, headers: Headers) -> None:
        self._backend = backend
        self._limits = limits
        self._headers = headers
        self._responses = convert.Responses(headers)
        self._quota = quota.Quota(backend)
        self._size = SizeCheck(limits.max_request_bytes, backend.member_id)

    async def range(self, request: pb.RangeRequest, call: Call) -> pb.RangeResponse:
        check_call(call, self._backend)
        check_range(request)
        command = convert.to_range(request)
        try:
            if not command.serializable:
                await self._backend.barrier()
            result = self._backend.range(command)
            return self._responses.range(result, await self._load(result))
        except BackendFailure as failure:
            raise translate(failure) from failure

    async def put(self, request: AnyPut, call: Call) -> pb.PutResponse:
        check_call(call, self._backend)
        check_put(request)
        command = convert.to_put(request)
        # Of the command: each look at a field of the message would copy its bytes again.
        size = len(command.key) + len(command.value)
        self._size.check_put(request, size)
        if not self._backend.has_room(quota.PUT_BYTES + size):
            await self._quota.refuse(quota.PUT_BYTES + size)
        try:
            result = await self._backend.propose(command)
            assert isinstance(result, PutResult)
            loaded = values.NOTHING if result.prev_kv is None else await self._load(result)
            return self._responses.put(result, loaded)
        except BackendFailure as failure:
            raise translate(failure) from failure

    async def delete_range(
        self, request: pb.DeleteRangeRequest, call: Call
    ) -> pb.DeleteRangeResponse:
        check_call(call, self._backend)
        check_delete(request)
        self._size.check(request)
        try:
            result = await self._backend.propose(convert.to_delete(request))
            assert isinstance(result, DeleteResult)
            return self._responses.delete(result, await self._load(result))
        except BackendFailure as failure:
            raise translate(failure) from failure

    async def txn(self, request: pb.TxnRequest, call: Call) -> pb.TxnResponse:
        check_call(call, self._backend)
        check_txn(request, self._limits.max_txn_ops)
        read_only = is_read_only(request)
        if not read_only:
            self._size.check(request)
            cost = quota.txn_cost(request)
            if cost and not self._backend.has_room(cost):
                await self._quota.refuse(cost)
        command = convert.to_txn(request)
        try:
            if read_only:
                result = await self._read(command, serializable=is_serializable(request))
            else:
                result = await self._write(command)
            return self._responses.txn(result, await self._load(result))
        except BackendFailure as failure:
            raise translate(failure) from failure

    async def compact(self, request: pb.CompactionRequest, call: Call) -> pb.CompactionResponse:
        check_call(call, self._backend)
        try:
            result = await self._backend.propose(Compact(request.revision, request.physical))
        except BackendFailure as failure:
            raise translate(failure) from failure
        response = pb.CompactionResponse()
        self._headers.stamp(response.header, result.revision)
        return response

    async def _read(self, command: Txn, *, serializable: bool) -> TxnResult:
        if not serializable:
            await self._backend.barrier()
        return await self._backend.read_txn(command)

    async def _write(self, command: Txn) -> TxnResult:
        result = await self._backend.propose(command)
        assert isinstance(result, TxnResult)
        return result

    async def _load(self, result: Result) -> convert.Loaded:
        wanted = convert.coded_values(result)
        return await values.load(self._backend, wanted) if wanted else values.NOTHING

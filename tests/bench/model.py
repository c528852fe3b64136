"""A store in memory that answers KV requests, to check the workloads' checks."""

from __future__ import annotations

from typing import Final

from bench.workload import PUT_PATH, RANGE_PATH, Call, Values, Workload, framed, key_of, message
from etcdshim.pb import kv_pb2, rpc_pb2

_TXN_PATH: Final = "/etcdserverpb.KV/Txn"


class Model:
    """Puts, gets, ranges and guarded puts, one after the other."""

    def __init__(self, values: Values | None = None, keys: int = 0) -> None:
        self.pairs: dict[bytes, kv_pb2.KeyValue] = {}
        self.revision = 1
        for index in range(keys):
            assert values is not None
            self.put(key_of(index), b"".join(values.pieces(index)))

    def put(self, key: bytes, value: bytes) -> None:
        self.revision += 1
        self.pairs[key] = kv_pb2.KeyValue(key=key, value=value, mod_revision=self.revision)

    def delete(self, key: bytes) -> int:
        """How many keys that deleted."""
        if self.pairs.pop(key, None) is None:
            return 0
        self.revision += 1
        return 1

    def answer(self, workload: Workload, call: Call) -> bytes:
        """What a server answers to a request."""
        body = message(call.body)
        path = workload.paths[call.method]
        if path == PUT_PATH:
            put = rpc_pb2.PutRequest.FromString(body)
            self.put(put.key, put.value)
            return framed(rpc_pb2.PutResponse(header=self.header()).SerializeToString())
        if path == RANGE_PATH:
            found = self.range(rpc_pb2.RangeRequest.FromString(body))
            return framed(found.SerializeToString())
        assert path == _TXN_PATH
        return framed(self.txn(rpc_pb2.TxnRequest.FromString(body)).SerializeToString())

    def header(self) -> rpc_pb2.ResponseHeader:
        return rpc_pb2.ResponseHeader(revision=self.revision)

    def range(self, asked: rpc_pb2.RangeRequest) -> rpc_pb2.RangeResponse:
        end = asked.range_end or asked.key + b"\0"
        keys = sorted(key for key in self.pairs if asked.key <= key < end)
        kvs = [] if asked.count_only else [self.pairs[key] for key in keys[: asked.limit or None]]
        more = not asked.count_only and len(kvs) < len(keys)
        return rpc_pb2.RangeResponse(header=self.header(), kvs=kvs, count=len(keys), more=more)

    def txn(self, asked: rpc_pb2.TxnRequest) -> rpc_pb2.TxnResponse:
        holds = all(self._holds(each) for each in asked.compare)
        done = [self._do(each) for each in (asked.success if holds else asked.failure)]
        return rpc_pb2.TxnResponse(header=self.header(), succeeded=holds, responses=done)

    def _holds(self, compare: rpc_pb2.Compare) -> bool:
        pair = self.pairs.get(compare.key)
        assert (compare.target, compare.result) == (compare.MOD, compare.EQUAL)
        return bool((pair.mod_revision if pair else 0) == compare.mod_revision)

    def _do(self, op: rpc_pb2.RequestOp) -> rpc_pb2.ResponseOp:
        match op.WhichOneof("request"):
            case "request_put":
                self.put(op.request_put.key, op.request_put.value)
                put = rpc_pb2.PutResponse(header=self.header())
                return rpc_pb2.ResponseOp(response_put=put)
            case "request_delete_range":
                count = self.delete(op.request_delete_range.key)
                deleted = rpc_pb2.DeleteRangeResponse(header=self.header(), deleted=count)
                return rpc_pb2.ResponseOp(response_delete_range=deleted)
        return rpc_pb2.ResponseOp(response_range=self.range(op.request_range))

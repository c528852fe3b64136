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
        kvs = [self.pairs[key] for key in keys[: asked.limit or None]]
        return rpc_pb2.RangeResponse(
            header=self.header(), kvs=kvs, count=len(keys), more=len(kvs) < len(keys)
        )

    def txn(self, asked: rpc_pb2.TxnRequest) -> rpc_pb2.TxnResponse:
        (compare,), (success,) = asked.compare, asked.success
        pair = self.pairs.get(compare.key)
        assert (compare.target, compare.result) == (compare.MOD, compare.EQUAL)
        holds = (pair.mod_revision if pair else 0) == compare.mod_revision
        if holds:
            self.put(success.request_put.key, success.request_put.value)
            done = rpc_pb2.ResponseOp(response_put=rpc_pb2.PutResponse(header=self.header()))
        else:
            found = self.range(asked.failure[0].request_range)
            done = rpc_pb2.ResponseOp(response_range=found)
        return rpc_pb2.TxnResponse(header=self.header(), succeeded=holds, responses=[done])

"""Typed calls of etcd's API over a plain grpcio channel."""

from __future__ import annotations

from typing import Any, TypeVar

import grpc
from google.protobuf.message import Message

from etcdshim.pb import rpc_pb2 as pb

M = TypeVar("M", bound=Message)
TIMEOUT = 20.0  # seconds


class Client:
    """The KV service and Status of one endpoint."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.channel = channel

    def range(self, **fields: Any) -> pb.RangeResponse:
        return self._call("KV/Range", pb.RangeRequest(**fields), pb.RangeResponse)

    def put(self, **fields: Any) -> pb.PutResponse:
        return self._call("KV/Put", pb.PutRequest(**fields), pb.PutResponse)

    def txn(self, **fields: Any) -> pb.TxnResponse:
        return self._call("KV/Txn", pb.TxnRequest(**fields), pb.TxnResponse)

    def compact(self, revision: int) -> pb.CompactionResponse:
        return self._call(
            "KV/Compact", pb.CompactionRequest(revision=revision), pb.CompactionResponse
        )

    def status(self) -> pb.StatusResponse:
        return self._call("Maintenance/Status", pb.StatusRequest(), pb.StatusResponse)

    def _call(self, path: str, request: Message, response: type[M]) -> M:
        call = self.channel.unary_unary(
            f"/etcdserverpb.{path}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=response.FromString,
        )
        answer: M = call(request, timeout=TIMEOUT)
        return answer

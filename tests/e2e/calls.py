"""Typed calls of etcd's API over a plain grpcio channel."""

from __future__ import annotations

import queue
import threading
from typing import Any, TypeVar

import grpc
from google.protobuf.message import Message

from etcdshim.pb import kv_pb2
from etcdshim.pb import rpc_pb2 as pb

M = TypeVar("M", bound=Message)
TIMEOUT = 20.0  # seconds


def end_of(prefix: bytes) -> bytes:
    """The end of the range of all keys with this prefix, whose last byte is not 0xff."""
    return prefix[:-1] + bytes([prefix[-1] + 1])


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


class Watch:
    """The watch of an informer: everything below a prefix, with what was there before."""

    def __init__(self, client: Client, prefix: bytes, start_revision: int) -> None:
        self._requests: queue.SimpleQueue[pb.WatchRequest | None] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[pb.WatchResponse] = queue.SimpleQueue()
        self._call = client.channel.stream_stream(
            "/etcdserverpb.Watch/Watch",
            request_serializer=pb.WatchRequest.SerializeToString,
            response_deserializer=pb.WatchResponse.FromString,
        )(iter(self._requests.get, None), metadata=(("hasleader", "true"),))
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        create = pb.WatchCreateRequest(
            key=prefix,
            range_end=end_of(prefix),
            start_revision=start_revision,
            prev_kv=True,
            progress_notify=True,
        )
        self._requests.put(pb.WatchRequest(create_request=create))
        assert self.next().created

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *_: object) -> None:
        self._call.cancel()  # type: ignore[no-untyped-call]
        self._requests.put(None)
        self._reader.join(TIMEOUT)

    def next(self) -> pb.WatchResponse:
        return self._answers.get(timeout=TIMEOUT)

    def events(self, count: int) -> list[kv_pb2.Event]:
        found: list[kv_pb2.Event] = []
        while len(found) < count:
            found += self.next().events
        return found

    def ask_progress(self) -> None:
        self._requests.put(pb.WatchRequest(progress_request=pb.WatchProgressRequest()))

    def _read(self) -> None:
        try:
            for answer in self._call:
                self._answers.put(answer)
        except grpc.RpcError:
            return  # cancelled at the end; anything else shows as an answer that never comes

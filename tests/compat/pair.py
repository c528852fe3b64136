"""Sends each call to both servers and compares what comes back.

Answers must be equal except for ids and terms. Revisions are written and compared relative to the
revision at which the scenario began, so the servers need not have the same past.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar

import grpc
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from etcdshim.pb import health_pb2
from etcdshim.pb import rpc_pb2 as pb

M = TypeVar("M", bound=Message)
PATIENCE_S = 10.0

_REVISIONS = frozenset(
    (
        "revision",
        "create_revision",
        "mod_revision",
        "compact_revision",
        "start_revision",
        "min_mod_revision",
        "max_mod_revision",
        "min_create_revision",
        "max_create_revision",
    )
)
_RESPONSES: dict[str, type[Message]] = {
    f"/{service.full_name}/{method.name}": GetMessageClass(method.output_type)
    for module in (pb, health_pb2)
    for service in module.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}
_IDENTITIES = frozenset(("cluster_id", "member_id", "raft_term"))


class Failure(NamedTuple):
    code: str
    text: str


def shifted(message: M, by: int) -> M:
    """A copy with `by` added to every positive revision."""
    copy = type(message)()
    copy.CopyFrom(message)
    _walk(copy, by, forget=False)
    return copy


def plain(message: M, base: int) -> M:
    """A copy with revisions relative to `base` and without what may differ between servers."""
    copy = type(message)()
    copy.CopyFrom(message)
    _walk(copy, -base, forget=True)
    return copy


def _walk(message: Message, by: int, *, forget: bool) -> None:
    for field, value in message.ListFields():
        if field.type == field.TYPE_MESSAGE:
            for nested in value if field.is_repeated else (value,):
                _walk(nested, by, forget=forget)
        elif field.name in _REVISIONS and value > 0:
            setattr(message, field.name, value + by)
        elif forget and field.name in _IDENTITIES:
            assert value > 0
            setattr(message, field.name, 1)


def _failure(error: Any) -> Failure:  # grpc raises an RpcError that is a Call too: no type says so
    return Failure(error.code().name, error.details() or "")


class Server:
    """One server, with the revision at which the scenario began."""

    def __init__(self, name: str, channel: grpc.Channel) -> None:
        self.name = name
        self.channel = channel
        self.base = 0
        self._calls: dict[str, Any] = {}

    def begin(self) -> None:
        """Start a scenario: no keys, and revisions counted from here."""
        everything = pb.DeleteRangeRequest(key=b"\0", range_end=b"\0")
        self._send("/etcdserverpb.KV/DeleteRange", everything)
        answer = self._send("/etcdserverpb.KV/Put", pb.PutRequest(key=b"\0begin"))
        assert isinstance(answer, pb.PutResponse)
        self._send("/etcdserverpb.KV/DeleteRange", pb.DeleteRangeRequest(key=b"\0begin"))
        self.base = answer.header.revision + 1

    def member_id(self) -> int:
        answer = self._send("/etcdserverpb.KV/Range", pb.RangeRequest(key=b"\0"))
        assert isinstance(answer, pb.RangeResponse)
        return answer.header.member_id

    def call(self, path: str, request: Message) -> Message | Failure:
        try:
            answer = self._send(path, shifted(request, self.base))
        except grpc.RpcError as error:
            return _failure(error)
        return plain(answer, self.base)

    def _send(self, path: str, request: Message) -> Message:
        if path not in self._calls:
            response = _RESPONSES[path]
            self._calls[path] = self.channel.unary_unary(
                path,
                request_serializer=type(request).SerializeToString,
                response_deserializer=response.FromString,
            )
        answer: Message = self._calls[path](request, timeout=PATIENCE_S)
        return answer


class Pair:
    """Both servers in one scenario."""

    def __init__(self, etcd: Server, ours: Server) -> None:
        self.etcd = etcd
        self.ours = ours
        for server in (etcd, ours):
            server.begin()

    def call(self, path: str, request: Message) -> Any:
        """The answer both gave (a message or a Failure); fails when they differ."""
        expected = self.etcd.call(path, request)
        answer = self.ours.call(path, request)
        assert answer == expected, f"{path} {request}\netcd: {expected}\nours: {answer}"
        return answer

    def range(self, **fields: Any) -> Any:
        return self.call("/etcdserverpb.KV/Range", pb.RangeRequest(**fields))

    def put(self, **fields: Any) -> Any:
        return self.call("/etcdserverpb.KV/Put", pb.PutRequest(**fields))

    def delete(self, **fields: Any) -> Any:
        return self.call("/etcdserverpb.KV/DeleteRange", pb.DeleteRangeRequest(**fields))

    def txn(self, **fields: Any) -> Any:
        return self.call("/etcdserverpb.KV/Txn", pb.TxnRequest(**fields))

    def compact(self, revision: int) -> Any:
        return self.call("/etcdserverpb.KV/Compact", pb.CompactionRequest(revision=revision))

    def watch(self) -> WatchPair:
        return WatchPair(self)


class WatchStream:
    """One Watch stream of one server, read by a thread into a queue."""

    def __init__(self, server: Server) -> None:
        self._base = server.base
        self._requests: queue.SimpleQueue[pb.WatchRequest | None] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[pb.WatchResponse] = queue.SimpleQueue()
        open_stream = server.channel.stream_stream(
            "/etcdserverpb.Watch/Watch",
            request_serializer=pb.WatchRequest.SerializeToString,
            response_deserializer=pb.WatchResponse.FromString,
        )
        self._call = open_stream(iter(self._requests.get, None))
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def send(self, request: pb.WatchRequest) -> None:
        self._requests.put(shifted(request, self._base))

    def half_close(self) -> None:
        self._requests.put(None)

    def next(self) -> pb.WatchResponse:
        return plain(self._answers.get(timeout=PATIENCE_S), self._base)

    def close(self) -> None:
        self._call.cancel()  # type: ignore[no-untyped-call]
        self._requests.put(None)
        self._reader.join(PATIENCE_S)

    def _read(self) -> None:
        try:
            for answer in self._call:
                self._answers.put(answer)
        except grpc.RpcError:
            return  # cancelled by `close`; anything else shows as an answer that never comes


class WatchPair:
    """A Watch stream to each server."""

    def __init__(self, pair: Pair) -> None:
        self.etcd = WatchStream(pair.etcd)
        self.ours = WatchStream(pair.ours)

    def __enter__(self) -> WatchPair:
        return self

    def __exit__(self, *_: object) -> None:
        self.etcd.close()
        self.ours.close()

    def send(self, **fields: Any) -> None:
        for stream in (self.etcd, self.ours):
            stream.send(pb.WatchRequest(**fields))

    def create(self, **fields: Any) -> pb.WatchResponse:
        """Send a create request; the answer both gave to it."""
        self.send(create_request=pb.WatchCreateRequest(**fields))
        return self.next()

    def half_close(self) -> None:
        for stream in (self.etcd, self.ours):
            stream.half_close()

    def next(self) -> pb.WatchResponse:
        """The next answer, which must be equal."""
        expected, answer = self.etcd.next(), self.ours.next()
        assert answer == expected, f"etcd: {expected}\nours: {answer}"
        return answer

    def next_set(self, count: int) -> Sequence[pb.WatchResponse]:
        """The next answers, whose order across watchers is not promised."""
        sets = [
            sorted((stream.next() for _ in range(count)), key=_by_watcher)
            for stream in (self.etcd, self.ours)
        ]
        assert sets[0] == sets[1], f"etcd: {sets[0]}\nours: {sets[1]}"
        return sets[1]


def _by_watcher(answer: pb.WatchResponse) -> tuple[int, int]:
    first = answer.events[0].kv.mod_revision if answer.events else 0
    return answer.watch_id, first

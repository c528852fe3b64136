"""Clients of one member each, on grpcio: calls that are recorded, and watches.

An outcome is definite only where the call surely had no effect: etcd's refusals, and connections
that never stood. Everything else may have taken effect, or may yet.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable
from types import TracebackType
from typing import Any, Self, TypeVar

import grpc
import grpc.aio

from etcdshim.pb import kv_pb2, rpc_pb2, rpc_pb2_grpc
from tests.robustness.history import Event, Found, Kind, Operation, Outcome, tag_of

T = TypeVar("T")

CALL_SECONDS = 2.0
ANSWER_BYTES_MAX = 256 << 20
_OPTIONS: list[tuple[str, int]] = [
    ("grpc.enable_retries", 0),  # a write sent twice would be our fault
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 100),
    ("grpc.max_receive_message_length", ANSWER_BYTES_MAX),
    ("grpc.use_local_subchannel_pool", 1),  # each client its own connection
]
_REFUSALS = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.OUT_OF_RANGE,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
}


class Client:
    """One connection to one member; the operations of all clients go into one list."""

    def __init__(self, member: str, endpoint: str, operations: list[Operation]) -> None:
        self.member = member
        self.operations = operations
        self._channel = grpc.aio.insecure_channel(endpoint, options=_OPTIONS)
        self.kv: Any = rpc_pb2_grpc.KVStub(self._channel)  # type: ignore[no-untyped-call]
        self._watch: Any = rpc_pb2_grpc.WatchStub(self._channel)  # type: ignore[no-untyped-call]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._channel.close(None)

    # Recorded calls: the operation tells how it went, nothing is raised.

    async def put(self, key: str, value: bytes, timeout: float = CALL_SECONDS) -> Operation:
        operation = self._begin(Kind.PUT, key, tag=tag_of(value))
        request = rpc_pb2.PutRequest(key=key.encode(), value=value)
        await self._run(operation, self.kv.Put(request, timeout=timeout))
        return operation

    async def get(self, key: str, timeout: float = CALL_SECONDS) -> Operation:
        operation = self._begin(Kind.GET, key)
        request = rpc_pb2.RangeRequest(key=key.encode())
        answer = await self._run(operation, self.kv.Range(request, timeout=timeout))
        if answer is not None and answer.kvs:
            operation.found = found(answer.kvs[0])
        return operation

    async def delete(self, key: str, timeout: float = CALL_SECONDS) -> Operation:
        operation = self._begin(Kind.DELETE, key)
        request = rpc_pb2.DeleteRangeRequest(key=key.encode())
        answer = await self._run(operation, self.kv.DeleteRange(request, timeout=timeout))
        operation.succeeded = answer is not None and answer.deleted == 1
        return operation

    async def swap(
        self, key: str, expected: int, value: bytes, timeout: float = CALL_SECONDS
    ) -> Operation:
        """Put the value if the key's mod revision is `expected` (0: not there), else read it."""
        operation = self._begin(Kind.SWAP, key, tag=tag_of(value), expected=expected)
        name = key.encode()
        compare = rpc_pb2.Compare(
            key=name,
            target=rpc_pb2.Compare.CompareTarget.MOD,
            result=rpc_pb2.Compare.CompareResult.EQUAL,
            mod_revision=expected,
        )
        put = rpc_pb2.RequestOp(request_put=rpc_pb2.PutRequest(key=name, value=value))
        get = rpc_pb2.RequestOp(request_range=rpc_pb2.RangeRequest(key=name))
        request = rpc_pb2.TxnRequest(compare=[compare], success=[put], failure=[get])
        answer = await self._run(operation, self.kv.Txn(request, timeout=timeout))
        if answer is not None:
            operation.succeeded = answer.succeeded
            kvs = () if answer.succeeded else answer.responses[0].response_range.kvs
            operation.found = found(kvs[0]) if kvs else None
        return operation

    def _begin(self, kind: Kind, key: str, tag: str = "", expected: int = 0) -> Operation:
        now = time.monotonic_ns()
        operation = Operation(kind, key, self.member, now, tag=tag, expected=expected)
        self.operations.append(operation)
        return operation

    async def _run(self, operation: Operation, call: Awaitable[Any]) -> Any:
        """The answer, or None with the operation's outcome set accordingly."""
        try:
            answer = await call
        except grpc.aio.AioRpcError as error:
            operation.end = time.monotonic_ns()
            operation.error = f"{error.code().name}: {error.details()}"
            if _never_sent(error) or error.code() in _REFUSALS:
                operation.outcome = Outcome.DEFINITE
            return None
        operation.end = time.monotonic_ns()
        operation.outcome = Outcome.OK
        operation.revision = answer.header.revision
        return answer

    # Calls that are not part of a history.

    async def contents(self, timeout: float = CALL_SECONDS) -> tuple[int, dict[str, Found]]:
        """Revision and all keys as this member itself has them now, values included."""
        request = rpc_pb2.RangeRequest(key=b"\0", range_end=b"\0", serializable=True)
        answer = await self.kv.Range(request, timeout=timeout)
        return answer.header.revision, {kv.key.decode(): found(kv) for kv in answer.kvs}

    async def revision(self, timeout: float = CALL_SECONDS) -> int:
        """The newest revision, by a linearizable read."""
        request = rpc_pb2.RangeRequest(key=b"\0", range_end=b"\0", count_only=True)
        answer = await self.kv.Range(request, timeout=timeout)
        return int(answer.header.revision)

    async def wait_applied(self, revision: int, timeout: float) -> None:
        """Waits until this member itself has applied a revision, by watching for it."""
        async with contextlib.aclosing(self.watch(revision, timeout)) as responses:
            async for events in responses:
                if events and events[-1].revision >= revision:
                    return

    def watch(self, start: int, timeout: float) -> AsyncGenerator[list[Event], None]:
        """All events from a revision on, by responses; ends only by an error."""
        return self._follow(start, timeout, events_of)

    def watch_raw(self, start: int, timeout: float) -> AsyncGenerator[list[kv_pb2.Event], None]:
        """As `watch`, in the API's own messages."""
        return self._follow(start, timeout, lambda response: list(response.events))

    async def _follow(
        self, start: int, timeout: float, decode: Callable[[Any], list[T]]
    ) -> AsyncGenerator[list[T], None]:
        create = rpc_pb2.WatchCreateRequest(key=b"\0", range_end=b"\0", start_revision=start)
        requests: asyncio.Queue[Any] = asyncio.Queue(1)
        requests.put_nowait(rpc_pb2.WatchRequest(create_request=create))
        stream = self._watch.Watch(_until_cancelled(requests), timeout=timeout)
        try:
            async for response in stream:
                assert not response.canceled, response
                yield decode(response)
        finally:
            stream.cancel()


async def _until_cancelled(requests: asyncio.Queue[Any]) -> AsyncIterator[Any]:
    while True:
        yield await requests.get()


def _never_sent(error: grpc.aio.AioRpcError) -> bool:
    return error.code() is grpc.StatusCode.UNAVAILABLE and (
        "Connection refused" in (error.details() or "")
    )


def found(kv: kv_pb2.KeyValue) -> Found:
    return Found(tag_of(kv.value), kv.create_revision, kv.mod_revision, kv.version)


def events_of(response: rpc_pb2.WatchResponse) -> list[Event]:
    return [event_of(event) for event in response.events]


def event_of(event: kv_pb2.Event) -> Event:
    kv = event.kv
    tag = None if event.type == kv_pb2.Event.DELETE else tag_of(kv.value)
    return Event(kv.mod_revision, kv.key.decode(), tag, kv.create_revision, kv.version)


async def events_to(client: Client, last: int, timeout: float) -> list[Event]:
    """Every event from revision 1 to `last`, by this member's word."""
    events: list[Event] = []
    if last <= 1:
        return events
    async with contextlib.aclosing(client.watch(1, timeout)) as responses:
        async for batch in responses:
            events.extend(batch)
            if events and events[-1].revision >= last:
                break
    return events


def failures(operations: Iterable[Operation]) -> list[Operation]:
    return [operation for operation in operations if operation.outcome is not Outcome.OK]

"""What a service sees of a call: its metadata and deadline, and for streams both directions."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from google.protobuf.message import DecodeError, Message

from etcdshim.asgi_wire import (
    CANCELLED,
    DEADLINE_EXCEEDED,
    INTERNAL,
    FrameReader,
    GrpcError,
    Receive,
    Send,
    frame,
)

# A message is handed to the server in parts of this many bytes, so that a slow but moving reader is
# seen to move: the stall clock restarts with each part.
PART_BYTES = 256 * 1024
# Requests parsed ahead of the handler; beyond, HTTP/2 flow control holds the client back.
_REQUESTS_AHEAD_MAX = 8


@dataclass(frozen=True, slots=True)
class GrpcLimits:
    """Bounds of one server. Sizes in bytes, times in seconds."""

    max_request_bytes: int = 1572864 + 512 * 1024  # etcd's request limit and its allowance for gRPC
    stall_timeout: float = 30.0  # a stream whose reader takes nothing for this long is cut
    # How a stalled stream is cut. True: it is abandoned half-way, so that the server resets it (the
    # client sees INTERNAL, which etcd clients resume from, and the unread bytes are dropped at
    # once). False: status UNAVAILABLE, which the client sees once it has read what is before it.
    reset_stalled: bool = True
    slow_after: float = 0.1  # a unary call this old is also watched for its client's departure


class Call:
    """One RPC as its handler sees it."""

    __slots__ = (
        "_headers",
        "_metadata",
        "bucket",
        "deadline",
        "departures",
        "end",
        "path",
        "task",
        "watcher",
    )

    def __init__(
        self,
        path: str,
        headers: Mapping[bytes, bytes],
        deadline: float | None,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.path = path
        self.deadline = deadline  # loop.time() at which the client gives up
        self._headers = headers
        self._metadata: Mapping[str, str] | None = None
        # The rest belongs to the layer, not to handlers.
        task = asyncio.current_task(loop)
        assert task is not None, "calls run in tasks"
        self.task: asyncio.Task[Any] = task  # runs the handler
        self.end: GrpcError | None = None  # why the layer cancelled the handler
        self.bucket: set[Call] | None = None  # this call's place in the overseer
        self.departures: Receive | None = None  # set once a unary request was read
        self.watcher: asyncio.Task[None] | None = None  # waits for the client's departure

    def header(self, name: bytes) -> bytes | None:
        """One request header, its name in lower case: what `metadata` has, without decoding all."""
        return self._headers.get(name)

    @property
    def metadata(self) -> Mapping[str, str]:
        """Request headers, names in lower case; the first value where a name is repeated.

        Values are UTF-8; bytes that are not appear as surrogate escapes (U+DC80 to U+DCFF).
        """
        if self._metadata is None:
            self._metadata = {
                name.decode("latin-1"): value.decode("utf-8", "surrogateescape")
                for name, value in self._headers.items()
            }
        return self._metadata

    def stop(self, end: GrpcError) -> None:
        """Cancel the handler; the call will end with `end`. The first reason given stands."""
        if self.end is None:
            self.end = end
            self.task.cancel()

    def expire(self) -> None:
        self.stop(GrpcError(DEADLINE_EXCEEDED, "context deadline exceeded"))

    def depart(self) -> None:
        """The client is gone: nobody will read the status."""
        self.stop(GrpcError(CANCELLED, "context canceled"))


class Stream(Call):
    """A streaming RPC. `receive` is for one task at a time, `send` for any number of them."""

    __slots__ = (
        "_ended",
        "_lock",
        "_reader",
        "_request",
        "_requests",
        "_room",
        "_send",
        "_waiter",
        "begun",
        "done",
        "seen",
        "stalled",
        "still",
    )

    def __init__(
        self,
        path: str,
        headers: Mapping[bytes, bytes],
        deadline: float | None,
        loop: asyncio.AbstractEventLoop,
        *,
        request: type[Message],
        reader: FrameReader,
        send: Send,
    ) -> None:
        super().__init__(path, headers, deadline, loop)
        self._request = request
        self._reader = reader
        self._send = send
        self._lock = asyncio.Lock()
        self._requests: deque[Message] = deque()  # at most _REQUESTS_AHEAD_MAX
        self._ended: GrpcError | bool = False  # True: half-closed; an error: the request went bad
        self._waiter: asyncio.Future[None] | None = None  # receive() waiting for a request
        self._room: asyncio.Future[None] | None = None  # pump() waiting for receive()
        self.begun = 0  # parts handed to the server
        self.done = 0  # parts it took, <= begun
        self.stalled = False  # whether the overseer stopped it
        self.seen = 0  # done when the overseer last looked
        self.still = 0  # looks in a row that found the same part waiting

    async def receive(self) -> Message | None:
        """The next request, or None once the client half-closed. Raises GrpcError on a bad one."""
        while not self._requests:
            if isinstance(self._ended, GrpcError):
                raise self._ended
            if self._ended:
                return None
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        _wake(self._room)
        return self._requests.popleft()

    async def send(self, message: Message | bytes) -> None:
        """Send one response; bytes are a message already serialized.

        Waits while the client's window is full. Raises GrpcError when the call is over.
        """
        body = frame(message if isinstance(message, bytes) else message.SerializeToString())
        if len(body) <= PART_BYTES and not self._lock.locked():
            await self._put(body)
            return
        async with self._lock:  # parts of two messages must not mix
            for start in range(0, len(body), PART_BYTES):
                await self._put(body[start : start + PART_BYTES])

    async def _put(self, body: bytes) -> None:
        if self.end is not None:
            raise self.end
        self.begun += 1
        try:
            await self._send({"type": "http.response.body", "body": body, "more_body": True})
        except OSError:  # how ASGI servers say that the client has left
            self.depart()
            raise GrpcError(CANCELLED, "context canceled") from None
        finally:
            self.done += 1

    async def pump(self, receive: Receive) -> None:
        """Parse requests as they come and stop the handler when the client leaves."""
        while (event := await receive())["type"] == "http.request":
            if self._ended:
                continue  # only the departure is of interest now
            try:
                await self._accept(event.get("body", b""))
                if not event.get("more_body", False):
                    self._half_close()
            except GrpcError as error:
                self._ended = error
                _wake(self._waiter)
        self.depart()

    async def _accept(self, body: bytes) -> None:
        self._reader.feed(body)
        while (payload := self._reader.next_message()) is not None:
            while len(self._requests) >= _REQUESTS_AHEAD_MAX:
                self._room = asyncio.get_running_loop().create_future()
                await self._room
            self._requests.append(parse(self._request, payload, _STREAM_PARSE_ERROR))
            _wake(self._waiter)

    def _half_close(self) -> None:
        if not self._reader.empty:
            raise GrpcError(INTERNAL, "unexpected EOF")
        self._ended = True
        _wake(self._waiter)


_STREAM_PARSE_ERROR = "grpc: failed to unmarshal the received message"


class Request(Protocol):
    """What makes a request of a message's bytes: a protobuf class, or something like one."""

    def FromString(self, payload: bytes, /) -> Any: ...  # noqa: N802 (protobuf's name)


def parse(request: Request, payload: bytes, complaint: str) -> Any:
    """Decode one request; `complaint` begins the status text if that fails. Raises GrpcError."""
    try:
        return request.FromString(payload)
    except DecodeError as error:
        raise GrpcError(INTERNAL, f"{complaint}: {error}") from error


def _wake(waiter: asyncio.Future[None] | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)


@dataclass(frozen=True, slots=True)
class Unary:
    """A method with one request and one response."""

    request: Request
    handler: Callable[[Any, Call], Awaitable[Message]]


@dataclass(frozen=True, slots=True)
class Streaming:
    """A method that streams in either direction or both."""

    request: type[Message]
    handler: Callable[[Stream], Awaitable[None]]


Routes = Mapping[str, Unary | Streaming]  # by path: "/etcdserverpb.KV/Put"

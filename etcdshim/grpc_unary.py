"""Unary gRPC calls without ASGI: what the HTTP/2 server hands over whole, and wants answered.

The hot path of every service. A handler's coroutine is run here, not in a task: up to its first
wait at once, and on from there when the future it waits for is done. A handler must therefore
only await futures (no asyncio.timeout, no task groups); its deadline is the overseer's business.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from typing import TYPE_CHECKING, Any

from google.protobuf.message import Message

from etcdshim.asgi_call import Call, Unary, parse
from etcdshim.asgi_wire import (
    INTERNAL,
    PREFIX_BYTES,
    UNKNOWN,
    FrameReader,
    GrpcError,
    frame,
    parse_timeout,
    status_fields,
    unpack_prefix,
)
from etcdshim.http2.frames import INTERNAL_ERROR

if TYPE_CHECKING:
    from etcdshim.asgi import GrpcApp
    from etcdshim.http2.connection import Connection
    from etcdshim.http2.head import Head

_log = logging.getLogger("etcdshim.asgi")

PARSE_ERROR = "grpc: error unmarshalling request"
NO_REQUEST = "cardinality violation: received no request message from non-client-streaming RPC"
TWO_REQUESTS = (
    "cardinality violation: received multiple request messages for non-client-streaming RPC"
)


class UnaryCall(Call):
    """A call being served: a coroutine, the future it waits for, and where its answer goes."""

    __slots__ = ("_calls", "_connection", "_handler", "_is_yielding", "_stream", "_waits_for")

    def __init__(
        self, calls: UnaryCalls, head: Head, deadline: float | None, connection: Any, stream: int
    ) -> None:
        # What Call has, without the call of its constructor.
        self.path = head.path.decode("latin-1")
        self.deadline = deadline
        self._headers = head.headers
        self._metadata = None
        self.end = None
        self.bucket = None
        self.departures = None
        self.watcher = None
        self._calls = calls
        self._connection: Connection | _Gone = connection
        self._stream = stream
        self._handler: Coroutine[Any, Any, Message] | None = None
        self._waits_for: Any = None
        self._is_yielding = False  # it waits for nothing but the loop's next turn

    def serve(self, route: Unary, body: Sequence[bytes]) -> bool:
        """Run the handler until it waits; whether it does."""
        calls = self._calls
        try:
            request = parse(route.request, calls.message_of(body, self._headers), PARSE_ERROR)
        except GrpcError as error:
            self._refuse(error)
            return False
        self._handler = route.handler(request, self)  # type: ignore[assignment]
        if not self._step():
            return False
        calls.overseer.enter(self)
        return True

    def _step(self) -> bool:
        """Run the handler to its next wait or its end; whether it waits."""
        handler = self._handler
        assert handler is not None
        try:
            if self._is_yielding and self.end is not None:
                future = handler.throw(asyncio.CancelledError())
            else:
                future = handler.send(None)
        except StopIteration as end:
            self._connection.answer(self._stream, frame(end.value.SerializeToString()))
            return False
        except asyncio.CancelledError:
            self._cancelled()
            return False
        except Exception as failure:  # the supervisor of unary handlers
            self._refuse(status_of(self, failure))
            return False
        self._is_yielding = future is None
        if future is None:  # asyncio.sleep(0): let others go first
            self._calls.loop.call_soon(self._wake, None)
            return True
        future._asyncio_future_blocking = False  # how tasks say that they have taken it over
        future.add_done_callback(self._wake)
        self._waits_for = future
        if self.end is not None:  # stopped while the future before this one was already done
            future.cancel()
        return True

    def _wake(self, _future: Any) -> None:
        if not self._step():
            self._calls.overseer.leave(self)

    def stop(self, end: GrpcError) -> None:
        """Cancel the handler; the call will end with `end`. The first reason given stands."""
        if self.end is None:
            self.end = end
            self._cancel()

    def depart(self) -> None:
        """The client is gone: nobody will read the answer."""
        self._connection = _GONE
        super().depart()

    def abandon(self) -> None:
        """The server stops: the stream is reset."""
        self._cancel()

    def _cancel(self) -> None:
        if self._waits_for is not None:
            self._waits_for.cancel()

    def _cancelled(self) -> None:
        if self.end is not None:
            self._refuse(self.end)
        else:  # not this layer's doing: the server or the node stops
            self._connection.cut(self._stream, INTERNAL_ERROR)

    def _refuse(self, error: GrpcError) -> None:
        self._connection.refuse(self._stream, status_fields(error.code, error.message))


class _Gone:
    """Where the answers of those go whose clients have left."""

    def answer(self, stream: int, body: bytes) -> None:
        pass

    def refuse(self, stream: int, fields: list[tuple[bytes, bytes]]) -> None:
        pass

    def cut(self, stream: int, code: int) -> None:
        pass


_GONE = _Gone()


class UnaryCalls:
    """Serves the unary routes of an application (`etcdshim.http2.connection.Calls`)."""

    def __init__(self, app: GrpcApp) -> None:
        self._app = app
        self._limit = app.limits.max_request_bytes
        self.loop = asyncio.get_running_loop()
        self.overseer = app.overseer

    def route(self, head: Head) -> Any:
        """The route and the timeout of a call, if it is a unary one that can be served here."""
        content_type = head.headers.get(b"content-type", b"")
        if not is_grpc(content_type) or head.method != "POST":
            return None
        route = self._app.routes.get(head.path.decode("latin-1"))
        if not isinstance(route, Unary):
            return None
        raw = head.headers.get(b"grpc-timeout")
        try:
            return route, None if raw is None else parse_timeout(raw)
        except GrpcError:
            return None  # the application says what is wrong with it

    def begin(
        self, head: Head, body: list[bytes], connection: Connection, stream: int
    ) -> UnaryCall | None:
        route, timeout = head.route
        deadline = None if timeout is None else self.loop.time() + timeout
        call = UnaryCall(self, head, deadline, connection, stream)
        return call if call.serve(route, body) else None

    def is_too_large(self, head: Head, first: bytes) -> bool:  # noqa: ARG002
        """Whether the message announced by the body's first bytes is over the limit."""
        return len(first) >= PREFIX_BYTES and unpack_prefix(first)[1] > self._limit

    def message_of(self, body: Sequence[bytes], headers: Any) -> bytes:
        """The one message of a body. Raises GrpcError."""
        first = body[0] if body else b""
        if len(first) < PREFIX_BYTES:
            return self._unusual(body, headers)
        flags, size = unpack_prefix(first)
        if flags or size > self._limit or size != sum(map(len, body)) - PREFIX_BYTES:
            return self._unusual(body, headers)
        if len(body) == 1:
            return first[PREFIX_BYTES:]
        return b"".join((memoryview(first)[PREFIX_BYTES:], *body[1:]))

    def _unusual(self, body: Sequence[bytes], headers: Any) -> bytes:
        """A message that is compressed, too large, cut oddly, or not alone."""
        reader = FrameReader(self._limit, headers.get(b"grpc-encoding", b"").decode("latin-1"))
        for part in body:
            reader.feed(part)
        message = reader.next_message()
        if message is None:
            raise GrpcError(INTERNAL, NO_REQUEST if reader.empty else "unexpected EOF")
        if not reader.empty:
            raise GrpcError(INTERNAL, TWO_REQUESTS)
        return message


def is_grpc(content_type: bytes) -> bool:
    """application/grpc, with or without a subtype or parameters; not application/grpc-web."""
    return content_type.startswith(b"application/grpc") and content_type[16:17] in (b"", b"+", b";")


def status_of(call: Call, failure: Exception) -> GrpcError:
    """The status a handler's exception means; logs it unless the handler chose the status."""
    if call.end is not None:
        return call.end  # what a handler raises while it is being stopped says nothing new
    if isinstance(failure, ExceptionGroup):
        failure = _first_status(failure) or failure
    if isinstance(failure, GrpcError):
        return failure
    _log.error("grpc.handler_failed path=%s", call.path, exc_info=failure)
    return GrpcError(UNKNOWN, str(failure))


def _first_status(group: ExceptionGroup[Exception]) -> GrpcError | None:
    """The status raised in a handler's task group, if one was."""
    for failure in group.exceptions:
        if isinstance(failure, ExceptionGroup):
            failure = _first_status(failure) or failure
        if isinstance(failure, GrpcError):
            return failure
    return None

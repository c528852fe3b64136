"""gRPC over ASGI: frames, metadata, deadlines, cancellation and status trailers; no etcd semantics.

Runs on any ASGI server that speaks HTTP/2 and offers the trailers extension. The unary path is the
hot one: no task and no timer of its own, and three ASGI events out.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextlib import suppress

from etcdshim.asgi_call import Call, GrpcLimits, Routes, Stream, Streaming, Unary, parse
from etcdshim.asgi_watch import Overseer
from etcdshim.asgi_wire import (
    CANCELLED,
    INTERNAL,
    OK,
    PREFIX_BYTES,
    UNIMPLEMENTED,
    UNKNOWN,
    AsgiApp,
    Event,
    FrameReader,
    GrpcError,
    Receive,
    Scope,
    Send,
    frame,
    parse_timeout,
    trailers,
)

__all__ = [
    "Call",
    "GrpcApp",
    "GrpcError",
    "GrpcLimits",
    "Routes",
    "Stream",
    "Streaming",
    "Unary",
]

_log = logging.getLogger(__name__)

_CONTENT_TYPE = (b"content-type", b"application/grpc")
_START: Event = {
    "type": "http.response.start",
    "status": 200,
    "headers": [_CONTENT_TYPE],
    "trailers": True,
}
# Streams and refusals also say which encodings requests may use.
_START_FULL: Event = {
    **_START,
    "headers": [_CONTENT_TYPE, (b"grpc-accept-encoding", b"identity,gzip")],
}
_NO_MORE_BODY: Event = {"type": "http.response.body", "body": b"", "more_body": False}
_SUCCESS = trailers(OK, "")
_PARSE_ERROR = "grpc: error unmarshalling request"
_NO_REQUEST = "cardinality violation: received no request message from non-client-streaming RPC"
_TWO_REQUESTS = (
    "cardinality violation: received multiple request messages for non-client-streaming RPC"
)


class GrpcApp:
    """An ASGI application that serves `routes` as gRPC and hands everything else to `http`."""

    def __init__(self, routes: Routes, http: AsgiApp, *, limits: GrpcLimits | None = None) -> None:
        self._routes = dict(routes)
        self._http = http
        self._limits = GrpcLimits() if limits is None else limits
        self._overseer = Overseer(self._limits)
        self._services = {path.rpartition("/")[0] for path in self._routes}

    def statistics(self) -> dict[str, int]:
        """Calls now open, by kind."""
        return self._overseer.statistics()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # The first of repeated headers counts, so the list is turned round.
        headers: dict[bytes, bytes] = dict(reversed(scope.get("headers", ())))
        if scope["type"] != "http" or not _is_grpc(headers.get(b"content-type", b"")):
            await self._http(scope, receive, send)
            return
        if scope["method"] != "POST" or "http.response.trailers" not in scope["extensions"]:
            await _refuse_transport(scope, send)
            return
        path: str = scope["path"]
        route = self._routes.get(path)
        try:
            if route is None:
                raise self._unknown(path)
            now = asyncio.get_running_loop().time()
            timeout = headers.get(b"grpc-timeout")
            deadline = None if timeout is None else now + parse_timeout(timeout)
        except GrpcError as error:
            await _refuse(send, error)
            return
        if type(route) is Unary:
            call = Call(path, headers, deadline)
            await self._serve_unary(route, call, headers, now, receive, send)
        elif type(route) is Streaming:
            await self._serve_stream(route, path, headers, deadline, receive, send)

    async def _serve_unary(
        self,
        route: Unary,
        call: Call,
        headers: Mapping[bytes, bytes],
        now: float,
        receive: Receive,
        send: Send,
    ) -> None:
        self._overseer.enter(call, now)
        try:
            try:
                payload = await self._read_only_message(headers, receive)
                call.departures = receive
                response = await route.handler(parse(route.request, payload, _PARSE_ERROR), call)
                reply = frame(response.SerializeToString())
            finally:
                self._overseer.leave(call)
        except asyncio.CancelledError:
            await _refuse(send, _cancelled(call))
        except Exception as failure:  # the supervisor of unary handlers
            await _refuse(send, _status_of(call, failure))
        else:
            with suppress(OSError):  # the client has left
                await send(_START)
                await send({"type": "http.response.body", "body": reply, "more_body": False})
                await send(_SUCCESS)

    async def _read_only_message(self, headers: Mapping[bytes, bytes], receive: Receive) -> bytes:
        event = await receive()
        body: bytes = event.get("body", b"")
        # Nearly always the first event holds the whole message, uncompressed.
        if (
            PREFIX_BYTES <= len(body) <= self._limits.max_request_bytes
            and body[0] == 0
            and int.from_bytes(body[1:PREFIX_BYTES], "big") == len(body) - PREFIX_BYTES
        ):
            return body[PREFIX_BYTES:]
        reader = self._frame_reader(headers)
        while event["type"] == "http.request":
            reader.feed(event.get("body", b""))
            payload = reader.next_message()
            if payload is not None:
                if not reader.empty:
                    raise GrpcError(INTERNAL, _TWO_REQUESTS)
                return payload
            if not event.get("more_body", False):
                raise GrpcError(INTERNAL, _NO_REQUEST if reader.empty else "unexpected EOF")
            event = await receive()
        raise GrpcError(CANCELLED, "context canceled")

    async def _serve_stream(
        self,
        route: Streaming,
        path: str,
        headers: Mapping[bytes, bytes],
        deadline: float | None,
        receive: Receive,
        send: Send,
    ) -> None:
        reader = self._frame_reader(headers)
        stream = Stream(path, headers, deadline, request=route.request, reader=reader, send=send)
        error = GrpcError(OK, "")
        self._overseer.add_stream(stream)
        try:
            await send(_START_FULL)  # at once: some clients wait for it before their first request
            async with asyncio.TaskGroup() as group:
                pump = group.create_task(stream.pump(receive))
                await route.handler(stream)
                pump.cancel()
        except asyncio.CancelledError:
            error = _cancelled(stream)
        except Exception as failure:  # the supervisor of stream handlers
            error = _status_of(stream, failure)
        finally:
            self._overseer.remove_stream(stream)
        with suppress(OSError):  # the client has left, or still does not read: the server resets
            async with asyncio.timeout(self._limits.stall_timeout):
                await send(_NO_MORE_BODY)
                await send(trailers(error.code, error.message))

    def _frame_reader(self, headers: Mapping[bytes, bytes]) -> FrameReader:
        encoding = headers.get(b"grpc-encoding", b"").decode("latin-1")
        return FrameReader(self._limits.max_request_bytes, encoding)

    def _unknown(self, path: str) -> GrpcError:
        service, slash, method = path.rpartition("/")
        if not slash or not service.startswith("/"):
            return GrpcError(UNIMPLEMENTED, f"malformed method name: {path!r}")
        if service not in self._services:
            return GrpcError(UNIMPLEMENTED, f"unknown service {service[1:]}")
        return GrpcError(UNIMPLEMENTED, f"unknown method {method} for service {service[1:]}")


def _is_grpc(content_type: bytes) -> bool:
    """application/grpc, with or without a subtype or parameters; not application/grpc-web."""
    return content_type.startswith(b"application/grpc") and content_type[16:17] in (b"", b"+", b";")


def _cancelled(call: Call) -> GrpcError:
    """The status of a call whose handler was cancelled; raises if it was not this layer's doing."""
    if call.end is None or call.task.uncancel() > 0:
        raise asyncio.CancelledError
    return call.end


def _status_of(call: Call, failure: Exception) -> GrpcError:
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


async def _refuse(send: Send, error: GrpcError) -> None:
    """Answer a call with a status alone."""
    with suppress(OSError):  # the client has left
        await send(_START_FULL)
        await send(_NO_MORE_BODY)
        await send(trailers(error.code, error.message))


async def _refuse_transport(scope: Scope, send: Send) -> None:
    """Answer a gRPC content type that came in a way gRPC cannot be answered."""
    status, text = 505, "gRPC requires HTTP/2 and te: trailers\n"
    if scope["method"] != "POST":
        status, text = 405, f"invalid gRPC request method {scope['method']!r}\n"
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": text.encode(), "more_body": False})

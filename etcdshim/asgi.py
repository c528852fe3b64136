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
    unpack_prefix,
)
from etcdshim.grpc_unary import NO_REQUEST, PARSE_ERROR, TWO_REQUESTS, is_grpc, status_of

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
_FLUSH: Event = {"type": "http.response.body", "body": b"", "more_body": True}
_NO_MORE_BODY: Event = {"type": "http.response.body", "body": b"", "more_body": False}
_SUCCESS = trailers(OK, "")


class GrpcApp:
    """An ASGI application that serves `routes` as gRPC and hands everything else to `http`."""

    def __init__(self, routes: Routes, http: AsgiApp, *, limits: GrpcLimits | None = None) -> None:
        self.routes = dict(routes)
        self._http = http
        self.limits = GrpcLimits() if limits is None else limits
        self.overseer = Overseer(self.limits)
        self._services = {path.rpartition("/")[0] for path in self.routes}

    def statistics(self) -> dict[str, int]:
        """Calls now open, by kind."""
        return self.overseer.statistics()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # The first of repeated headers counts, so the list is turned round.
        headers: dict[bytes, bytes] = dict(reversed(scope.get("headers", ())))
        content_type = headers.get(b"content-type", b"")
        if content_type != b"application/grpc" and not is_grpc(content_type):
            await self._http(scope, receive, send)
            return
        if scope["method"] != "POST" or "http.response.trailers" not in scope["extensions"]:
            await _refuse_transport(scope, send)
            return
        path: str = scope["path"]
        route = self.routes.get(path)
        loop = asyncio.get_running_loop()
        timeout = headers.get(b"grpc-timeout")
        try:
            if route is None:
                raise self._unknown(path)
            deadline = None if timeout is None else loop.time() + parse_timeout(timeout)
        except GrpcError as error:
            await _refuse(send, error)
            return
        if type(route) is Unary:
            call = Call(path, headers, deadline, loop)
            await self._serve_unary(route, call, headers, receive, send)
        elif type(route) is Streaming:
            reader = self._frame_reader(headers)
            stream = Stream(
                path, headers, deadline, loop, request=route.request, reader=reader, send=send
            )
            await self._serve_stream(route, stream, receive, send)

    async def _serve_unary(
        self,
        route: Unary,
        call: Call,
        headers: Mapping[bytes, bytes],
        receive: Receive,
        send: Send,
    ) -> None:
        self.overseer.enter(call)
        try:
            try:
                event = await receive()
                payload = _whole_message(event.get("body", b""), self.limits.max_request_bytes)
                if payload is None:
                    payload = await self._gather_message(event, headers, receive)
                call.departures = receive
                response = await route.handler(parse(route.request, payload, PARSE_ERROR), call)
                reply = frame(response.SerializeToString())
            finally:
                self.overseer.leave(call)
        except asyncio.CancelledError:
            await _refuse(send, _cancelled(call))
        except Exception as failure:  # the supervisor of unary handlers
            await _refuse(send, status_of(call, failure))
        else:
            try:  # not suppress(), which costs as much as one of these sends
                await send(_START)
                await send({"type": "http.response.body", "body": reply, "more_body": False})
                await send(_SUCCESS)
            except OSError:
                return  # the client has left

    async def _gather_message(
        self, event: Event, headers: Mapping[bytes, bytes], receive: Receive
    ) -> bytes:
        """The only message of a request that begins with `event`. Raises GrpcError."""
        reader = self._frame_reader(headers)
        while event["type"] == "http.request":
            reader.feed(event.get("body", b""))
            payload = reader.next_message()
            if payload is not None:
                if not reader.empty:
                    raise GrpcError(INTERNAL, TWO_REQUESTS)
                return payload
            if not event.get("more_body", False):
                raise GrpcError(INTERNAL, NO_REQUEST if reader.empty else "unexpected EOF")
            event = await receive()
        raise GrpcError(CANCELLED, "context canceled")

    async def _serve_stream(
        self, route: Streaming, stream: Stream, receive: Receive, send: Send
    ) -> None:
        error = GrpcError(OK, "")
        timer = None
        if stream.deadline is not None:
            timer = asyncio.get_running_loop().call_at(stream.deadline, stream.expire)
        self.overseer.add_stream(stream)
        try:
            # At once: some clients wait for it before their first request. The empty event is what
            # makes a server part with the headers.
            if await _begins(send):
                async with asyncio.TaskGroup() as group:
                    pump = group.create_task(stream.pump(receive))
                    await route.handler(stream)
                    pump.cancel()
        except asyncio.CancelledError:
            error = _cancelled(stream)
        except Exception as failure:  # the supervisor of stream handlers
            error = status_of(stream, failure)
        finally:
            self.overseer.remove_stream(stream)
            if timer is not None:
                timer.cancel()
        if stream.stalled:
            _log.warning("grpc.stream_cut path=%s reason=%r", stream.path, error.message)
            if self.limits.reset_stalled:
                return
        with suppress(OSError):  # the client has left, or still does not read: the server resets
            async with asyncio.timeout(self.limits.stall_timeout):
                await send(_NO_MORE_BODY)
                await send(trailers(error.code, error.message))

    def _frame_reader(self, headers: Mapping[bytes, bytes]) -> FrameReader:
        encoding = headers.get(b"grpc-encoding", b"").decode("latin-1")
        return FrameReader(self.limits.max_request_bytes, encoding)

    def _unknown(self, path: str) -> GrpcError:
        service, slash, method = path.rpartition("/")
        if not slash or not service.startswith("/"):
            return GrpcError(UNIMPLEMENTED, f"malformed method name: {path!r}")
        if service not in self._services:
            return GrpcError(UNIMPLEMENTED, f"unknown service {service[1:]}")
        return GrpcError(UNIMPLEMENTED, f"unknown method {method} for service {service[1:]}")


def _whole_message(body: bytes, limit: int) -> bytes | None:
    """The message if `body` is exactly one, uncompressed and within the limit: the usual case."""
    if len(body) < PREFIX_BYTES:
        return None
    flags, size = unpack_prefix(body)
    if flags or size != len(body) - PREFIX_BYTES or size > limit:
        return None
    return body[PREFIX_BYTES:]


def _cancelled(call: Call) -> GrpcError:
    """The status of a call whose handler was cancelled; raises if it was not this layer's doing."""
    if call.end is None or call.task.uncancel() > 0:
        raise asyncio.CancelledError
    return call.end


async def _begins(send: Send) -> bool:
    """Send the head of a stream's answer; False if the client has left already."""
    try:
        await send(_START_FULL)
        await send(_FLUSH)
    except OSError:
        return False
    return True


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

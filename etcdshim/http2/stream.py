"""A request that an ASGI application serves: gRPC streams, and plain HTTP over HTTP/2."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING, Any

from etcdshim.http2.frames import (
    DATA,
    END_HEADERS,
    END_STREAM,
    FLOW_CONTROL_ERROR,
    HEADERS,
    INTERNAL_ERROR,
    NO_ERROR,
    frame,
    reset,
    window_update,
)
from etcdshim.http2.head import Head
from etcdshim.http2.hpack import encode

if TYPE_CHECKING:
    from etcdshim.http2.connection import Connection

_log = logging.getLogger(__name__)


class HttpStream:
    """The two directions of one request, and the task that runs the application."""

    def __init__(self, connection: Connection, number: int, head: Head, window: int) -> None:
        self._connection = connection
        self._number = number
        self._head = head
        self._window = window  # bytes the client may still send
        self._refill = window // 2
        self._credit = 0  # bytes read by the application and not given back to the client yet
        self._events: deque[tuple[bytes, bool, int]] = deque()  # body, ends, bytes of window
        self._waiter: asyncio.Future[None] | None = None
        self._task: asyncio.Task[None] | None = None
        self._received_end = False
        self._started = False  # the response's head was sent
        self._has_trailers = False
        self._over = False  # the response has ended
        self._departed = False

    def start(self, asgi: Any, addresses: tuple[Any, Any]) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run(asgi, addresses))

    # The client's side.

    def feed(self, body: bytes, *, ends: bool, size: int = 0) -> None:
        """A part of the request's body, which took `size` bytes of the window."""
        self._window -= size
        if self._window < 0:
            self._connection.cut(self._number, FLOW_CONTROL_ERROR)
            self.depart()
            return
        if self._received_end:
            return
        self._received_end = ends
        self._events.append((body, ends, size))
        self._wake()

    def depart(self) -> None:
        """The client has left, or reset the stream."""
        self._departed = True
        self._wake()

    def abandon(self) -> None:
        """The server stops."""
        if self._task is not None:
            self._task.cancel()

    # The application's side.

    async def _run(self, asgi: Any, addresses: tuple[Any, Any]) -> None:
        try:
            await asgi(self._head.scope(*addresses), self._receive, self._send)
        except asyncio.CancelledError:
            if not self._over:
                self._end(reset(self._number, INTERNAL_ERROR))
            raise
        except Exception as error:  # the supervisor of the application
            _log.exception("http2.application_failed path=%r", self._head.path, exc_info=error)
        if not self._over:
            self._end(reset(self._number, INTERNAL_ERROR))

    async def _receive(self) -> dict[str, Any]:
        while not self._events:
            if self._departed or self._over:
                return {"type": "http.disconnect"}
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        body, ends, size = self._events.popleft()
        self._credit += size
        if self._credit >= self._refill and not self._received_end:
            self._connection.out.send(window_update(self._number, self._credit))
            self._window += self._credit
            self._credit = 0
        return {"type": "http.request", "body": body, "more_body": not ends}

    async def _send(self, event: Any) -> None:
        """Take one ASGI event. OSError if the client has left."""
        if self._departed or self._over:
            raise ConnectionResetError("the client has left")
        kind = event["type"]
        if kind == "http.response.start":
            self._start(event)
        elif kind == "http.response.body":
            await self._send_body(event.get("body", b""), bool(event.get("more_body", False)))
        elif kind == "http.response.trailers":
            block = encode([(bytes(n), bytes(v)) for n, v in event["headers"]])
            self._end(frame(HEADERS, END_HEADERS | END_STREAM, self._number, block))
        else:
            raise ValueError(f"no {kind} here")

    def _start(self, event: Any) -> None:
        self._started = True
        self._has_trailers = bool(event.get("trailers", False))
        status = (b":status", b"%d" % event["status"])
        block = encode([status, *((bytes(n), bytes(v)) for n, v in event.get("headers", ()))])
        self._connection.out.send(frame(HEADERS, END_HEADERS, self._number, block))

    async def _send_body(self, body: bytes, more: bool) -> None:
        if body:
            flow = self._connection.out.flow(self._number)
            flow.add(body)
            self._connection.out.push(self._number, flow)
            if flow.parts:
                await flow.drained()
        if not more and not self._has_trailers:
            self._end(frame(DATA, END_STREAM, self._number))

    def _end(self, last: bytes) -> None:
        """Send what ends the stream. A request that goes on is told that nobody reads it."""
        self._over = True
        self._connection.out.send(last)
        if not self._received_end and self._started:
            self._connection.out.send(reset(self._number, NO_ERROR))
        self._connection.ended(self._number)
        self._wake()

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

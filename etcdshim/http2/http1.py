"""HTTP/1.1 on the port of HTTP/2: health, metrics and what else is not gRPC, one request at a time.

The protocol is h11's; this adds the event loop, ASGI and the bounds.
"""

from __future__ import annotations

import asyncio
import logging
from http.client import responses
from typing import Any, Final, cast
from urllib.parse import unquote_to_bytes

import h11

_log = logging.getLogger(__name__)

IDLE_SECONDS: Final = 120.0  # a connection without a request under way is closed after this
_HEAD_BYTES_MAX: Final = 64 * 1024
_BODY_BYTES_MAX: Final = 4 << 20  # of a request: held in memory while the application reads it


class Http1Connection(asyncio.Protocol):
    """A client's connection; requests that follow each other are answered in order."""

    def __init__(self, asgi: Any, closed: Any) -> None:
        self._asgi = asgi
        self._closed = closed
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=_HEAD_BYTES_MAX)
        self._task: asyncio.Task[None] | None = None
        self._body: list[bytes] = []
        self._size = 0
        self._whole: asyncio.Future[None] | None = None  # the request under way has come
        self._is_told = False  # the application has seen it
        self._over = asyncio.Event()  # the connection is lost
        self._draining = False
        self._idle: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._wait_idle()

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002
        if self._idle is not None:
            self._idle.cancel()
        if self._task is not None:
            self._task.cancel()
        self._transport = None
        self._over.set()
        self._closed(self)

    def data_received(self, data: bytes) -> None:
        self._feed(data)

    def eof_received(self) -> bool:
        self._feed(b"")
        return self._task is not None  # half-closed: the answer under way still goes out

    def drain(self) -> None:
        """Close when the request under way is answered; at once if there is none."""
        self._draining = True
        if self._task is None:
            self._close()

    def abandon(self) -> None:
        self._close()

    def _feed(self, data: bytes) -> None:
        try:
            self._http.receive_data(data)
            self._next_events()
        except h11.RemoteProtocolError as error:
            self._refuse(error.error_status_hint, str(error))

    def _next_events(self) -> None:
        while True:
            event = self._http.next_event()
            if isinstance(event, h11.Request):
                self._begin(event)
            elif isinstance(event, h11.Data):
                self._size += len(event.data)
                if self._size > _BODY_BYTES_MAX:
                    raise h11.RemoteProtocolError("request body too large", 413)
                self._body.append(bytes(event.data))
            elif isinstance(event, h11.EndOfMessage):
                if self._whole is not None and not self._whole.done():
                    self._whole.set_result(None)
            elif isinstance(event, h11.ConnectionClosed):
                if self._task is None:
                    self._close()
                return
            else:  # NEED_DATA, or PAUSED until the request under way is answered
                return

    def _begin(self, request: h11.Request) -> None:
        if self._idle is not None:
            self._idle.cancel()
        self._body, self._size = [], 0
        self._whole = self._loop.create_future()
        self._is_told = False
        self._task = self._loop.create_task(self._run(self._scope(request)))

    async def _run(self, scope: dict[str, Any]) -> None:
        try:
            await self._asgi(scope, self._receive, self._send)
        except Exception as error:  # the supervisor of the application
            _log.exception("http1.application_failed path=%r", scope["path"], exc_info=error)
        self._task = None
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
            if not self._draining:
                self._wait_idle()
                self._feed(b"")
                return
        if self._http.our_state is h11.IDLE or self._http.our_state is h11.SEND_RESPONSE:
            self._refuse(500, "Internal Server Error")
        self._close()

    async def _receive(self) -> dict[str, Any]:
        assert self._whole is not None
        if self._is_told:
            await self._over.wait()
            return {"type": "http.disconnect"}
        await self._whole
        self._is_told = True
        return {"type": "http.request", "body": b"".join(self._body), "more_body": False}

    async def _send(self, event: Any) -> None:
        if self._transport is None:
            raise ConnectionResetError("the client has left")
        if event["type"] == "http.response.start":
            headers = [(bytes(n), bytes(v)) for n, v in event.get("headers", ())]
            self._write(_response(event["status"], headers))
        elif event["type"] == "http.response.body":
            if event.get("body"):
                self._write(h11.Data(data=event["body"]))
            if not event.get("more_body", False):
                self._write(h11.EndOfMessage())

    def _write(self, event: Any) -> None:
        data = self._http.send(event)
        if data and self._transport is not None:
            self._transport.write(data)

    def _refuse(self, status: int, text: str) -> None:
        if self._http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            body = f"{text}\n".encode()
            headers = [
                (b"content-type", b"text/plain; charset=utf-8"),
                (b"content-length", b"%d" % len(body)),
                (b"connection", b"close"),
            ]
            self._write(_response(status, headers))
            self._write(h11.Data(data=body))
            self._write(h11.EndOfMessage())
        self._close()

    def _scope(self, request: h11.Request) -> dict[str, Any]:
        raw_path, _, query = request.target.partition(b"?")
        assert self._transport is not None
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": request.http_version.decode("ascii"),
            "method": request.method.decode("ascii"),
            "scheme": "http",
            "path": unquote_to_bytes(raw_path).decode("utf-8", "surrogateescape"),
            "raw_path": raw_path,
            "query_string": query,
            "root_path": "",
            "headers": list(request.headers),
            "client": self._transport.get_extra_info("peername"),
            "server": self._transport.get_extra_info("sockname"),
            "extensions": {},
        }

    def _wait_idle(self) -> None:
        self._idle = self._loop.call_later(IDLE_SECONDS, self._close)

    def _close(self) -> None:
        if self._transport is not None:
            self._transport.close()


def _response(status: int, headers: list[tuple[bytes, bytes]]) -> h11.Response:
    reason = responses.get(status, "").encode()
    return h11.Response(status_code=status, headers=headers, reason=reason)

"""Accepts connections, finds out which protocol they speak, and ends them when the server stops."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from typing import Any, Final, cast

from etcdshim.http2.connection import Calls, Connection, Serving
from etcdshim.http2.frames import PREFACE
from etcdshim.http2.http1 import Http1Connection

_FIRST_BYTES_SECONDS: Final = 10.0  # for a new connection to say anything


class Server:
    """Serves an ASGI application, and unary gRPC calls beside it, on listening sockets."""

    def __init__(self, asgi: Any, calls: Calls, *, window: int, streams_max: int) -> None:
        """`window`: bytes a client may send on one stream before anyone reads them."""
        self._asgi = asgi
        self._serving = Serving(asgi, calls, streams_max, window, self._closed)
        self._connections: set[Connection | Http1Connection | _Opening] = set()
        self._servers: list[asyncio.Server] = []
        self._empty = asyncio.Event()

    async def start(self, listeners: Sequence[socket.socket]) -> None:
        loop = asyncio.get_running_loop()
        for listener in listeners:
            server = await loop.create_server(self._open, sock=listener)
            self._servers.append(server)

    async def stop(self, grace: float) -> None:
        """Refuse new connections, let calls end for `grace` seconds, then end them."""
        for server in self._servers:
            server.close()
        for connection in list(self._connections):
            connection.drain()
        try:
            async with asyncio.timeout(grace):
                await self._ended()
        except TimeoutError:
            for connection in list(self._connections):
                connection.abandon()
            await self._ended()

    async def _ended(self) -> None:
        while self._connections:
            self._empty.clear()
            await self._empty.wait()

    def _open(self) -> _Opening:
        opening = _Opening(self)
        self._connections.add(opening)
        return opening

    def become(self, opening: _Opening, data: bytes, *, is_http2: bool) -> asyncio.Protocol:
        """The protocol for a connection that has begun with `data`."""
        connection: Connection | Http1Connection
        if is_http2:
            connection = Connection(self._serving)
        else:
            connection = Http1Connection(self._asgi, self._closed)
        self._connections.discard(opening)
        self._connections.add(connection)
        transport = opening.transport
        assert transport is not None
        transport.set_protocol(connection)
        connection.connection_made(transport)
        connection.data_received(data)
        return connection

    def _closed(self, connection: Any) -> None:
        self._connections.discard(connection)
        if not self._connections:
            self._empty.set()

    closed = _closed


class _Opening(asyncio.Protocol):
    """A connection that has not said yet what it speaks."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._data = b""
        self._timer: asyncio.TimerHandle | None = None
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        known: socket.socket | None = transport.get_extra_info("socket")
        if known is not None:
            # Peers that vanish without a word are found out by the kernel.
            known.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(_FIRST_BYTES_SECONDS, self.abandon)

    def data_received(self, data: bytes) -> None:
        self._data += data
        begin = self._data[: len(PREFACE)]
        is_http2 = PREFACE.startswith(begin)
        if is_http2 and len(begin) < len(PREFACE):
            return
        self._cancel()
        self._server.become(self, self._data, is_http2=is_http2)

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002
        self._cancel()
        self._server.closed(self)

    def drain(self) -> None:
        self.abandon()

    def abandon(self) -> None:
        if self.transport is not None:
            self.transport.abort()

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

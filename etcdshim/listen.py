"""Serves an ASGI application on client URLs with h2corn, in the running event loop."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any
from urllib.parse import urlsplit

from h2corn import Config, Server

_BACKLOG = 4096
# A response nobody takes pins memory; HTTP/2 resets its stream after this many seconds without
# progress. The gRPC layer cuts streams sooner, so this ends unary answers and cut streams' remains.
_PINNED_SECONDS = 10.0


async def serve(
    app: Any,
    *,
    urls: Sequence[str],
    on_ready: Callable[[Sequence[str]], None],
    stop: asyncio.Event,
    grace: float = 5.0,
    max_concurrent_streams: int = 2**31 - 1,
) -> None:
    """Serve `app` on every URL until `stop` is set; then let calls end for `grace` seconds.

    `urls` are http://host:port, where port 0 takes any free port. `on_ready` gets the bound
    addresses (host:port, in the order of `urls`) once connections are accepted. What still runs
    after `grace` is cancelled. Raises ValueError for a URL that cannot be served and OSError,
    naming the address, when one cannot be bound; nothing is served then.
    """
    addresses = [await _resolve(url) for url in urls]
    with ExitStack() as closing:
        # Bound here, not by the server: its errors do not name what is wrong as precisely.
        listeners = [closing.enter_context(_listen(*address)) for address in addresses]
        bind = tuple(f"fd://{listener.fileno()}" for listener in listeners)
        server = Server(app, _config(bind, grace, max_concurrent_streams))
        async with asyncio.TaskGroup() as group:
            serving = group.create_task(server.serve())
            await server.wait_started()
            on_ready([_join(*listener.getsockname()[:2]) for listener in listeners])
            stopped = group.create_task(stop.wait())
            await asyncio.wait({serving, stopped}, return_when=asyncio.FIRST_COMPLETED)
            closing.close()  # from here on, connection attempts are refused
            stopped.cancel()
            server.shutdown()


async def check(urls: Sequence[str]) -> None:
    """Raises as `serve` would now, if one of these URLs cannot be served."""
    for url in urls:
        _listen(*await _resolve(url)).close()


def _config(bind: tuple[str, ...], grace: float, max_concurrent_streams: int) -> Config:
    return Config(
        bind=bind,
        grpc=True,
        lifespan="off",  # the application's parts are started and stopped by the node
        access_log=False,
        max_concurrent_streams=max_concurrent_streams,
        timeout_graceful_shutdown=grace,
        # Watches idle for days, and clients keep connections open without calls.
        timeout_keep_alive=0,
        h2_timeout_write=0,  # would close the connection of a slow but moving reader
        h2_timeout_response_stall=_PINNED_SECONDS,
        limit_concurrency=0,
        limit_connections=0,
        date_header=False,
    )


async def _resolve(url: str) -> tuple[str, int]:
    """The one address a URL names: its first IPv4 address, as Go resolves listeners."""
    parts = urlsplit(url)
    if parts.scheme != "http":
        raise ValueError(f"cannot listen on {url!r}: only http:// URLs are served")
    try:
        port = parts.port
    except ValueError:  # not a number, or out of range
        port = None
    if parts.hostname is None or port is None or parts.path not in ("", "/"):
        raise ValueError(f"cannot listen on {url!r}: it must be http://host:port")
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        raise OSError(error.errno, f"listen tcp {parts.netloc}: {error.strerror}") from error
    found.sort(key=lambda entry: entry[0] != socket.AF_INET)
    return str(found[0][4][0]), port


def _listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises OSError in words that name the address."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        code = error.errno or errno.EIO
        reason = os.strerror(code).lower()
        raise OSError(code, f"listen tcp {_join(host, port)}: bind: {reason}") from error


def _join(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

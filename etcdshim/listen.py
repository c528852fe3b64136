"""Serves an ASGI application on client URLs with h2corn, in the running event loop."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable, Sequence
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
    for address in addresses:
        _check_free(*address)
    bind = tuple(_join(*address) for address in addresses)
    server = Server(app, _config(bind, grace, max_concurrent_streams))
    async with asyncio.TaskGroup() as group:
        serving = group.create_task(server.serve())
        stopper = group.create_task(_shut_down_on(stop, server))
        await server.wait_started()
        on_ready(server.addresses)
        await serving
        stopper.cancel()


async def _shut_down_on(stop: asyncio.Event, server: Server) -> None:
    await stop.wait()
    server.shutdown()


def _config(bind: tuple[str, ...], grace: float, max_concurrent_streams: int) -> Config:
    return Config(
        bind=bind,
        grpc=True,
        lifespan="off",  # the application's parts are started and stopped by the node
        access_log=False,
        backlog=_BACKLOG,
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
    if parts.hostname is None or parts.port is None or parts.path not in ("", "/"):
        raise ValueError(f"cannot listen on {url!r}: it must be http://host:port")
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(parts.hostname, parts.port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        raise OSError(error.errno, f"listen tcp {parts.netloc}: {error.strerror}") from error
    found.sort(key=lambda entry: entry[0] != socket.AF_INET)
    return str(found[0][4][0]), parts.port


def _check_free(host: str, port: int) -> None:
    """Raise OSError if the address is taken, in words that name it."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            code = error.errno or errno.EIO
            reason = (error.strerror or str(error)).lower()
            raise OSError(code, f"listen tcp {_join(host, port)}: bind: {reason}") from error


def _join(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

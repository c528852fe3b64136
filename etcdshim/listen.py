"""Serves gRPC, and plain HTTP beside it, on client URLs in the running event loop."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from urllib.parse import urlsplit

from etcdshim.asgi import GrpcApp
from etcdshim.grpc_unary import UnaryCalls
from etcdshim.http2.server import Server

_BACKLOG = 4096
_WINDOW_MARGIN = 64 * 1024  # beside the largest message: its prefix, and some of the next


async def serve(
    app: GrpcApp,
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
        server = Server(
            app,
            UnaryCalls(app),
            window=app.limits.max_request_bytes + _WINDOW_MARGIN,
            streams_max=max_concurrent_streams,
        )
        await server.start(listeners)
        on_ready([_join(*listener.getsockname()[:2]) for listener in listeners])
        await stop.wait()
        await server.stop(grace)


async def check(urls: Sequence[str]) -> None:
    """Raises as `serve` would now, if one of these URLs cannot be served."""
    for url in urls:
        _listen(*await _resolve(url)).close()


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

"""The Watch service: one session per stream, one hub for all of them."""

from __future__ import annotations

from etcdshim.asgi import Stream
from etcdshim.backend import Backend
from etcdshim.header import Headers, check_call
from etcdshim.limits import Limits
from etcdshim.watch_hub import Hub
from etcdshim.watch_session import WatchSession


class WatchService:
    __slots__ = ("_backend", "_headers", "_hub", "_limits")

    def __init__(self, backend: Backend, limits: Limits, headers: Headers) -> None:
        self._backend = backend
        self._limits = limits
        self._headers = headers
        self._hub = Hub(backend, limits, headers)

    async def watch(self, stream: Stream) -> None:
        """See WatchSession.run."""
        check_call(stream, self._backend)
        session = WatchSession(stream, self._backend, self._hub, self._limits, self._headers)
        await session.run()

    def close(self) -> None:
        """End all streams with `etcdserver: server stopped`."""
        self._hub.close()

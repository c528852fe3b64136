"""The standard gRPC health service: one service, the empty name, which serves until the end."""

from __future__ import annotations

import asyncio

from etcdshim.asgi import Call, Stream
from etcdshim.errors import Refusal
from etcdshim.pb import health_pb2 as pb


class HealthService:
    __slots__ = ("_closed",)

    def __init__(self) -> None:
        self._closed = asyncio.Event()

    async def check(self, request: pb.HealthCheckRequest, _call: Call) -> pb.HealthCheckResponse:
        if request.service:
            raise Refusal.UNKNOWN_SERVICE.error()
        return pb.HealthCheckResponse(status=pb.HealthCheckResponse.SERVING)

    async def watch(self, stream: Stream) -> None:
        """One answer, as the status never changes; open until the server stops."""
        request = await stream.receive()
        known = isinstance(request, pb.HealthCheckRequest) and not request.service
        statuses = pb.HealthCheckResponse
        await stream.send(
            pb.HealthCheckResponse(status=statuses.SERVING if known else statuses.SERVICE_UNKNOWN)
        )
        await self._closed.wait()
        raise Refusal.STOPPED.error()

    def close(self) -> None:
        self._closed.set()

"""Servers and services the gRPC-over-ASGI tests run against."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc.aio
import hypercorn.asyncio
import hypercorn.config
from google.protobuf.wrappers_pb2 import BytesValue, StringValue
from grpc.aio import EOF as EOF  # type: ignore[attr-defined]

from etcdshim.asgi import Call, GrpcApp, GrpcError, GrpcLimits, Stream, Streaming, Unary
from etcdshim.asgi_wire import Receive, Scope, Send
from etcdshim.listen import serve

PATIENCE = 10.0  # seconds any wait of a test may take at most
LIMITS = GrpcLimits(max_request_bytes=100_000, stall_timeout=0.3, slow_after=0.03)


class Service:
    """One method for each thing a handler can do; events tell the test what happened."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.calls: list[Call] = []

    def routes(self) -> dict[str, Unary | Streaming]:
        return {
            "/test.Service/Echo": Unary(BytesValue, self.echo),
            "/test.Service/Fail": Unary(StringValue, self.fail),
            "/test.Service/Crash": Unary(BytesValue, self.crash),
            "/test.Service/Hang": Unary(BytesValue, self.hang),
            "/test.Service/Yield": Unary(BytesValue, self.give_way),
            "/test.Service/YieldForEver": Unary(BytesValue, self.give_way_for_ever),
            "/test.Service/EchoStream": Streaming(BytesValue, self.echo_stream),
            "/test.Service/HangStream": Streaming(BytesValue, self.hang_stream),
            "/test.Service/FailStream": Streaming(BytesValue, self.fail_stream),
            "/test.Service/Flood": Streaming(BytesValue, self.flood),
            "/test.Service/Chorus": Streaming(BytesValue, self.chorus),
        }

    async def echo(self, request: BytesValue, call: Call) -> BytesValue:
        self.calls.append(call)
        return request

    async def fail(self, request: StringValue, _call: Call) -> BytesValue:
        raise GrpcError(9, request.value)

    async def crash(self, _request: BytesValue, _call: Call) -> BytesValue:
        raise RuntimeError("100% wrong")

    async def hang(self, request: BytesValue, _call: Call) -> BytesValue:
        await self._hang()
        return request

    async def give_way(self, request: BytesValue, _call: Call) -> BytesValue:
        for _ in range(3):
            await asyncio.sleep(0)
        return request

    async def give_way_for_ever(self, _request: BytesValue, _call: Call) -> BytesValue:
        self.entered.set()
        try:
            while True:  # noqa: ASYNC110 - what is tested
                await asyncio.sleep(0)
        finally:
            self.cancelled.set()

    async def echo_stream(self, stream: Stream) -> None:
        while (request := await stream.receive()) is not None:
            await stream.send(request)

    async def hang_stream(self, _stream: Stream) -> None:
        await self._hang()

    async def fail_stream(self, stream: Stream) -> None:
        await stream.send(BytesValue(value=b"one"))
        async with asyncio.TaskGroup() as group:  # the status must be found inside its group
            group.create_task(self._fail_later())

    async def flood(self, stream: Stream) -> None:
        self.entered.set()
        message = BytesValue(value=bytes(60_000)).SerializeToString()
        while True:
            await stream.send(message)

    async def chorus(self, stream: Stream) -> None:
        """Four senders at once, large messages and small."""
        async with asyncio.TaskGroup() as group:
            for voice in range(4):
                group.create_task(self._sing(stream, voice))

    async def _sing(self, stream: Stream, voice: int) -> None:
        for size in (10, 600_000, 20, 300_000):
            await stream.send(BytesValue(value=bytes([voice]) * size))

    async def _fail_later(self) -> None:
        raise GrpcError(11, "etcdserver: mvcc: required revision has been compacted")

    async def _hang(self) -> None:
        self.entered.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.cancelled.set()


async def plain_http(scope: Scope, _receive: Receive, send: Send) -> None:
    """What is not gRPC ends here."""
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"plain", "more_body": False})


@asynccontextmanager
async def running(server: str, app: GrpcApp, streams_max: int = 2**31 - 1) -> AsyncIterator[str]:
    """Run `app` on the named server; yields host:port."""
    start: Callable[..., Any] = {"own": _own, "hypercorn": _hypercorn}[server]
    stop = asyncio.Event()
    address: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(start(app, address, stop, streams_max))
    try:
        await asyncio.wait({task, address}, timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED)
        yield await address if address.done() else await task
    finally:
        stop.set()
        await asyncio.wait_for(task, PATIENCE)


async def _own(
    app: GrpcApp, address: asyncio.Future[str], stop: asyncio.Event, streams_max: int
) -> None:
    await serve(
        app,
        urls=["http://127.0.0.1:0"],
        on_ready=lambda addresses: address.set_result(addresses[0]),
        stop=stop,
        grace=0.2,
        max_concurrent_streams=streams_max,
    )


async def _hypercorn(
    app: GrpcApp, address: asyncio.Future[str], stop: asyncio.Event, streams_max: int
) -> None:
    config = hypercorn.config.Config()
    config.bind = ["127.0.0.1:0"]
    config.errorlog = logging.getLogger("tests.hypercorn")
    config.h2_max_concurrent_streams = min(600, streams_max)
    config.graceful_timeout = 0.2
    sockets = config.create_sockets()
    host, port = sockets.insecure_sockets[0].getsockname()
    config.create_sockets = lambda: sockets  # type: ignore[method-assign]
    address.set_result(f"{host}:{port}")
    await hypercorn.asyncio.serve(app, config, shutdown_trigger=stop.wait)  # type: ignore[arg-type]


class Client:
    """Calls to the Service over one connection."""

    def __init__(self, address: str, options: tuple[tuple[str, int], ...] = ()) -> None:
        # A pool of its own per channel: tests must not share connections.
        alone = ("grpc.use_local_subchannel_pool", 1)
        self.channel = grpc.aio.insecure_channel(address, options=(alone, *options))

    def unary(self, method: str) -> Any:
        return self.channel.unary_unary(
            f"/test.Service/{method}", _serialize, BytesValue.FromString
        )

    def stream(self, method: str) -> Any:
        return self.channel.stream_stream(
            f"/test.Service/{method}", _serialize, BytesValue.FromString
        )


def _serialize(message: BytesValue | StringValue | bytes) -> bytes:
    """Messages as they are meant, bytes as they are: tests send damaged ones."""
    return message if isinstance(message, bytes) else message.SerializeToString()


def make_app(service: Service, limits: GrpcLimits = LIMITS) -> GrpcApp:
    return GrpcApp(service.routes(), plain_http, limits=limits)

"""What the services need of the layer below, by hand: calls and streams without a network."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import cast

import pytest
from google.protobuf.message import Message

from etcdshim.asgi import Call, GrpcError, Stream, Streaming, Unary
from etcdshim.large_put import LargePut
from etcdshim.memory import MemoryBackend
from etcdshim.pb import rpc_pb2 as pb
from etcdshim.services import Services

PATIENCE_S = 5.0


class FakeCall:
    """An RPC of a client that sent `metadata`."""

    def __init__(self, metadata: Mapping[str, str] | None = None) -> None:
        self.metadata: Mapping[str, str] = metadata or {}
        self.deadline: float | None = None
        self.path = "/test"

    def header(self, name: bytes) -> bytes | None:
        value = self.metadata.get(name.decode())
        return None if value is None else value.encode("utf-8", "surrogateescape")


class FakeStream(FakeCall):
    """A stream; the test holds the client's end. `hold` stops the client's reading."""

    def __init__(self, metadata: Mapping[str, str] | None = None) -> None:
        super().__init__(metadata)
        self.requests: asyncio.Queue[Message | None] = asyncio.Queue()
        self.answers: asyncio.Queue[bytes] = asyncio.Queue()
        self.reading = asyncio.Event()
        self.reading.set()

    async def receive(self) -> Message | None:
        return await self.requests.get()

    async def send(self, message: Message | bytes) -> None:
        await self.reading.wait()
        data = message if isinstance(message, bytes) else message.SerializeToString()
        self.answers.put_nowait(data)

    def half_close(self) -> None:
        self.requests.put_nowait(None)


class Server:
    """All services over a memory backend, called by path."""

    def __init__(self, backend: MemoryBackend, services: Services) -> None:
        self.backend = backend
        self.services = services
        self._routes = services.routes()

    async def call(
        self, path: str, request: Message, metadata: Mapping[str, str] | None = None
    ) -> Message:
        route = self._routes[path]
        assert isinstance(route, Unary)
        received = route.request.FromString(request.SerializeToString())
        assert type(received) in (type(request), LargePut)
        return await route.handler(received, cast(Call, FakeCall(metadata)))

    async def put(self, key: bytes, value: bytes = b"", **options: bool | int) -> pb.PutResponse:
        request = pb.PutRequest(key=key, value=value, **options)  # type: ignore[arg-type]
        return cast(pb.PutResponse, await self.call("/etcdserverpb.KV/Put", request))

    async def range(self, request: pb.RangeRequest) -> pb.RangeResponse:
        return cast(pb.RangeResponse, await self.call("/etcdserverpb.KV/Range", request))

    async def delete(self, key: bytes, range_end: bytes = b"") -> pb.DeleteRangeResponse:
        request = pb.DeleteRangeRequest(key=key, range_end=range_end)
        return cast(
            pb.DeleteRangeResponse, await self.call("/etcdserverpb.KV/DeleteRange", request)
        )

    async def txn(self, request: pb.TxnRequest) -> pb.TxnResponse:
        return cast(pb.TxnResponse, await self.call("/etcdserverpb.KV/Txn", request))

    async def compact(self, revision: int) -> Message:
        return await self.call("/etcdserverpb.KV/Compact", pb.CompactionRequest(revision=revision))

    @asynccontextmanager
    async def watch(self, metadata: Mapping[str, str] | None = None) -> AsyncIterator[WatchClient]:
        """An open Watch stream; cancelled at the end, as a client does."""
        route = self._routes["/etcdserverpb.Watch/Watch"]
        assert isinstance(route, Streaming)
        stream = FakeStream(metadata)
        task = asyncio.ensure_future(route.handler(cast(Stream, stream)))
        try:
            yield WatchClient(stream, task)
        finally:
            task.cancel()
            await asyncio.wait([task], timeout=PATIENCE_S)


class WatchClient:
    def __init__(self, stream: FakeStream, task: asyncio.Future[None]) -> None:
        self.stream = stream
        self.task = task

    def ask(self, request: pb.WatchRequest) -> None:
        self.stream.requests.put_nowait(request)

    async def create(self, **fields: object) -> pb.WatchResponse:
        """Send a create request; the next answer."""
        create = pb.WatchCreateRequest(**fields)  # type: ignore[arg-type]
        self.ask(pb.WatchRequest(create_request=create))
        return await self.next()

    def cancel(self, watch_id: int) -> None:
        self.ask(pb.WatchRequest(cancel_request=pb.WatchCancelRequest(watch_id=watch_id)))

    def ask_progress(self) -> None:
        self.ask(pb.WatchRequest(progress_request=pb.WatchProgressRequest()))

    async def next(self) -> pb.WatchResponse:
        data = await asyncio.wait_for(self.stream.answers.get(), PATIENCE_S)
        return pb.WatchResponse.FromString(data)

    async def settle(self) -> list[pb.WatchResponse]:
        """All answers there are once the server has nothing more to do."""
        for _ in range(20):
            await asyncio.sleep(0)
        found = []
        while not self.stream.answers.empty():
            found.append(pb.WatchResponse.FromString(self.stream.answers.get_nowait()))
        return found

    async def error(self) -> GrpcError:
        """The error that ends the stream."""
        with pytest.raises(GrpcError) as caught:
            await asyncio.wait_for(asyncio.shield(self.task), PATIENCE_S)
        return caught.value


def make_server(**options: int | None) -> Server:
    backend = MemoryBackend(**options)  # type: ignore[arg-type]
    return Server(backend, Services(backend))


def summary(response: pb.WatchResponse) -> list[tuple[str, bytes, int]]:
    """Events in short: (type, key, revision)."""
    return [
        ("delete" if event.type else "put", event.kv.key, event.kv.mod_revision)
        for event in response.events
    ]

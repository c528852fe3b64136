"""The layer as Go's gRPC client sees it: etcdctl against handlers that only look like etcd's."""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from google.protobuf.wrappers_pb2 import BytesValue

from etcdshim.asgi import Call, GrpcApp, GrpcError, Stream, Streaming, Unary
from tests.etcdshim.asgi_support import PATIENCE, plain_http, running

pytestmark = pytest.mark.process

CUT = GrpcError(14, "etcdserver: server stopped")


async def put(request: BytesValue, call: Call) -> BytesValue:
    """A PutRequest's key is field 1, as is a BytesValue's value; an empty message is an answer."""
    assert call.deadline is not None
    if request.value != b"key":
        raise GrpcError(3, "etcdserver: key is not provided")
    return BytesValue()


class Watch:
    """Counts the streams it gets and cuts the first."""

    def __init__(self) -> None:
        self.streams = 0
        self.as_stalled = False  # end the first as the layer ends a stream that nobody reads
        self.resumed = asyncio.Event()

    async def __call__(self, stream: Stream) -> None:
        self.streams += 1
        await stream.receive()
        # WatchResponse with an empty header (field 1) and created = true (field 3).
        await stream.send(b"\x0a\x00\x18\x01")
        if self.streams == 1:
            stream.stalled = self.as_stalled
            raise CUT
        self.resumed.set()
        await stream.receive()


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
async def address(watch: Watch) -> AsyncIterator[str]:
    routes: dict[str, Unary | Streaming] = {
        "/etcdserverpb.KV/Put": Unary(BytesValue, put),
        "/etcdserverpb.Watch/Watch": Streaming(BytesValue, watch),
    }
    async with running("own", GrpcApp(routes, plain_http)) as bound:
        yield bound


async def start(address: str, *arguments: str) -> asyncio.subprocess.Process:
    etcdctl = shutil.which("etcdctl") or str(Path(sys.executable).with_name("etcdctl"))
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(
        etcdctl, "--endpoints", address, *arguments, stdout=pipe, stderr=pipe
    )


async def output(process: asyncio.subprocess.Process) -> tuple[bytes, bytes]:
    return await asyncio.wait_for(process.communicate(), PATIENCE)


async def test_answer_and_errors(address: str) -> None:
    assert await output(await start(address, "put", "key", "value")) == (b"OK\n", b"")
    _, complaint = await output(await start(address, "put", "other", "value"))
    assert b"etcdserver: key is not provided" in complaint
    _, complaint = await output(await start(address, "get", "key"))
    assert (
        b"code = Unimplemented desc = unknown method Range for service etcdserverpb.KV" in complaint
    )


@pytest.mark.parametrize("as_stalled", [False, True])
async def test_watch_resumes_after_a_cut_stream(
    address: str, watch: Watch, as_stalled: bool
) -> None:
    watch.as_stalled = as_stalled
    process = await start(address, "watch", "key")
    try:
        await asyncio.wait_for(watch.resumed.wait(), PATIENCE)
        assert watch.streams == 2
    finally:
        process.terminate()
        await output(process)

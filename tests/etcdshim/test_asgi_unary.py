"""Unary calls by a real gRPC client, on both servers."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf.wrappers_pb2 import BytesValue, StringValue

from etcdshim.asgi import GrpcApp
from tests.etcdshim.asgi_support import LIMITS, PATIENCE, Client, Service, running

HELLO = BytesValue(value=b"hello")


async def refused(call: Any) -> tuple[grpc.StatusCode, str | None]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await asyncio.wait_for(call, PATIENCE)
    return caught.value.code(), caught.value.details()


async def test_answers(client: Client) -> None:
    assert await client.unary("Echo")(HELLO) == HELLO
    assert await client.unary("Echo")(BytesValue()) == BytesValue()


@pytest.mark.parametrize(
    "text",
    ["etcdserver: key is not provided", "", '100 % \t\n\r "{é}" 世界 \x7f\x00 ~', "x" * 3000],
)
async def test_status_text_arrives_exactly(client: Client, text: str) -> None:
    code, details = await refused(client.unary("Fail")(StringValue(value=text)))
    assert (code, details) == (grpc.StatusCode.FAILED_PRECONDITION, text)


async def test_crash_is_unknown_and_logged_once(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    assert await refused(client.unary("Crash")(HELLO)) == (grpc.StatusCode.UNKNOWN, "100% wrong")
    records = [r for r in caplog.records if r.name == "etcdshim.asgi"]
    assert [r.getMessage() for r in records] == ["grpc.handler_failed path=/test.Service/Crash"]
    assert records[0].levelno == logging.ERROR
    assert records[0].exc_info is not None
    assert await client.unary("Echo")(HELLO) == HELLO


async def test_metadata_and_deadline_reach_the_handler(client: Client, service: Service) -> None:
    metadata = (("hasleader", "true"), ("token", "first"), ("token", "second"))
    await client.unary("Echo")(HELLO, timeout=60, metadata=metadata)
    await client.unary("Echo")(HELLO)
    limited, free = service.calls
    assert limited.metadata["hasleader"] == "true"
    assert limited.metadata["token"] == "first"
    assert limited.path == "/test.Service/Echo"
    assert limited.deadline is not None
    assert 50 < limited.deadline - asyncio.get_running_loop().time() <= 61
    assert free.deadline is None


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/test.Service/Nope", "unknown method Nope for service test.Service"),
        ("/test.Other/Echo", "unknown service test.Other"),
    ],
)
async def test_unknown_method(client: Client, path: str, text: str) -> None:
    call = client.channel.unary_unary(path, BytesValue.SerializeToString, BytesValue.FromString)
    assert await refused(call(HELLO)) == (grpc.StatusCode.UNIMPLEMENTED, text)


async def test_unparsable_request(client: Client) -> None:
    code, details = await refused(client.unary("Echo")(b"\x0a\xff"))
    assert code == grpc.StatusCode.INTERNAL
    assert str(details).startswith("grpc: error unmarshalling request: ")


async def test_request_size_limit(client: Client) -> None:
    limit = LIMITS.max_request_bytes
    fits = BytesValue(value=bytes(limit - 4))  # four bytes of tag and length
    assert fits.ByteSize() == limit
    assert await client.unary("Echo")(fits) == fits


async def test_oversized_requests_do_not_exhaust_the_connection(app: GrpcApp) -> None:
    """Not on hypercorn, which may reset a stream whose request was not read to its end."""
    limit = LIMITS.max_request_bytes
    big = BytesValue(value=bytes(3_000_000))
    async with running("own", app) as address:
        client = Client(address)
        assert await refused(client.unary("Echo")(BytesValue(value=bytes(limit - 3)))) == (
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            f"grpc: received message larger than max ({limit + 1} vs. {limit})",
        )
        for _ in range(6):  # together more than any connection window
            code, _details = await refused(client.unary("Echo")(big))
            assert code == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert await client.unary("Echo")(HELLO, timeout=PATIENCE) == HELLO
        await client.channel.close(None)


async def test_gzip_requests_are_accepted_and_bounded(client: Client) -> None:
    message = BytesValue(value=bytes(50_000))
    gzip = grpc.Compression.Gzip
    assert await client.unary("Echo")(message, compression=gzip) == message
    bomb = BytesValue(value=bytes(5_000_000))
    assert await refused(client.unary("Echo")(bomb, compression=gzip)) == (
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        f"grpc: received message after decompression larger than max {LIMITS.max_request_bytes}",
    )


async def test_other_compression_is_unimplemented(client: Client) -> None:
    call = client.unary("Echo")(BytesValue(value=bytes(5000)), compression=grpc.Compression.Deflate)
    assert await refused(call) == (
        grpc.StatusCode.UNIMPLEMENTED,
        'grpc: Decompressor is not installed for grpc-encoding "deflate"',
    )


async def test_deadline_cancels_the_handler(client: Client, service: Service) -> None:
    code, _details = await refused(client.unary("Hang")(HELLO, timeout=0.08))
    assert code == grpc.StatusCode.DEADLINE_EXCEEDED
    await asyncio.wait_for(service.cancelled.wait(), PATIENCE)


async def test_deadline_status_is_the_servers(client: Client, service: Service) -> None:
    # The header is sent by hand, so the client itself has no deadline.
    started = time.monotonic()
    call = client.unary("Hang")(HELLO, metadata=(("grpc-timeout", "60m"),))
    code, details = await refused(call)
    assert (code, details) == (grpc.StatusCode.DEADLINE_EXCEEDED, "context deadline exceeded")
    assert 0.05 < time.monotonic() - started < 1
    assert service.cancelled.is_set()


async def test_departed_client_cancels_the_handler(
    client: Client, service: Service, app: GrpcApp, caplog: pytest.LogCaptureFixture
) -> None:
    call = client.unary("Hang")(HELLO)
    await asyncio.wait_for(service.entered.wait(), PATIENCE)
    assert app.statistics() == {"unary": 1, "streams": 0}
    call.cancel()
    await asyncio.wait_for(service.cancelled.wait(), PATIENCE)
    assert await client.unary("Echo")(HELLO) == HELLO
    assert app.statistics() == {"unary": 0, "streams": 0}
    assert not [r for r in caplog.records if r.name == "etcdshim.asgi"]


async def test_http_1_on_the_same_port(address: str) -> None:
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = b"GET /health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    writer.write(head)
    answer = await asyncio.wait_for(reader.read(), PATIENCE)
    assert answer.startswith(b"HTTP/1.1 200")
    assert b"plain" in answer
    writer.close()
    await writer.wait_closed()


async def test_grpc_over_http_1_is_refused(address: str) -> None:
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        b"POST /test.Service/Echo HTTP/1.1\r\nhost: x\r\ncontent-type: application/grpc\r\n"
        b"content-length: 0\r\nconnection: close\r\n\r\n"
    )
    answer = await asyncio.wait_for(reader.read(), PATIENCE)
    assert answer.startswith(b"HTTP/1.1 505")
    assert b"gRPC requires HTTP/2" in answer
    writer.close()
    await writer.wait_closed()


async def test_handlers_that_only_let_others_go_first(client: Client, service: Service) -> None:
    assert await client.unary("Yield")(HELLO) == HELLO
    call = client.unary("YieldForEver")(HELLO)
    await asyncio.wait_for(service.entered.wait(), PATIENCE)
    call.cancel()
    await asyncio.wait_for(service.cancelled.wait(), PATIENCE)

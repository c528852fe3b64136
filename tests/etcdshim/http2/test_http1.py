"""HTTP/1.1 on the same port: several requests on one connection, and what is refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from etcdshim.asgi import GrpcApp
from etcdshim.asgi_wire import Receive, Scope, Send
from tests.etcdshim.asgi_support import running

PATIENCE = 5.0


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with what it was asked."""
    event = await receive()
    body = b"%s %s?%s %s" % (
        scope["method"].encode(),
        scope["path"].encode(),
        scope["query_string"],
        event["body"],
    )
    if scope["path"] == "/crash":
        raise RuntimeError("no")
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


@pytest.fixture
async def address() -> AsyncIterator[str]:
    async with running("own", GrpcApp({}, echo)) as bound:
        yield bound


async def talk(address: str, sent: bytes) -> bytes:
    """Everything the server says to these bytes until it closes."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(sent)
    answer = await asyncio.wait_for(reader.read(), PATIENCE)
    writer.close()
    await writer.wait_closed()
    return answer


async def test_requests_that_come_together_are_answered_in_order(address: str) -> None:
    first = b"GET /a%20b?x=1 HTTP/1.1\r\nhost: h\r\n\r\n"
    second = b"POST /c HTTP/1.1\r\nhost: h\r\ncontent-length: 4\r\n\r\nbody"
    last = b"GET /d HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n"
    answer = await talk(address, first + second + last)
    assert answer.count(b"HTTP/1.1 200") == 3
    assert answer.index(b"GET /a b?x=1 ") < answer.index(b"POST /c? body") < answer.index(b"GET /d")


async def test_a_request_in_parts(address: str) -> None:
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    for part in (b"PO", b"ST /x HTTP/1.1\r\nhost: h\r\ncontent-le", b"ngth: 6\r\n\r\nabc", b"def"):
        writer.write(part)
        await writer.drain()
        await asyncio.sleep(0.005)
    assert (await asyncio.wait_for(reader.readuntil(b"abcdef"), PATIENCE)).startswith(
        b"HTTP/1.1 200"
    )
    writer.close()
    await writer.wait_closed()


async def test_nonsense_is_a_bad_request(address: str) -> None:
    assert (await talk(address, b"\x16\x03\x01 hello\r\n\r\n")).startswith(b"HTTP/1.1 400")
    assert (await talk(address, b"GET / HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 400")  # no host


async def test_too_large_a_body_is_refused(address: str) -> None:
    head = b"POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n"
    chunk = b"100000\r\n" + bytes(1 << 20) + b"\r\n"
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(head + chunk * 5)
    assert (await asyncio.wait_for(reader.readline(), PATIENCE)).startswith(b"HTTP/1.1 413")
    writer.close()


async def test_a_crash_is_an_internal_error(address: str, caplog: pytest.LogCaptureFixture) -> None:
    answer = await talk(address, b"GET /crash HTTP/1.1\r\nhost: h\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 500")
    assert "application_failed" in caplog.text

"""The plain HTTP surface over real HTTP/1.1 connections to our server, and the listener itself."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from collections.abc import AsyncIterator, Mapping, Sequence

import pytest

from etcdshim.asgi import GrpcApp
from etcdshim.http import HttpApp
from etcdshim.listen import serve
from tests.etcdshim.asgi_support import PATIENCE, running

VERSIONS = {"etcdserver": "3.6.0", "etcdcluster": "3.6.0", "storage": "3.6.0"}


class Member:
    """A member whose troubles the test sets."""

    def __init__(self) -> None:
        self.quorum_error: Exception | None = None
        self.local_error: Exception | None = None
        self.raised: list[str] = []

    async def linearizable_read(self) -> None:
        if self.quorum_error is not None:
            raise self.quorum_error

    def serializable_read(self) -> None:
        if self.local_error is not None:
            raise self.local_error

    def alarms(self) -> Sequence[str]:
        return self.raised

    def versions(self) -> Mapping[str, str]:
        return VERSIONS

    def metrics(self) -> bytes:
        return b"etcd_server_has_leader 1\n"


@pytest.fixture
def member() -> Member:
    return Member()


@pytest.fixture
async def address(member: Member) -> AsyncIterator[str]:
    async with running("own", GrpcApp({}, HttpApp(member))) as bound:
        yield bound


async def ask(address: str, target: str, method: str = "GET") -> tuple[int, str, str]:
    """Status, lower-cased head and body of one request."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"{method} {target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode())
    answer = (await asyncio.wait_for(reader.read(), PATIENCE)).decode()
    writer.close()
    await writer.wait_closed()
    head, _, body = answer.partition("\r\n\r\n")
    return int(head.split()[1]), head.lower(), body


HEALTHY = '{"health":"true","reason":""}'


async def test_healthy(address: str) -> None:
    for target in ("/health", "/health?serializable=true", "/health?exclude=NOSPACE"):
        status, head, body = await ask(address, target)
        assert (status, body) == (200, HEALTHY)
        assert "content-type: text/plain; charset=utf-8" in head
        assert f"content-length: {len(HEALTHY)}" in head


async def test_no_quorum(address: str, member: Member) -> None:
    member.quorum_error = TimeoutError("etcdserver: request timed out")
    reason = "RANGE ERROR:etcdserver: request timed out"
    expected = json.dumps({"health": "false", "reason": reason}, separators=(",", ":"))
    assert (await ask(address, "/health"))[::2] == (503, expected + "\n")
    assert (await ask(address, "/health?serializable=true"))[::2] == (200, HEALTHY)
    assert (await ask(address, "/livez"))[::2] == (200, "ok\n")
    assert (await ask(address, "/readyz?exclude=linearizable_read"))[::2] == (200, "ok\n")
    assert (await ask(address, "/readyz"))[::2] == (
        503,
        "[+]data_corruption ok\n[+]serializable_read ok\n"
        "[-]linearizable_read failed: etcdserver: request timed out\n\n",
    )


async def test_alarms(address: str, member: Member) -> None:
    member.raised = ["NOSPACE", "CORRUPT"]
    status, _, body = await ask(address, "/health")
    assert (status, json.loads(body)["reason"]) == (503, "ALARM NOSPACE")
    status, _, body = await ask(address, "/health?exclude=NOSPACE")
    assert (status, json.loads(body)["reason"]) == (503, "ALARM CORRUPT")
    status, _, body = await ask(address, "/health?exclude=NOSPACE&exclude=CORRUPT")
    assert (status, body) == (200, HEALTHY)
    assert (await ask(address, "/readyz/data_corruption"))[0] == 503
    assert (await ask(address, "/livez"))[0] == 200


async def test_probes(address: str, member: Member) -> None:
    assert (await ask(address, "/readyz"))[::2] == (200, "ok\n")
    assert (await ask(address, "/livez?verbose"))[::2] == (200, "[+]serializable_read ok\nok\n")
    assert (await ask(address, "/readyz/linearizable_read"))[::2] == (200, "ok\n")
    assert (await ask(address, "/livez/linearizable_read"))[0] == 404
    member.local_error = RuntimeError("disk")
    failed = (503, "[-]serializable_read failed: disk\n\n")
    assert (await ask(address, "/livez/serializable_read"))[::2] == failed


async def test_version_and_metrics(address: str) -> None:
    status, head, body = await ask(address, "/version")
    assert (status, json.loads(body)) == (200, VERSIONS)
    assert "content-type: application/json" in head
    status, head, body = await ask(address, "/metrics")
    assert (status, body) == (200, "etcd_server_has_leader 1\n")
    assert "content-type: text/plain; version=0.0.4; charset=utf-8" in head


async def test_other_methods_and_paths(address: str) -> None:
    for target in ("/health", "/version", "/livez", "/readyz/serializable_read"):
        status, head, body = await ask(address, target, "POST")
        assert (status, body) == (405, "Method Not Allowed\n")
        assert "allow: get" in head
    for target in ("/", "/bogus", "/version/", "/readyz/", "/livez/nope", "/health/x"):
        status, head, body = await ask(address, target)
        assert (status, body) == (404, "404 page not found\n")
        assert "x-content-type-options: nosniff" in head


async def serve_on(*urls: str) -> Sequence[str]:
    """The addresses `serve` binds; it stops as soon as it is ready."""
    bound: list[str] = []
    stop = asyncio.Event()

    def ready(addresses: Sequence[str]) -> None:
        bound.extend(addresses)
        stop.set()

    app = GrpcApp({}, HttpApp(Member()))
    await asyncio.wait_for(serve(app, urls=urls, on_ready=ready, stop=stop), PATIENCE)
    return bound


async def test_several_urls_with_free_ports() -> None:
    first, second = await serve_on("http://127.0.0.1:0", "http://localhost:0")
    assert first != second
    assert all(re.fullmatch(r"127\.0\.0\.1:[1-9]\d*", each) for each in (first, second))


async def test_busy_port_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match="in use") as caught:
            await serve_on("http://127.0.0.1:0", f"http://localhost:{port}")
    expected = f"listen tcp 127.0.0.1:{port}: bind: address already in use"
    assert caught.value.strerror == expected


@pytest.mark.parametrize(
    "url",
    ["https://127.0.0.1:0", "127.0.0.1:0", "http://127.0.0.1", "http://h:1/path", "http://h:x"],
)
async def test_urls_that_cannot_be_served(url: str) -> None:
    with pytest.raises(ValueError, match=re.escape(repr(url))):
        await serve_on(url)

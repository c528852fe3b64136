"""The mesh over real loopback sockets."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import pytest
import pytest_asyncio

from racos.transport.frame import Buffer, Decoder, encode
from racos.transport.handshake import Self, parse_url
from racos.transport.tcp import Mesh, PeerStatistics

CLUSTER = 0xC1
MEMBERS = (0xA1, 0xA2, 0xA3)


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


class Node:
    """A mesh and everything it told its owner."""

    def __init__(self, lane: int, ports: Sequence[int], **options: int) -> None:
        urls = [f"http://127.0.0.1:{port}" for port in ports]
        self.frames: list[tuple[int, bytes, list[bytes]]] = []
        self.events: list[tuple[str, int]] = []
        self.changed = asyncio.Event()
        cluster_id = options.pop("cluster_id", CLUSTER)
        self.mesh = Mesh(
            lane=lane,
            cluster_id=cluster_id,
            member_ids=MEMBERS[: len(ports)],
            listen=[urls[lane]],
            peers={other: [url] for other, url in enumerate(urls)},
            on_frame=self.on_frame,
            on_up=lambda other: self.note("up", other),
            on_down=lambda other: self.note("down", other),
            **options,
        )

    def on_frame(self, lane: int, header: bytes, blobs: Sequence[Buffer]) -> None:
        self.frames.append((lane, header, [bytes(blob) for blob in blobs]))
        self.changed.set()

    def note(self, event: str, lane: int) -> None:
        self.events.append((event, lane))
        self.changed.set()

    async def wait(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    async def wait_up(self, *lanes: int) -> None:
        await self.wait(lambda: all(self.peer(lane).up for lane in lanes))

    def peer(self, lane: int) -> PeerStatistics:
        return next(peer for peer in self.mesh.statistics().peers if peer.lane == lane)


async def hang_up(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(ConnectionError):
        await asyncio.wait_for(writer.wait_closed(), 5)


class Cluster:
    """Nodes on free ports, all closed at the end of the test."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []

    async def start(self, count: int, **options: int) -> list[Node]:
        ports = free_ports(count)
        for lane in range(count):
            await self.add(Node(lane, ports, **options))
        for node in self.nodes:
            await node.wait_up(*(set(range(count)) - {self.nodes.index(node)}))
        return self.nodes

    async def add(self, node: Node) -> Node:
        self.nodes.append(node)
        await node.mesh.start()
        return node


@pytest_asyncio.fixture
async def cluster() -> AsyncIterator[Cluster]:
    cluster = Cluster()
    yield cluster
    for node in cluster.nodes:
        await node.mesh.close()


async def test_three_nodes_exchange_frames_both_ways(cluster: Cluster) -> None:
    nodes = await cluster.start(3)
    blob = bytes(range(256)) * 4000
    for sender, node in enumerate(nodes):
        for receiver in {0, 1, 2} - {sender}:
            assert node.mesh.send(receiver, b"from %d" % sender, [blob, b"", b"small"])
            assert node.mesh.send(receiver, b"second")
    for receiver, node in enumerate(nodes):
        await node.wait(lambda node=node: len(node.frames) == 4)  # type: ignore[misc]
        for sender in {0, 1, 2} - {receiver}:
            got = [frame[1:] for frame in node.frames if frame[0] == sender]
            assert got == [(b"from %d" % sender, [blob, b"", b"small"]), (b"second", [])]
        assert node.peer((receiver + 1) % 3).frames_received == 2
        assert node.events == [("up", lane) for _, lane in node.events]


async def test_a_lost_peer_is_noticed_at_once_and_found_again(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So long a back-off that only the peer's own dialling can bring the link up in time.
    monkeypatch.setattr("racos.transport.tcp._BACKOFF_SECONDS_MIN", 30.0)
    monkeypatch.setattr("racos.transport.tcp._BACKOFF_SECONDS_MAX", 30.0)
    ports = free_ports(2)
    first = await cluster.add(Node(0, ports))
    second = Node(1, ports)
    await second.mesh.start()
    await first.wait_up(1)
    closed = time.monotonic()
    await second.mesh.close()
    await first.wait(lambda: not first.peer(1).up)
    assert time.monotonic() - closed < 0.1
    assert not first.mesh.send(1, b"lost")
    assert first.peer(1).frames_dropped == 1
    again = await cluster.add(Node(1, ports))
    await first.wait_up(1)
    await again.wait_up(0)
    assert first.mesh.send(1, b"found")
    await again.wait(lambda: again.frames == [(0, b"found", [])])
    assert first.events == [("up", 1), ("down", 1), ("up", 1)]


CHILD = """
import asyncio, sys
from racos.transport.tcp import Mesh

async def main():
    urls = sys.argv[1:]
    mesh = Mesh(
        lane=1, cluster_id=0xC1, member_ids=(0xA1, 0xA2), listen=[urls[1]],
        peers={0: [urls[0]]}, on_frame=print, on_up=lambda lane: mesh.send(lane, b"alive"),
        on_down=print,
    )
    await mesh.start()
    await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.mark.process
@pytest.mark.slow
async def test_a_killed_process_is_noticed_within_100_ms(cluster: Cluster) -> None:
    ports = free_ports(2)
    first = await cluster.add(Node(0, ports))
    urls = [f"http://127.0.0.1:{port}" for port in ports]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CHILD, *urls, cwd=Path(__file__).parents[2]
    )
    try:
        await first.wait_up(1)
        await first.wait(lambda: first.frames == [(1, b"alive", [])])
        killed = time.monotonic()
        process.kill()
        await first.wait(lambda: not first.peer(1).up)
        assert time.monotonic() - killed < 0.1
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def test_another_cluster_is_refused_and_logged_once(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    ports = free_ports(2)
    await cluster.add(Node(0, ports))
    stranger = await cluster.add(Node(1, ports, cluster_id=0xC2))
    async with asyncio.timeout(5):
        while stranger.peer(0).attempts < 4:  # noqa: ASYNC110 - nothing signals an attempt
            await asyncio.sleep(0.01)
    assert [node.events for node in cluster.nodes] == [[], []]
    lines = [record.getMessage() for record in caplog.records]
    rejected = "peer.rejected from=127.0.0.1 peer belongs to cluster c2, not c1"
    assert lines.count(rejected) == 1
    refused = f"peer.refused lane=0 address=127.0.0.1:{ports[0]} peer refused us: belongs to"
    assert sum(line.startswith(refused) for line in lines) == 1


@pytest.mark.parametrize(
    ("hello", "answer"),
    [
        (Self(CLUSTER, 1, MEMBERS[:2])._replace(member_ids=(0xFF, 0xA2)).hello(0), b"looks for"),
        (Self(CLUSTER, 1, (0xA1, 0xFF)).hello(0), b"member ff, which is no peer"),
        (Self(CLUSTER, 1, (0xA1, 0xA1)).hello(0), b"member a1, which is no peer"),
        (b"HELO\x09" + Self(CLUSTER, 1, MEMBERS[:2]).hello(0)[5:], b"peer protocol 9, not 2"),
        (Self(CLUSTER, 1, MEMBERS[:2], 64).hello(0), b"has a window of 64 rounds, not of 0"),
        (Self(CLUSTER, 1, MEMBERS[:2]).hello(0)[:-1], b"does not speak the peer protocol"),
        (b"GET /", b"does not speak the peer protocol"),
    ],
)
async def test_wrong_hellos_are_told_why(cluster: Cluster, hello: bytes, answer: bytes) -> None:
    ports = free_ports(2)
    await cluster.add(Node(0, ports))
    reader, writer = await asyncio.open_connection("127.0.0.1", ports[0])
    writer.writelines(encode(hello))
    data = await asyncio.wait_for(reader.read(), 5)
    await hang_up(writer)
    frames = Decoder().feed(data)
    assert frames[0].header.startswith(b"NOPE")
    assert answer in frames[0].header


async def test_a_strangers_garbage_disturbs_nobody(cluster: Cluster) -> None:
    first, second = await cluster.start(2)
    port = int(second.mesh._listen[0][2])
    writers = []
    for data in (b"GET / HTTP/1.1\r\n\r\n" + bytes(100), bytes(1000), encode(bytes(2000))[0]):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(bytes(data))
        with contextlib.suppress(ConnectionResetError):
            assert await asyncio.wait_for(reader.read(), 5) == b""
        writers.append(writer)
    assert first.mesh.send(1, b"still here")
    await second.wait(lambda: bool(second.frames))
    assert second.frames == [(0, b"still here", [])]
    assert second.events == [("up", 0)]
    for writer in writers:
        await hang_up(writer)


async def test_silent_strangers_are_bounded(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("racos.transport.tcp._UNKNOWN_CONNECTIONS_MAX", 2)
    monkeypatch.setattr("racos.transport.connection.HANDSHAKE_SECONDS", 0.1)
    ports = free_ports(2)
    await cluster.add(Node(0, ports))
    streams = [await asyncio.open_connection("127.0.0.1", ports[0]) for _ in range(3)]
    first_still_open = []
    for reader, writer in reversed(streams):
        with contextlib.suppress(ConnectionResetError):
            assert await asyncio.wait_for(reader.read(), 5) == b""
        first_still_open.append(not streams[0][0].at_eof())
        await hang_up(writer)
    # The last was one too many and was cut at once; the others reached their deadline.
    assert first_still_open[0]
    assert not first_still_open[2]


async def test_the_queue_to_a_peer_that_does_not_read_is_bounded(cluster: Cluster) -> None:
    ports = free_ports(2)
    first = Node(0, ports, queue_bytes_max=1 << 20)
    own = Self(CLUSTER, 1, MEMBERS[:2])
    deaf = socket.create_server(("127.0.0.1", ports[1]))
    deaf.setblocking(False)
    await cluster.add(first)
    loop = asyncio.get_running_loop()
    connection, _ = await asyncio.wait_for(loop.sock_accept(deaf), 5)
    await loop.sock_recv(connection, 1000)
    await loop.sock_sendall(connection, b"".join(encode(own.welcome(0))))
    await first.wait_up(1)
    blob = bytes(100_000)
    sent = 0
    while first.mesh.send(1, b"x", [blob]):
        sent += 1
        assert first.peer(1).queued_bytes <= 1 << 20
        assert sent < 1000
        await asyncio.sleep(0)
    assert first.peer(1).queued_bytes > (1 << 20) - 2 * len(blob)
    assert first.peer(1).frames_dropped == 1
    assert not first.mesh.send(1, b"x", [bytes(2 << 20)])
    connection.close()
    deaf.close()
    await first.wait(lambda: not first.peer(1).up)
    assert first.peer(1).queued_bytes == 0


async def test_damage_on_the_way_closes_the_connection_and_nothing_wrong_arrives(
    cluster: Cluster,
) -> None:
    ports = free_ports(2)
    first = await cluster.add(Node(0, ports))
    reader, writer = await asyncio.open_connection("127.0.0.1", ports[0])
    writer.writelines(encode(Self(CLUSTER, 1, MEMBERS[:2]).hello(0)))
    await asyncio.wait_for(reader.readexactly(20), 5)
    good = b"".join(encode(b"good"))
    bad = bytearray(b"".join(encode(b"bad", [bytes(200_000)])))
    bad[150_000] ^= 4
    writer.write(good)
    writer.write(bad)
    with contextlib.suppress(ConnectionResetError):
        await asyncio.wait_for(reader.read(), 5)
    await hang_up(writer)
    assert first.frames == [(1, b"good", [])]


async def test_a_busy_address_is_named(cluster: Cluster) -> None:
    ports = free_ports(2)
    await cluster.add(Node(0, ports))
    other = Node(0, ports)
    url = f"http://127.0.0.1:{ports[0]}"
    with pytest.raises(OSError, match=f"cannot listen for peers on {url}: .*in use"):
        await other.mesh.start()


@pytest.mark.parametrize(
    "url", ["127.0.0.1:1", "https://a:1", "http://a", "http://:1", "http://a:x", "http://a:1/x"]
)
def test_urls_must_be_http_host_port(url: str) -> None:
    with pytest.raises(ValueError, match="is not of the form http://host:port"):
        parse_url(url)
    assert parse_url("http://[::1]:2380/") == ("::1", 2380)


def test_every_other_member_needs_an_address() -> None:
    with pytest.raises(ValueError, match="do not match 3 members"):
        Mesh(
            lane=0,
            cluster_id=1,
            member_ids=MEMBERS,
            listen=[],
            peers={1: ["http://a:1"]},
            on_frame=lambda *_: None,
            on_up=lambda _: None,
            on_down=lambda _: None,
        )

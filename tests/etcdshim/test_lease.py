"""The Lease service over the memory backend, with time in the test's hands."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import pytest

from etcdshim.asgi import GrpcError, Stream, Streaming
from etcdshim.backend import RequestTimedOut
from etcdshim.limits import Limits
from etcdshim.memory import MemoryBackend
from etcdshim.pb import rpc_pb2 as pb
from etcdshim.services import Services
from tests.etcdshim.fakes import PATIENCE_S, FakeStream, Server

LEASE = "/etcdserverpb.Lease/Lease"


class Backend(MemoryBackend):
    """With a clock to turn, ids to choose, and keep-alives that can be held back or fail."""

    def __init__(self) -> None:
        self.now = 100.0
        super().__init__(clock=lambda: self.now)
        self.draws: list[int] = []
        self.held: list[asyncio.Future[int]] | None = None

    def new_lease_id(self) -> int:
        return self.draws.pop(0) if self.draws else super().new_lease_id()

    def keep_alive(self, id_: int) -> asyncio.Future[int]:
        if self.held is None:
            return super().keep_alive(id_)
        self.held.append(asyncio.get_running_loop().create_future())
        return self.held[-1]


@pytest.fixture
def server() -> Server:
    backend = Backend()
    return Server(backend, Services(backend))


def backend_of(server: Server) -> Backend:
    return cast(Backend, server.backend)


async def grant(server: Server, id_: int, ttl: int) -> pb.LeaseGrantResponse:
    answer = await server.call(LEASE + "Grant", pb.LeaseGrantRequest(ID=id_, TTL=ttl))
    return cast(pb.LeaseGrantResponse, answer)


async def time_to_live(server: Server, id_: int) -> pb.LeaseTimeToLiveResponse:
    request = pb.LeaseTimeToLiveRequest(ID=id_, keys=True)
    return cast(pb.LeaseTimeToLiveResponse, await server.call(LEASE + "TimeToLive", request))


class KeepAlive:
    def __init__(self, stream: FakeStream, task: asyncio.Future[None]) -> None:
        self.stream = stream
        self.task = task

    def ask(self, *ids: int) -> None:
        for id_ in ids:
            self.stream.requests.put_nowait(pb.LeaseKeepAliveRequest(ID=id_))

    async def next(self) -> tuple[int, int]:
        data = await asyncio.wait_for(self.stream.answers.get(), PATIENCE_S)
        answer = pb.LeaseKeepAliveResponse.FromString(data)
        assert answer.header.member_id
        return answer.ID, answer.TTL

    async def error(self) -> tuple[int, str]:
        with pytest.raises(GrpcError) as caught:
            await asyncio.wait_for(asyncio.shield(self.task), PATIENCE_S)
        return caught.value.code, caught.value.message


@asynccontextmanager
async def keep_alive(server: Server) -> AsyncIterator[KeepAlive]:
    route = server.services.routes()[LEASE + "KeepAlive"]
    assert isinstance(route, Streaming)
    stream = FakeStream()
    task = asyncio.ensure_future(route.handler(cast(Stream, stream)))
    try:
        yield KeepAlive(stream, task)
    finally:
        task.cancel()
        await asyncio.wait([task], timeout=PATIENCE_S)


async def turns(count: int = 10) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_the_ttl_runs_down_and_a_keep_alive_winds_it_up(server: Server) -> None:
    granted = await grant(server, 7, 60)
    assert (granted.ID, granted.TTL, granted.error, granted.header.revision) == (7, 60, "", 1)
    await server.put(b"k", lease=7)
    backend_of(server).now += 10.5
    answer = await time_to_live(server, 7)
    assert (answer.TTL, answer.grantedTTL, list(answer.keys)) == (49, 60, [b"k"])
    async with keep_alive(server) as stream:
        stream.ask(7)
        assert await stream.next() == (7, 60)
    assert (await time_to_live(server, 7)).TTL == 60


async def test_the_memory_backend_ends_leases(server: Server) -> None:
    await grant(server, 7, 60)
    await server.put(b"k", lease=7)
    backend_of(server).now += 60.0
    assert (await time_to_live(server, 7)).TTL == 0
    backend_of(server).expire_leases()
    answer = await time_to_live(server, 7)
    assert (answer.TTL, answer.grantedTTL, answer.header.revision) == (-1, 0, 3)


async def test_leases_are_listed_by_expiry(server: Server) -> None:
    for id_, ttl in ((1, 30), (2, 10), (3, 20)):
        await grant(server, id_, ttl)
    answer = await server.call(LEASE + "Leases", pb.LeaseLeasesRequest())
    assert isinstance(answer, pb.LeaseLeasesResponse)
    assert [status.ID for status in answer.leases] == [2, 3, 1]


async def test_a_drawn_id_that_is_taken_is_drawn_again(server: Server) -> None:
    await grant(server, 7, 60)
    backend_of(server).draws = [7, 7, 8]
    assert (await grant(server, 0, 60)).ID == 8
    backend_of(server).draws = [7] * 8
    with pytest.raises(GrpcError, match="lease already exists"):
        await grant(server, 0, 60)


async def test_keep_alives_do_not_wait_for_earlier_ones_but_answers_keep_their_order(
    server: Server,
) -> None:
    backend = backend_of(server)
    backend.held = []
    async with keep_alive(server) as stream:
        stream.ask(1, 2, 3)
        await turns()
        assert len(backend.held) == 3
        backend.held[2].set_result(30)
        backend.held[1].set_result(0)
        await turns()
        assert stream.stream.answers.empty()
        backend.held[0].set_result(10)
        assert [await stream.next() for _ in range(3)] == [(1, 10), (2, 0), (3, 30)]


async def test_keep_alives_taken_ahead_are_bounded() -> None:
    backend = Backend()
    backend.held = []
    server = Server(backend, Services(backend, Limits(lease_stream_waiting=3)))
    async with keep_alive(server) as stream:
        stream.ask(*range(20))
        await turns(30)
        assert len(backend.held) == 5  # waiting, the one being answered, the one being put


async def test_a_half_closed_stream_is_answered_and_ends_well(server: Server) -> None:
    await grant(server, 7, 60)
    async with keep_alive(server) as stream:
        stream.ask(7, 8)
        stream.stream.half_close()
        assert [await stream.next() for _ in range(2)] == [(7, 60), (8, 0)]
        await asyncio.wait_for(stream.task, PATIENCE_S)


async def test_a_keep_alive_that_finds_no_quorum_ends_the_stream(server: Server) -> None:
    backend = backend_of(server)
    backend.held = []
    async with keep_alive(server) as stream:
        stream.ask(1, 2)
        await turns()
        for future in backend.held:
            future.set_exception(RequestTimedOut())
        assert await stream.error() == (14, "etcdserver: request timed out")


async def test_the_end_of_the_server_ends_streams(server: Server) -> None:
    backend = backend_of(server)
    backend.held = []
    async with keep_alive(server) as idle, keep_alive(server) as busy:
        busy.ask(1, 2)
        await turns()
        server.services.close()
        assert await idle.error() == (14, "etcdserver: server stopped")
        assert await busy.error() == (14, "etcdserver: server stopped")
    await turns()
    assert all(future.cancelled() for future in backend.held)


async def test_a_closed_backend_refuses(server: Server) -> None:
    await grant(server, 7, 60)
    backend_of(server).close()
    for path, request in (
        ("Grant", pb.LeaseGrantRequest(ID=8, TTL=60)),
        ("Revoke", pb.LeaseRevokeRequest(ID=7)),
        ("TimeToLive", pb.LeaseTimeToLiveRequest(ID=7)),
        ("Leases", pb.LeaseLeasesRequest()),
    ):
        with pytest.raises(GrpcError, match="server stopped"):
            await server.call(LEASE + path, request)
    async with keep_alive(server) as stream:
        stream.ask(7)
        assert await stream.error() == (14, "etcdserver: server stopped")

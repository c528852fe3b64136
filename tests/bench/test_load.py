"""The load generator against real servers: stock etcd (Go) and our own."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from time import monotonic, sleep
from typing import Any

import pytest

from bench.frames import Outcome
from bench.leases import GrantAll, Grants, KeepAlives
from bench.load import Client, Load, LoadError, LoadResult, StreamClient, Window
from bench.probe import leader_position, member_status
from bench.workload import Gets, Puts, Values, Workload, framed, message
from cluster.supervisor import Supervisor
from etcdshim.http2.server import Server
from etcdshim.pb import rpc_pb2
from tests.bench.fakes import connected

pytestmark = [pytest.mark.process, pytest.mark.slow]

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


async def run(load: Load, *, seconds: float = 10.0, count: int | None = None) -> LoadResult:
    await load.open()
    try:
        now = monotonic()
        return await load.run(Window(now, now + seconds), count=count)
    finally:
        load.close()


async def put(etcd: Supervisor, size: int, count: int, clients: int = 8) -> LoadResult:
    puts = Puts(Values(size, seed=1), keys=count)
    return await run(Load(puts, etcd.endpoints(), clients=clients), count=count)


async def revision_of(etcd: Supervisor) -> int:
    """The revision before the next put."""
    return (await put(etcd, 1, 1, clients=1)).revision_highest


@pytest.mark.parametrize(("size", "count"), [(0, 100), (256, 1000), (70_000, 60), (1 << 20, 12)])
async def test_every_put_is_counted_and_makes_a_revision(
    etcd: Supervisor, size: int, count: int
) -> None:
    before = await revision_of(etcd)
    result = await put(etcd, size, count)
    assert result.successes == result.operations == sum(result.timeline.counts) == count
    assert result.revision_highest == before + count
    assert result.errors == {}


@pytest.mark.parametrize("serializable", [False, True])
@pytest.mark.parametrize(("size", "keys"), [(5, 64), (256, 64), (1 << 20, 8)])
async def test_gets_find_what_was_put(
    etcd: Supervisor, size: int, keys: int, serializable: bool
) -> None:
    await put(etcd, size, keys)
    gets = Gets(Values(size, seed=1), keys, serializable)
    result = await run(Load(gets, etcd.endpoints(), clients=4), count=3 * keys)
    assert result.operations == 3 * keys


async def test_loop_is_closed_and_ends_with_its_window(etcd: Supervisor) -> None:
    puts = Puts(Values(256, seed=1), keys=100)
    load = Load(puts, etcd.endpoints(), clients=20, connections=2)
    started = monotonic()
    result = await run(load, seconds=0.3)
    assert 0.3 <= monotonic() - started < 3
    assert 0 < result.operations <= result.successes <= result.operations + 20
    assert 0 < result.latency.quantile(0.5) <= result.latency.maximum < 3


async def test_processes_share_the_numbers(etcd: Supervisor) -> None:
    before = await revision_of(etcd)
    puts = Puts(Values(8, seed=1), keys=30)
    loads = [
        Load(puts, etcd.endpoints(), clients=count, first=first, clients_total=5)
        for first, count in ((0, 2), (2, 3))
    ]
    results = await asyncio.gather(*(run(load, count=30) for load in loads))
    assert [result.operations for result in results] == [12, 18]
    assert max(result.revision_highest for result in results) == before + 30


async def test_wrong_value_is_found(etcd: Supervisor) -> None:
    await put(etcd, 256, 16)
    gets = Gets(Values(256, seed=2), 16, serializable=False)
    with pytest.raises(
        LoadError, match=r"get of b'bench/000000\d\d' answered with the wrong value"
    ):
        await run(Load(gets, etcd.endpoints(), clients=4), count=16)


async def test_too_large_value_is_a_clear_error(etcd: Supervisor) -> None:
    puts = Puts(Values(1_600_000, seed=1), keys=4)
    with pytest.raises(LoadError, match="status 3: etcdserver: request is too large"):
        await run(Load(puts, etcd.endpoints(), clients=2), count=4)


async def test_dead_endpoint_is_a_clear_error(etcd: Supervisor) -> None:
    load = Load(Puts(Values(1, seed=1), keys=1), [*etcd.endpoints(), "127.0.0.1:1"], clients=2)
    with pytest.raises(LoadError, match=r"127\.0\.0\.1:1: cannot connect"):
        await run(load)


@pytest.mark.parametrize("options", [{"clients": 0}, {"clients": 1, "connections": 0}])
def test_load_needs_clients_and_connections(options: dict[str, int]) -> None:
    with pytest.raises(LoadError, match="at least one"):
        Load(Puts(Values(1, seed=1), keys=1), ["127.0.0.1:1"], **options)  # type: ignore[arg-type]


async def test_member_status(etcd: Supervisor) -> None:
    (endpoint,) = etcd.endpoints()
    status = await member_status(endpoint)
    assert (status.endpoint, status.leads) == (endpoint, True)
    assert status.version[:1] == "3"
    assert await leader_position([endpoint]) == 0


# The server that Racos uses, with an answer to everything.


class Answering:
    """An ASGI application: a put's answer, or an error, or none; keeps the revision."""

    def __init__(self) -> None:
        self.revision = 0
        self.failures = 0  # answer so many calls with "unavailable" first
        self.open = asyncio.Event()  # answers wait for it
        self.open.set()
        self.silent = False

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if self.silent:
            while (await receive())["type"] != "http.disconnect":
                pass  # until the client gives up
            return
        assert scope["path"] == "/etcdserverpb.KV/Put"
        body = b""
        more = True
        while more:
            event = await receive()
            body += event.get("body", b"")
            more = event.get("more_body", False)
        rpc_pb2.PutRequest.FromString(message(body))
        await self.open.wait()
        outcome = Outcome(200, 0, "")
        if self.failures > 0:
            self.failures -= 1
            outcome = Outcome(200, 14, "not now")
        await self._answer(send, outcome)

    async def _answer(self, send: Send, outcome: Outcome) -> None:
        self.revision += 1
        header = rpc_pb2.ResponseHeader(revision=self.revision)
        payload = framed(rpc_pb2.PutResponse(header=header).SerializeToString())
        fields = [(b"content-type", b"application/grpc")]
        opening = {"type": "http.response.start", "status": 200, "headers": fields}
        await send({**opening, "trailers": True})
        await send({"type": "http.response.body", "body": payload})
        status = [(b"grpc-status", b"%d" % outcome.status)]
        trailers = [*status, (b"grpc-message", outcome.message.encode())]
        await send({"type": "http.response.trailers", "headers": trailers})


class NoCalls:
    """Every call is the application's (`etcdshim.http2.connection.Calls`)."""

    def route(self, _head: object) -> None:
        return None

    def begin(self, *_: object) -> None:
        raise AssertionError("there are no unary routes")

    def is_too_large(self, *_: object) -> bool:
        return False


@asynccontextmanager
async def serving(app: Answering) -> AsyncIterator[str]:
    listener = socket.create_server(("127.0.0.1", 0))
    server = Server(app, NoCalls(), window=1 << 20, streams_max=256)
    await server.start([listener])
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    finally:
        await server.stop(0)


def puts_of(size: int) -> Workload:
    return Puts(Values(size, seed=1), keys=100)


@pytest.mark.parametrize(("size", "count"), [(256, 1000), (1 << 20, 12)])
async def test_puts_to_our_server(size: int, count: int) -> None:
    app = Answering()
    async with serving(app) as endpoint:
        result = await run(Load(puts_of(size), [endpoint], clients=8), count=count)
    assert result.operations == result.revision_highest == app.revision == count


async def test_too_many_clients_for_a_connection() -> None:
    async with serving(Answering()) as endpoint:
        with pytest.raises(LoadError, match="allows 256 streams: use more connections"):
            await run(Load(puts_of(1), [endpoint], clients=257))
        result = await run(Load(puts_of(1), [endpoint], clients=257, connections=2), count=514)
    assert result.operations == 514


async def test_unavailable_ends_a_run_but_not_a_fault_run() -> None:
    app = Answering()
    async with serving(app) as endpoint:
        app.failures = 3
        result = await run(Load(puts_of(1), [endpoint], clients=2, tolerant=True), count=20)
        assert result.operations == 20
        assert result.errors == {f"{endpoint}: status 14: not now": 3}
        app.failures = 1
        with pytest.raises(LoadError, match="status 14: not now"):
            await run(Load(puts_of(1), [endpoint], clients=2), count=20)


async def test_silence_is_an_error_in_time() -> None:
    app = Answering()
    app.silent = True
    async with serving(app) as endpoint:
        with pytest.raises(LoadError, match=r"no answer in 0\.1 s"):
            await run(Load(puts_of(1), [endpoint], clients=2, timeout=0.1))


async def test_clients_of_a_lost_endpoint_move() -> None:
    staying = Answering()
    async with serving(staying) as first:
        async with serving(Answering()) as second:
            load = Load(puts_of(1), [first, second], clients=4, tolerant=True)
            await load.open()
            now = monotonic()
            loading = asyncio.create_task(load.run(Window(now, now + 0.6)))
            while load.done < 100:  # bounded by the run itself
                assert not loading.done()
                await asyncio.sleep(0)
        lost_at = staying.revision
        result = await loading
        load.close()
    assert staying.revision > lost_at
    assert result.operations <= result.successes <= result.operations + 4
    assert result.errors
    assert all(second in text for text in result.errors)


async def test_retry_forgets_the_answer_that_was_cut_off() -> None:
    connection, _ = connected()
    client = Client(Load(puts_of(1), ["host:1"], clients=1, tolerant=True), 0, connection)
    client.body, client.more = b"half", [b"an", b"answer"]
    client.send(1.0)
    assert (client.body, client.more) == (b"", [])


# An open loop.


async def loaded(load: Load, seconds: float) -> LoadResult:
    """As `run`, in the background of what a test does meanwhile."""
    now = monotonic()
    return await load.run(Window(now, now + seconds))


def arrived(result: LoadResult) -> float:
    """All that was due: on a busy machine the last ones may find no time to be sent."""
    return result.successes + result.figures["unsent"]


async def test_operations_arrive_at_their_rate() -> None:
    async with serving(Answering()) as endpoint:
        load = Load(puts_of(1), [endpoint], clients=8, rate=300)
        result = await run(load, seconds=0.4)
    assert arrived(result) == pytest.approx(120, abs=2)


async def test_a_stall_counts_for_all_that_would_have_been_asked() -> None:
    app = Answering()
    async with serving(app) as endpoint:
        load = Load(puts_of(1), [endpoint], clients=2, rate=200)
        await load.open()
        loading = asyncio.create_task(loaded(load, 0.8))
        while load.done < 20:  # bounded by the run itself
            assert not loading.done()
            await asyncio.sleep(0)
        app.open.clear()
        await asyncio.sleep(0.3)  # the stall itself
        app.open.set()
        result = await loading
        load.close()
    assert arrived(result) == pytest.approx(160, abs=2)
    late = sum(count for upper, count in result.latency.steps() if upper > 0.05)
    # 60 operations were due in the stall; those of its last 50 ms were less late than that.
    assert 40 <= late < 120
    assert result.latency.maximum > 0.28


@pytest.mark.parametrize("tolerant", [True, False])
async def test_idle_clients_of_a_lost_endpoint_move_in_a_fault_run(tolerant: bool) -> None:
    async with serving(Answering()) as first:
        async with serving(Answering()) as second:
            load = Load(puts_of(1), [first, second], clients=4, rate=100, tolerant=tolerant)
            await load.open()
            loading = asyncio.create_task(loaded(load, 0.5))
            while load.done < 10:  # bounded by the run itself
                assert not loading.done()
                await asyncio.sleep(0)
        if tolerant:
            assert arrived(await loading) == pytest.approx(50, abs=2)
        else:
            with pytest.raises(LoadError, match=f"{second}: .*connection"):
                await loading
        load.close()


async def test_a_loop_that_is_late_itself_is_charged() -> None:
    async with serving(Answering()) as endpoint:
        load = Load(puts_of(1), [endpoint], clients=50, rate=200)
        await load.open()
        loading = asyncio.create_task(loaded(load, 0.4))
        while load.done < 10:  # bounded by the run itself
            assert not loading.done()
            await asyncio.sleep(0)
        sleep(0.15)  # noqa: ASYNC251 (a busy process is what is tested)
        result = await loading
        load.close()
    late = sum(count for upper, count in result.latency.steps() if upper > 0.05)
    assert 15 <= late < 60


async def test_what_no_client_was_free_for_is_told() -> None:
    app = Answering()
    async with serving(app) as endpoint:
        load = Load(puts_of(1), [endpoint], clients=2, rate=100)
        await load.open()
        app.open.clear()
        loading = asyncio.create_task(loaded(load, 0.3))
        await asyncio.sleep(0.35)
        app.open.set()
        result = await loading
        load.close()
    assert result.operations == 0
    assert result.figures["unsent"] == pytest.approx(28, abs=2)


# Clients with a stream each.


def keep_alives(endpoints: list[str], **options: Any) -> Load:
    return Load(KeepAlives(TOKEN, LEASES), endpoints, clients=4, streams=True, **options)


TOKEN, LEASES = 11, 20


async def test_leases_are_kept_alive_over_streams(etcd: Supervisor) -> None:
    with pytest.raises(LoadError, match="TTL 0 s"):
        await run(keep_alives(etcd.endpoints()), count=4)
    grants = Load(GrantAll(TOKEN, LEASES), etcd.endpoints(), clients=4)
    await run(grants, count=LEASES)
    result = await run(keep_alives(etcd.endpoints()), count=100)
    assert result.operations == 100
    open_loop = await run(keep_alives(etcd.endpoints(), rate=200), seconds=0.3)
    assert arrived(open_loop) == pytest.approx(60, abs=2)


async def test_leases_are_granted_and_revoked(etcd: Supervisor) -> None:
    result = await run(Load(Grants(5), etcd.endpoints(), clients=4), count=50)
    assert result.operations == 50
    again = await run(Load(Grants(5), etcd.endpoints(), clients=4), count=50)
    assert again.operations == 50  # nothing was left of the first


async def test_stream_that_is_silent_is_an_error_in_time() -> None:
    app = Answering()
    app.silent = True
    async with serving(app) as endpoint:
        with pytest.raises(LoadError, match=r"no answer in 0\.1 s"):
            await run(keep_alives([endpoint], timeout=0.1))


async def test_answer_that_nobody_asked_for_is_found() -> None:
    connection, _ = connected()
    load = Load(KeepAlives(TOKEN, LEASES), ["host:1"], clients=1, streams=True)
    failures: list[str] = []
    load.fail = failures.append  # type: ignore[method-assign, assignment]
    StreamClient(load, 0, connection).heard(b"", 1.0)
    assert failures == ["host:1: an answer that nobody asked for"]

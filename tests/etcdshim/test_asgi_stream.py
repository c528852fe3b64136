"""Streams by a real gRPC client, on both servers."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf.wrappers_pb2 import BytesValue

from etcdshim.asgi import GrpcApp
from etcdshim.listen import serve
from tests.etcdshim.asgi_support import EOF, LIMITS, PATIENCE, Client, Service, make_app, running

HELLO = BytesValue(value=b"hello")


async def soon(awaitable: Any) -> Any:
    return await asyncio.wait_for(awaitable, PATIENCE)


async def status(call: Any) -> tuple[grpc.StatusCode, str]:
    return await soon(call.code()), await soon(call.details())


async def test_both_directions_in_turn_and_half_close(client: Client) -> None:
    call = client.stream("EchoStream")()
    for number in range(20):
        message = BytesValue(value=b"%d" % number)
        await soon(call.write(message))
        assert await soon(call.read()) == message
    await soon(call.done_writing())
    assert await soon(call.read()) is EOF
    assert await status(call) == (grpc.StatusCode.OK, "")


async def test_many_requests_before_the_first_answer_is_read(client: Client) -> None:
    call = client.stream("EchoStream")()
    sent = [BytesValue(value=bytes([n]) * 5000) for n in range(40)]
    for message in sent:
        await soon(call.write(message))
    await soon(call.done_writing())
    assert [await soon(call.read()) for _ in sent] == sent
    assert await soon(call.read()) is EOF


async def test_headers_come_before_any_message(client: Client, service: Service) -> None:
    call = client.stream("HangStream")()
    await soon(call.initial_metadata())
    await soon(service.entered.wait())
    call.cancel()
    await soon(service.cancelled.wait())


async def test_status_after_messages(client: Client) -> None:
    call = client.stream("FailStream")()
    assert (await soon(call.read())).value == b"one"
    with pytest.raises(grpc.aio.AioRpcError):
        await soon(call.read())
    text = "etcdserver: mvcc: required revision has been compacted"
    assert await status(call) == (grpc.StatusCode.OUT_OF_RANGE, text)


async def test_bad_request_ends_the_stream_after_the_good_ones(client: Client) -> None:
    call = client.stream("EchoStream")()
    await soon(call.write(HELLO))
    await soon(call.write(b"\x0a\xff"))
    assert await soon(call.read()) == HELLO
    with pytest.raises(grpc.aio.AioRpcError):
        await soon(call.read())
    code, details = await status(call)
    assert code == grpc.StatusCode.INTERNAL
    assert details.startswith("grpc: failed to unmarshal the received message: ")


async def test_request_size_limit(client: Client) -> None:
    call = client.stream("EchoStream")()
    await soon(call.write(BytesValue(value=bytes(LIMITS.max_request_bytes))))
    with pytest.raises(grpc.aio.AioRpcError):
        await soon(call.read())
    code, _details = await status(call)
    assert code == grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_deadline(client: Client, service: Service) -> None:
    call = client.stream("HangStream")(metadata=(("grpc-timeout", "60m"),))
    expected = (grpc.StatusCode.DEADLINE_EXCEEDED, "context deadline exceeded")
    assert await status(call) == expected
    assert service.cancelled.is_set()


async def test_departed_client_cancels_a_handler_that_does_not_read(
    client: Client, service: Service, app: GrpcApp, caplog: pytest.LogCaptureFixture
) -> None:
    call = client.stream("HangStream")()
    await soon(service.entered.wait())
    assert app.statistics() == {"unary": 0, "streams": 1}
    call.cancel()
    await soon(service.cancelled.wait())
    await client.unary("Echo")(HELLO)
    assert app.statistics() == {"unary": 0, "streams": 0}
    assert not [r for r in caplog.records if r.name == "etcdshim.asgi"]


async def test_lost_connection_cancels_the_handler(client: Client, service: Service) -> None:
    client.stream("HangStream")()
    await soon(service.entered.wait())
    await client.channel.close(None)
    await soon(service.cancelled.wait())


async def test_many_senders_on_one_stream(client: Client) -> None:
    call = client.stream("Chorus")()
    heard: dict[int, list[int]] = {}
    while (message := await soon(call.read())) is not EOF:
        assert set(message.value) == {message.value[0]}
        heard.setdefault(message.value[0], []).append(len(message.value))
    assert heard == {voice: [10, 600_000, 20, 300_000] for voice in range(4)}


@pytest.mark.slow
async def test_a_thousand_streams_on_one_connection(client: Client, server: str) -> None:
    count = 1000 if server == "own" else 500  # hypercorn itself cannot do a thousand
    calls = [client.stream("EchoStream")() for _ in range(count)]

    async def converse(call: Any, number: int) -> bool:
        message = BytesValue(value=b"%d" % number)
        await call.write(message)
        return bool(await call.read() == message)

    talks = [converse(call, number) for number, call in enumerate(calls)]
    assert all(await soon(asyncio.gather(*talks)))
    assert await client.unary("Echo")(HELLO) == HELLO  # all of them still open
    for call in calls:
        await call.done_writing()
    assert {await soon(call.code()) for call in calls} == {grpc.StatusCode.OK}


@pytest.mark.slow
async def test_client_pings_are_tolerated(address: str) -> None:
    options = (
        ("grpc.keepalive_time_ms", 100),
        ("grpc.keepalive_timeout_ms", 1000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
    )
    client = Client(address, options)
    call = client.stream("EchoStream")()
    await soon(call.write(HELLO))
    assert await soon(call.read()) == HELLO
    with pytest.raises(TimeoutError):  # quiet but for the pings
        await asyncio.wait_for(call.code(), 0.6)
    await client.channel.close(None)


@pytest.mark.slow
async def test_stuck_readers_are_reset_and_others_go_on(app: GrpcApp, service: Service) -> None:
    """What nobody reads is bounded and, after a while, given up."""
    async with running("own", app) as address:
        client = Client(address)
        for _ in range(3):
            stuck = await _stick(client, service, app)
            # Larger than what the unread bytes would leave of the connection's allowance.
            big = BytesValue(value=bytes(LIMITS.max_request_bytes - 10))
            assert [await client.unary("Echo")(big, timeout=1) for _ in range(20)] == [big] * 20
        with pytest.raises(grpc.aio.AioRpcError):
            await soon(_drain(stuck))
        assert (await status(stuck))[0] == grpc.StatusCode.INTERNAL
        await client.channel.close(None)


@pytest.mark.slow
async def test_stuck_reader_may_be_told_why(service: Service) -> None:
    app = make_app(service, replace(LIMITS, reset_stalled=False))
    async with running("own", app) as address:
        client = Client(address)
        stuck = await _stick(client, service, app)
        assert await client.unary("Echo")(HELLO, timeout=1) == HELLO
        with pytest.raises(grpc.aio.AioRpcError):
            await soon(_drain(stuck))
        assert await status(stuck) == (
            grpc.StatusCode.UNAVAILABLE,
            "etcdserver: stream cut: the reader was too slow, "
            "resume from the last message received",
        )
        await client.channel.close(None)


async def test_slow_but_moving_reader_is_not_cut(client: Client, service: Service) -> None:
    """Reads for longer than the stall timeout, never pausing for as long as that."""
    call = client.stream("Flood")()
    until = asyncio.get_running_loop().time() + 2 * LIMITS.stall_timeout
    while asyncio.get_running_loop().time() < until:
        assert (await soon(call.read())).value == bytes(60_000)
    assert service.entered.is_set()
    call.cancel()


async def test_stop_refuses_connections_and_ends_calls_within_the_grace(
    app: GrpcApp, service: Service
) -> None:
    stop, bound = asyncio.Event(), asyncio.get_running_loop().create_future()
    urls = ["http://127.0.0.1:0"]
    server = asyncio.create_task(
        serve(app, urls=urls, on_ready=bound.set_result, stop=stop, grace=0.1)
    )
    address = (await soon(bound))[0]
    client = Client(address)
    call = client.stream("HangStream")()
    await soon(service.entered.wait())
    stop.set()
    await soon(server)
    assert service.cancelled.is_set()
    assert (await status(call))[0] != grpc.StatusCode.OK
    host, _, port = address.rpartition(":")
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(host, int(port))
    await client.channel.close(None)


async def _stick(client: Client, service: Service, app: GrpcApp) -> Any:
    """A stream whose reader never reads, after the server gave up on it."""
    service.entered.clear()
    stuck = client.stream("Flood")()
    await soon(service.entered.wait())
    async with asyncio.timeout(PATIENCE):
        while app.statistics()["streams"]:  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.01)
    return stuck


async def _drain(call: Any) -> None:
    while await call.read() is not EOF:
        pass

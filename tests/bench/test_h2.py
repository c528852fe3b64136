from __future__ import annotations

import asyncio

import pytest

from bench.frames import (
    Outcome,
)
from bench.h2 import Connection, connect
from bench.workload import framed, message
from etcdshim.http2.frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADER_TABLE_SIZE,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    MAX_CONCURRENT_STREAMS,
    MAX_FRAME_SIZE,
    PADDED,
    PING,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    frame,
    settings,
    window_update,
)
from tests.bench.fakes import OPENING, TRAILERS, Recorded, Wire, answer, block, connected

OK = Outcome(0, 0, "")


def sent(connection: Connection, body: bytes = b"\0\0\0\0\0") -> Recorded:
    exchange = Recorded()
    connection.send(exchange, body)
    connection.flush()
    return exchange


def uploaded(wire: Wire) -> dict[int, int]:
    """Bytes of DATA written, by stream."""
    totals: dict[int, int] = {}
    for each in wire.frames():
        if each.kind == DATA:
            totals[each.stream] = totals.get(each.stream, 0) + len(each.payload)
    return totals


async def test_call_is_one_write_of_two_frames_and_is_answered() -> None:
    connection, wire = connected()
    exchange = sent(connection, framed(b"hello"))
    head, data = wire.frames()
    assert (head.kind, head.flags, head.stream) == (HEADERS, END_HEADERS, 1)
    assert (data.kind, data.flags, data.payload) == (DATA, END_STREAM, framed(b"hello"))
    connection.data_received(answer(1, b"world"))
    assert exchange.outcome == OK
    assert message(exchange.body) == b"world"
    assert connection.in_flight == 0


async def test_later_calls_use_the_short_block() -> None:
    connection, wire = connected()
    sent(connection)
    long = wire.frames()[0].payload
    sent(connection)
    assert len(wire.frames()[0].payload) == 7 < len(long)


@pytest.mark.parametrize("piece", [1, 2, 7, 9, 10, 31, 64])
async def test_answers_cut_anywhere(piece: int) -> None:
    connection, _ = connected()
    exchanges = [sent(connection) for _ in range(3)]
    data = b"".join(answer(2 * i + 1, b"message %d" % i) for i in range(3))
    for at in range(0, len(data), piece):
        connection.data_received(data[at : at + piece])
    for number, exchange in enumerate(exchanges):
        assert exchange.outcome == OK
        assert message(exchange.body) == b"message %d" % number


async def test_message_of_many_frames() -> None:
    connection, _ = connected()
    exchange = sent(connection)
    body = framed(bytes(range(256)) * 100)
    pieces = [body[at : at + 1000] for at in range(0, len(body), 1000)]
    data = b"".join(frame(DATA, 0, 1, piece) for piece in pieces)
    connection.data_received(frame(HEADERS, END_HEADERS, 1, OPENING) + data)
    connection.data_received(frame(DATA, PADDED, 1, b"\x02PP"))
    connection.data_received(frame(HEADERS, END_HEADERS | END_STREAM, 1, TRAILERS))
    assert exchange.body == body


async def test_continued_headers_and_status_text() -> None:
    connection, _ = connected()
    exchange = sent(connection)
    raw = block((":status", "200"), ("grpc-status", "8"), ("grpc-message", "no%20space"))
    data = frame(HEADERS, END_STREAM, 1, raw[:3]) + frame(CONTINUATION, END_HEADERS, 1, raw[3:])
    connection.data_received(data)
    assert exchange.outcome == Outcome(200, 8, "no space")


async def test_large_body_waits_for_windows_and_respects_frame_size() -> None:
    connection, wire = connected({MAX_FRAME_SIZE: 20_000, INITIAL_WINDOW_SIZE: 50_000})
    body = framed(bytes(120_000))
    sent(connection, body)
    sizes = [len(each.payload) for each in wire.frames() if each.kind == DATA]
    assert sizes == [20_000, 20_000, 10_000]
    connection.data_received(window_update(1, 100_000))
    assert uploaded(wire) == {1: 15_535}  # what the connection's first 65,535 leave
    connection.data_received(window_update(0, 200_000))
    frames = wire.frames()
    assert sum(len(each.payload) for each in frames) == len(body) - 65_535
    assert frames[-1].flags == END_STREAM


async def test_small_body_does_not_overtake_a_full_window() -> None:
    connection, wire = connected({INITIAL_WINDOW_SIZE: 10**6})
    sent(connection, bytes(70_000))
    sent(connection, bytes(100))
    assert uploaded(wire) == {1: 65_535}
    connection.data_received(window_update(0, 10_000))
    assert uploaded(wire) == {1: 70_000 - 65_535, 3: 100}


async def test_small_bodies_share_the_connection_window() -> None:
    connection, wire = connected()
    for _ in range(5):
        sent(connection, bytes(16_000))
    assert uploaded(wire) == {1: 16_000, 3: 16_000, 5: 16_000, 7: 16_000, 9: 1_535}


async def test_body_short_of_its_own_window_holds_up_no_other() -> None:
    connection, wire = connected({INITIAL_WINDOW_SIZE: 1_000})
    sent(connection, bytes(1_500))
    sent(connection, bytes(900))
    assert uploaded(wire) == {1: 1_000, 3: 900}


async def test_smaller_initial_window_reaches_waiting_bodies() -> None:
    connection, wire = connected({INITIAL_WINDOW_SIZE: 40_000})
    sent(connection, bytes(50_000))
    connection.data_received(settings({INITIAL_WINDOW_SIZE: 30_000}))
    connection.data_received(window_update(1, 10_000))
    assert uploaded(wire) == {1: 40_000}
    connection.data_received(window_update(1, 10_000))
    assert uploaded(wire) == {1: 10_000}


async def test_early_refusal_stops_the_upload() -> None:
    connection, wire = connected()
    exchange = sent(connection, bytes(100_000))
    wire.frames()
    connection.data_received(answer(1, b"", block(("grpc-status", "8"))))
    assert exchange.outcome is not None
    assert exchange.outcome.status == 8
    assert [each.kind for each in wire.frames()] == [RST_STREAM]
    connection.data_received(window_update(0, 10**6))
    sent(connection, bytes(10))
    assert uploaded(wire) == {3: 10}


async def test_ping_and_settings_are_acknowledged() -> None:
    connection, wire = connected()
    connection.data_received(frame(PING, 0, 0, b"12345678") + settings({}))
    ping, acknowledged = wire.frames()
    assert (ping.kind, ping.flags, ping.payload) == (PING, ACK, b"12345678")
    assert (acknowledged.kind, acknowledged.flags) == (SETTINGS, ACK)
    connection.data_received(frame(PING, ACK, 0, b"12345678") + frame(SETTINGS, ACK, 0))
    assert wire.frames() == []


async def test_receive_window_is_topped_up() -> None:
    connection, wire = connected()
    connection._received = 2**29  # as after half a gigabyte
    sent(connection)
    wire.frames()
    connection.data_received(answer(1, b"x"))
    (update,) = wire.frames()
    assert (update.kind, update.stream) == (WINDOW_UPDATE, 0)
    assert int.from_bytes(update.payload, "big") == 2**29 + len(framed(b"x"))
    sent(connection)
    wire.frames()
    connection.data_received(answer(3, b"x"))
    assert wire.frames() == []


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (frame(RST_STREAM, 0, 1, (7).to_bytes(4, "big")), "reset by the server: REFUSED_STREAM"),
        (frame(HEADERS, END_HEADERS, 1, block((":status", "503"))), "HTTP status 503"),
        (frame(DATA, END_STREAM, 1, framed(b"")), "without a grpc-status"),
    ],
)
async def test_call_that_ends_badly(data: bytes, reason: str) -> None:
    connection, _ = connected()
    exchange = sent(connection)
    connection.data_received(data)
    assert exchange.failure.endswith(reason)
    assert connection.in_flight == 0


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (frame(GOAWAY, 0, 0, bytes(7) + b"\x0btoo many"), "ENHANCE_YOUR_CALM too many"),
        (frame(CONTINUATION, END_HEADERS, 1, b""), "CONTINUATION without HEADERS"),
        (settings({HEADER_TABLE_SIZE: 0}), "header table is too small"),
        (frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\xbe"), "cannot be decoded"),
    ],
)
async def test_connection_that_ends_badly(data: bytes, reason: str) -> None:
    connection, wire = connected()
    exchange = sent(connection)
    other = sent(connection)
    connection.data_received(data)
    assert wire.closed
    connection.connection_lost(None)
    assert connection.closed
    assert reason in other.failure
    assert reason in exchange.failure or exchange.failure == ""


async def test_lost_connection_fails_what_is_in_flight() -> None:
    connection, _ = connected()
    exchange = sent(connection)
    connection.eof_received()
    connection.connection_lost(None)
    assert exchange.failure == "host:1: connection closed by the server"


async def test_late_calls_are_cancelled_oldest_first() -> None:
    connection, wire = connected()
    old, new = sent(connection), Recorded()
    new.started = 100.0
    connection.send(new, b"")
    wire.frames()
    connection.expire(50.0, "too late")
    assert (old.failure, new.failure) == ("too late", "")
    assert RST_STREAM in [each.kind for each in wire.frames()]
    connection.data_received(answer(1, b"") + answer(3, b""))
    assert old.outcome is None
    assert new.outcome == OK


async def test_stream_limit_is_known_when_ready() -> None:
    connection, _ = connected({MAX_CONCURRENT_STREAMS: 10})
    assert connection.ready.done()
    assert connection.streams_max == 10


async def test_connect_to_nobody_names_the_endpoint() -> None:
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        with pytest.raises(ConnectionError, match=f"127.0.0.1:{port}: connection (lost|closed)"):
            await connect(f"127.0.0.1:{port}", ("/x",), 5.0)
    with pytest.raises(ConnectionError, match=f"127.0.0.1:{port}: cannot connect"):
        await connect(f"127.0.0.1:{port}", ("/x",), 5.0)


@pytest.mark.parametrize("endpoint", ["localhost", "host:port", ":1", ""])
async def test_endpoint_must_be_host_and_port(endpoint: str) -> None:
    with pytest.raises(ConnectionError, match="no endpoint"):
        await connect(endpoint, ("/x",), 1.0)

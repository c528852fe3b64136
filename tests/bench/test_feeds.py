"""Streams of messages both ways, on a connection whose peer the test plays."""

from __future__ import annotations

import pytest

from bench.feeds import Feed
from bench.h2 import Connection
from bench.workload import framed
from etcdshim.http2.frames import (
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    RST_STREAM,
    WINDOW_UPDATE,
    frame,
    settings,
    window_update,
)
from tests.bench.fakes import OPENING, TRAILERS, Recorded, answer, block, connected

OPENED = frame(HEADERS, END_HEADERS, 1, OPENING)


class Kept(Feed):
    """A feed that keeps what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[bytes] = []
        self.end_reason = ""

    def received(self, message: bytes, now: float) -> None:
        assert now > 0
        self.messages.append(message)

    def ended(self, reason: str, now: float) -> None:
        assert now > 0
        self.end_reason = reason


def opened(connection: Connection) -> Kept:
    feed = Kept()
    connection.open(feed, 0)
    connection.flush()
    return feed


def sent_data(wire: object) -> list[tuple[int, bytes]]:
    frames = wire.frames()  # type: ignore[attr-defined]
    return [(each.stream, each.payload) for each in frames if each.kind == DATA]


async def test_messages_go_both_ways_and_the_stream_stays_open() -> None:
    connection, wire = connected()
    feed = opened(connection)
    (head,) = wire.frames()
    assert (head.kind, head.flags, head.stream) == (HEADERS, END_HEADERS, 1)
    connection.write(feed, framed(b"create"))
    connection.flush()
    (data,) = wire.frames()
    assert (data.flags, data.payload) == (0, framed(b"create"))
    connection.data_received(OPENED + frame(DATA, 0, 1, framed(b"one") + framed(b"two")))
    assert feed.messages == [framed(b"one"), framed(b"two")]


@pytest.mark.parametrize("piece", [1, 2, 4, 7, 30])
async def test_messages_cut_anywhere(piece: int) -> None:
    connection, _ = connected()
    feed = opened(connection)
    wanted = [framed(b"%d" % number * number) for number in range(1, 6)]
    body = b"".join(wanted)
    data = OPENED
    for at in range(0, len(body), piece):
        data += frame(DATA, 0, 1, body[at : at + piece])
    connection.data_received(data)
    assert feed.messages == wanted


async def test_unary_calls_and_streams_share_a_connection() -> None:
    connection, _ = connected()
    feed = opened(connection)
    exchange = Recorded()
    connection.send(exchange, framed(b"call"))
    connection.data_received(OPENED + answer(3, b"unary") + frame(DATA, 0, 1, framed(b"event")))
    assert feed.messages == [framed(b"event")]
    assert exchange.body == framed(b"unary")


async def test_writes_wait_for_the_windows() -> None:
    connection, wire = connected({INITIAL_WINDOW_SIZE: 10})
    feed = opened(connection)
    connection.write(feed, bytes(25))
    connection.flush()
    assert [len(data) for _, data in sent_data(wire)] == [10]
    connection.data_received(settings({INITIAL_WINDOW_SIZE: 12}))
    connection.data_received(window_update(1, 8))
    assert sum(len(data) for _, data in sent_data(wire)) == 10
    connection.data_received(window_update(1, 8))
    assert sum(len(data) for _, data in sent_data(wire)) == 5


async def test_writes_wait_for_the_connection_s_window() -> None:
    connection, wire = connected({INITIAL_WINDOW_SIZE: 10**6})
    feed = opened(connection)
    connection.write(feed, bytes(70_000))
    connection.flush()
    assert sum(len(data) for _, data in sent_data(wire)) == 65_535
    connection.data_received(window_update(0, 10_000))
    assert sum(len(data) for _, data in sent_data(wire)) == 70_000 - 65_535


async def test_receive_window_of_a_stream_is_topped_up() -> None:
    connection, wire = connected()
    feed = opened(connection)
    feed.taken = 2**29  # as after half a gigabyte
    wire.frames()
    connection.data_received(OPENED + frame(DATA, 0, 1, framed(b"x")))
    (update,) = wire.frames()
    assert (update.kind, update.stream) == (WINDOW_UPDATE, 1)
    assert int.from_bytes(update.payload, "big") == 2**29 + len(framed(b"x"))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (frame(HEADERS, END_HEADERS | END_STREAM, 1, TRAILERS), "stream ended: status 0"),
        (
            frame(HEADERS, END_STREAM, 1, block(("grpc-status", "14"), ("grpc-message", "no"))[:4])
            + frame(9, END_HEADERS, 1, block(("grpc-status", "14"), ("grpc-message", "no"))[4:]),
            "stream ended: status 14: no",
        ),
        (frame(RST_STREAM, 0, 1, (8).to_bytes(4, "big")), "reset by the server: CANCEL"),
        (frame(DATA, END_STREAM, 1, b""), "without a grpc-status"),
    ],
)
async def test_stream_that_ends(data: bytes, reason: str) -> None:
    connection, wire = connected()
    feed = opened(connection)
    connection.data_received(data)
    assert reason in feed.end_reason
    wire.frames()
    connection.write(feed, framed(b"late"))  # there is nobody to read it
    connection.flush()
    assert sent_data(wire) == []


async def test_streams_end_with_their_connection() -> None:
    connection, _ = connected()
    feed = opened(connection)
    connection.connection_lost(None)
    assert feed.end_reason == "host:1: connection closed by the client"


async def test_compressed_message_ends_the_connection() -> None:
    connection, wire = connected()
    opened(connection)
    connection.data_received(OPENED + frame(DATA, 0, 1, b"\1\0\0\0\0"))
    assert wire.closed

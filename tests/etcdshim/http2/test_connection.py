"""The server's side of HTTP/2, frame by frame: what it answers, refuses, and bounds."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable

import pytest
from google.protobuf.wrappers_pb2 import BytesValue

from etcdshim.asgi import GrpcApp
from etcdshim.asgi_wire import frame as message
from etcdshim.http2 import frames
from etcdshim.http2.frames import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    MAX_CONCURRENT_STREAMS,
    PADDED,
    PING,
    PRIORITY,
    RST_STREAM,
    SETTINGS,
    frame,
    window_update,
)
from tests.etcdshim.asgi_support import LIMITS, Service, running
from tests.etcdshim.http2.peer import PATIENCE, RawPeer

ECHO = "/test.Service/Echo"
HANG = "/test.Service/Hang"
HELLO = BytesValue(value=b"hello").SerializeToString()


@pytest.fixture
async def address(app: GrpcApp) -> AsyncIterator[str]:
    async with running("own", app) as bound:
        yield bound


@pytest.fixture
async def peer(address: str) -> AsyncIterator[RawPeer]:
    peer = await RawPeer.connect(address)
    yield peer
    await peer.close()


async def test_calls_on_one_connection(peer: RawPeer) -> None:
    for stream in (1, 3, 5, 9):  # ids may be left out
        peer.send(peer.request(stream, ECHO, HELLO))
        body, fields = await peer.answer(stream)
        assert body == message(HELLO)
        assert fields == {
            ":status": "200",
            "content-type": "application/grpc",
            "grpc-status": "0",
        }


async def test_frames_cut_anywhere(peer: RawPeer) -> None:
    data = b"".join(peer.request(stream, ECHO, HELLO) for stream in (1, 3, 5))
    for at in range(0, len(data), 7):
        peer.send(data[at : at + 7])
        await asyncio.sleep(0)
    assert (await peer.answer(5))[0] == message(HELLO)


async def test_head_in_parts_with_padding_and_priority(peer: RawPeer) -> None:
    block = peer.encoder.encode(peer.head(ECHO))
    first = b"\x03" + b"\0\0\0\0\x10" + block[:4] + b"\0\0\0"
    peer.send(frame(HEADERS, PADDED | PRIORITY, 1, first))
    peer.send(frame(CONTINUATION, 0, 1, block[4:9]))
    peer.send(frame(CONTINUATION, END_HEADERS, 1, block[9:]))
    peer.send(frame(DATA, PADDED, 1, b"\x02" + message(HELLO)[:3] + b"\0\0"))
    peer.send(frame(DATA, 0, 1, message(HELLO)[3:]))
    peer.send(frame(DATA, END_STREAM, 1))
    assert (await peer.answer(1))[0] == message(HELLO)


async def test_request_trailers_end_a_request(peer: RawPeer) -> None:
    block = peer.encoder.encode(peer.head(ECHO))
    peer.send(frame(HEADERS, END_HEADERS, 1, block) + frame(DATA, 0, 1, message(HELLO)))
    trailers = peer.encoder.encode([("x-note", "end")])
    peer.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, trailers))
    assert (await peer.answer(1))[0] == message(HELLO)


async def test_a_refusal_is_one_block_of_headers(peer: RawPeer) -> None:
    peer.send(peer.request(1, ECHO, b"\xff\xff"))
    head = await peer.until(HEADERS)
    assert head.flags == END_HEADERS | END_STREAM
    fields = {str(n): str(v) for n, v in peer.decoder.decode(head.payload)}
    assert (fields[":status"], fields["grpc-status"]) == ("200", "13")


async def test_no_message_and_two_messages(peer: RawPeer) -> None:
    block = peer.encoder.encode(peer.head(ECHO))
    peer.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, block))
    assert "received no request message" in (await peer.answer(1))[1]["grpc-message"]
    block = peer.encoder.encode(peer.head(ECHO))
    two = frame(DATA, END_STREAM, 3, message(HELLO) + message(HELLO))
    peer.send(frame(HEADERS, END_HEADERS, 3, block) + two)
    assert "received multiple request messages" in (await peer.answer(3))[1]["grpc-message"]


async def test_oversized_request_is_refused_by_its_first_bytes(peer: RawPeer) -> None:
    block = peer.encoder.encode(peer.head(ECHO))
    size = LIMITS.max_request_bytes + 1
    start = b"\0" + size.to_bytes(4, "big") + b"some of it"
    peer.send(frame(HEADERS, END_HEADERS, 1, block) + frame(DATA, 0, 1, start))
    body, fields = await peer.answer(1)
    assert (body, fields["grpc-status"]) == (b"", "8")
    reset = await peer.until(RST_STREAM, 1)
    assert reset.payload == bytes(4)  # no error: just send no more
    peer.send(frame(DATA, 0, 1, bytes(100)))  # what was under way does no harm
    peer.send(peer.request(3, ECHO, HELLO))
    assert (await peer.answer(3))[0] == message(HELLO)


async def test_large_answers_obey_every_window(address: str) -> None:
    peer = await RawPeer.connect(address, {INITIAL_WINDOW_SIZE: 10})
    large = BytesValue(value=bytes(range(256)) * 300).SerializeToString()
    parts = [message(large)[at : at + 10_000] for at in range(0, len(large) + 5, 10_000)]
    block = peer.encoder.encode(peer.head(ECHO))
    peer.send(frame(HEADERS, END_HEADERS, 1, block))
    for part in parts:
        peer.send(frame(DATA, 0, 1, part))
    peer.send(frame(DATA, END_STREAM, 1))
    assert len((await peer.until(DATA)).payload) == 10
    peer.send(window_update(1, 5))
    assert len((await peer.until(DATA)).payload) == 5
    peer.send(frames.settings({INITIAL_WINDOW_SIZE: 30}))  # 20 more for open streams, too
    acknowledged = await peer.next()
    assert acknowledged is not None
    assert acknowledged.kind == SETTINGS, "it comes before what only the new settings allow"
    received = 15 + len((await peer.until(DATA)).payload)
    assert received == 35
    peer.send(window_update(1, 2**20))  # from here on the connection's window binds
    while received < 65_535:
        received += len((await peer.until(DATA)).payload)
    assert received == 65_535
    peer.send(frame(PING, 0, 0, b"12345678"))
    assert (await peer.next()) is not None
    peer.send(window_update(0, 2**20))
    body, fields = await peer.answer(1)
    assert received + len(body) == len(large) + 5
    assert fields["grpc-status"] == "0"
    await peer.close()


async def test_one_stuck_stream_does_not_hold_up_another(address: str) -> None:
    peer = await RawPeer.connect(address, {INITIAL_WINDOW_SIZE: 100})
    large = BytesValue(value=bytes(5000)).SerializeToString()
    peer.send(peer.request(1, ECHO, large) + peer.request(3, ECHO, HELLO))
    assert (await peer.answer(3))[0] == message(HELLO)
    peer.send(window_update(1, 10_000))
    assert len((await peer.answer(1))[0]) == len(large) + 5 - 100
    await peer.close()


async def test_reset_by_the_client_cancels_the_call(
    peer: RawPeer, service: Service, app: GrpcApp
) -> None:
    peer.send(peer.request(1, HANG, HELLO))
    await asyncio.wait_for(service.entered.wait(), PATIENCE)
    peer.send(frames.reset(1, frames.CANCEL))
    await asyncio.wait_for(service.cancelled.wait(), PATIENCE)
    peer.send(peer.request(3, ECHO, HELLO))
    while (answer := await peer.next()) is not None and answer.stream != 3:
        assert answer.stream == 0, "nothing is said about a stream the client reset"
    assert app.statistics() == {"unary": 0, "streams": 0}


async def test_a_stream_reset_at_once_is_no_error(
    peer: RawPeer, app: GrpcApp, caplog: pytest.LogCaptureFixture
) -> None:
    block = peer.encoder.encode(peer.head("/test.Service/EchoStream"))
    peer.send(frame(HEADERS, END_HEADERS, 1, block) + frames.reset(1, frames.CANCEL))
    peer.send(peer.request(3, ECHO, HELLO))
    assert (await peer.answer(3))[0] == message(HELLO)
    assert app.statistics() == {"unary": 0, "streams": 0}
    assert not caplog.records


async def test_client_that_vanishes_cancels_its_calls(address: str, service: Service) -> None:
    peer = await RawPeer.connect(address)
    peer.send(peer.request(1, HANG, HELLO))
    await asyncio.wait_for(service.entered.wait(), PATIENCE)
    await peer.close()
    await asyncio.wait_for(service.cancelled.wait(), PATIENCE)


async def test_ping_is_answered(peer: RawPeer) -> None:
    peer.send(frame(PING, 0, 0, b"8 bytes!"))
    answer = await peer.until(PING)
    assert (answer.flags, answer.payload) == (frames.ACK, b"8 bytes!")


async def test_unknown_frames_and_settings_are_ignored(peer: RawPeer) -> None:
    peer.send(frame(0xBB, 0xFF, 7, b"what is this") + frames.settings({0xABCD: 1}))
    peer.send(peer.request(1, ECHO, HELLO))
    assert (await peer.answer(1))[0] == message(HELLO)


def _headers(peer: RawPeer, stream: int, flags: int = END_HEADERS) -> bytes:
    return frame(HEADERS, flags, stream, peer.encoder.encode(peer.head(ECHO)))


WRONG: dict[str, tuple[Callable[[RawPeer], bytes], str]] = {
    "even stream": (lambda p: _headers(p, 2), "PROTOCOL_ERROR"),
    "stream 0": (lambda p: _headers(p, 0), "PROTOCOL_ERROR"),
    "idle data": (lambda _: frame(DATA, 0, 5, b"x"), "PROTOCOL_ERROR"),
    "idle reset": (lambda _: frames.reset(5, 8), "PROTOCOL_ERROR"),
    "lone continuation": (lambda _: frame(CONTINUATION, 4, 1, b""), "PROTOCOL_ERROR"),
    "interrupted head": (
        lambda p: _headers(p, 1, 0) + frame(PING, 0, 0, bytes(8)),
        "PROTOCOL_ERROR",
    ),
    "too large a frame": (lambda _: frame(DATA, 0, 1, bytes(16_385)), "FRAME_SIZE_ERROR"),
    "torn settings": (lambda _: frame(SETTINGS, 0, 0, bytes(5)), "FRAME_SIZE_ERROR"),
    "settings on a stream": (lambda _: frame(SETTINGS, 0, 1), "FRAME_SIZE_ERROR"),
    "short ping": (lambda _: frame(PING, 0, 0, bytes(7)), "FRAME_SIZE_ERROR"),
    "push": (lambda _: frame(frames.PUSH_PROMISE, 0, 1, bytes(4)), "PROTOCOL_ERROR"),
    "empty increment": (lambda _: window_update(0, 0), "PROTOCOL_ERROR"),
    "window overflow": (lambda _: window_update(0, 2**31 - 1), "FLOW_CONTROL_ERROR"),
    "initial window overflow": (
        lambda _: frames.settings({INITIAL_WINDOW_SIZE: 2**31}),
        "FLOW_CONTROL_ERROR",
    ),
    "frame size": (lambda _: frames.settings({frames.MAX_FRAME_SIZE: 100}), "PROTOCOL_ERROR"),
    "padding": (lambda p: _headers(p, 1) + frame(DATA, PADDED, 1, b"\x09ab"), "PROTOCOL_ERROR"),
    "damaged head": (lambda _: frame(HEADERS, 4, 1, b"\xff\xff\xff\xff\xff"), "COMPRESSION_ERROR"),
    "endless head": (
        lambda p: _headers(p, 1, 0) + frame(CONTINUATION, 0, 1, bytes(16_384)) * 9,
        "ENHANCE_YOUR_CALM",
    ),
}


@pytest.mark.parametrize("name", WRONG)
async def test_what_breaks_the_protocol_ends_the_connection(peer: RawPeer, name: str) -> None:
    make, code = WRONG[name]
    peer.send(make(peer))
    assert (await peer.goaway())[0] == code


async def test_malformed_request_costs_its_stream_only(peer: RawPeer) -> None:
    head = [*peer.head(ECHO), ("Upper-Case", "x")]
    peer.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, peer.encoder.encode(head)))
    assert (await peer.answer(1))[1] == {"reset": "PROTOCOL_ERROR"}
    peer.send(peer.request(3, ECHO, HELLO))
    assert (await peer.answer(3))[0] == message(HELLO)


async def test_body_beyond_the_window_resets_the_stream(peer: RawPeer) -> None:
    block = peer.encoder.encode(peer.head("/test.Service/HangStream"))
    peer.send(frame(HEADERS, END_HEADERS, 1, block))
    for _ in range(LIMITS.max_request_bytes // 16_000 + 6):
        peer.send(frame(DATA, 0, 1, bytes(16_000)))
    assert (await peer.answer(1))[1]["reset"] == "FLOW_CONTROL_ERROR"
    peer.send(peer.request(3, ECHO, HELLO))
    assert (await peer.answer(3))[0] == message(HELLO)


async def test_unary_body_beyond_the_window_resets_the_stream(peer: RawPeer) -> None:
    """A message that announces less than it brings."""
    block = peer.encoder.encode(peer.head(ECHO))
    peer.send(frame(HEADERS, END_HEADERS, 1, block) + frame(DATA, 0, 1, message(b"")))
    for _ in range(LIMITS.max_request_bytes // 16_000 + 6):
        peer.send(frame(DATA, 0, 1, bytes(16_000)))
    assert (await peer.answer(1))[1]["reset"] == "FLOW_CONTROL_ERROR"


async def test_streams_at_once_are_bounded(app: GrpcApp, service: Service) -> None:
    async with running("own", app, streams_max=3) as address:
        peer = await RawPeer.connect(address)
        announced = frames.parse_settings((await peer.until(SETTINGS)).payload)
        assert announced[MAX_CONCURRENT_STREAMS] == 3
        for stream in (1, 3, 5, 7):
            peer.send(peer.request(stream, HANG, HELLO))
        assert (await peer.answer(7))[1] == {"reset": "REFUSED_STREAM"}
        await asyncio.wait_for(service.entered.wait(), PATIENCE)
        await peer.close()


async def test_a_client_that_never_reads_is_not_served_for_ever(peer: RawPeer) -> None:
    """Answers pile up only until the connection's send buffer is full; then nothing is read."""
    large = BytesValue(value=bytes(16_000)).SerializeToString()
    peer.send(window_update(0, 2**30))
    wanted = 2000
    for stream in range(1, 2 * wanted, 2):
        peer.send(peer.request(stream, ECHO, large))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(peer.writer.drain(), 0.3)
    seen = 0
    while seen < wanted:  # and once it reads, all are answered
        answer = await peer.until(HEADERS)
        seen += bool(answer.flags & END_STREAM)


async def test_noise_never_hurts_the_server(address: str) -> None:
    chance = random.Random(1)
    for _ in range(60):
        peer = await RawPeer.connect(address)
        good = peer.request(1, ECHO, HELLO)
        noise = bytearray(good + peer.request(3, ECHO, HELLO))
        for _ in range(chance.randint(1, 6)):
            noise[chance.randrange(len(noise))] = chance.randrange(256)
        peer.send(bytes(noise))
        peer.writer.write_eof()
        while await peer.next() is not None:
            pass
        await peer.close()
    peer = await RawPeer.connect(address)
    peer.send(peer.request(1, ECHO, HELLO))
    assert (await peer.answer(1))[0] == message(HELLO)
    await peer.close()

"""Framing, timeouts and status text, without a server."""

from __future__ import annotations

import gzip

import pytest

from etcdshim.asgi import GrpcError
from etcdshim.asgi_wire import FrameReader, encode_message, frame, parse_timeout


@pytest.mark.parametrize(
    ("header", "seconds"),
    [(b"2H", 7200), (b"3M", 180), (b"5S", 5), (b"250m", 0.25), (b"99999999u", 99.999999)],
)
def test_timeouts(header: bytes, seconds: float) -> None:
    assert parse_timeout(header) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "header", [b"", b"S", b"5", b"-1S", b"1.5S", b"123456789S", b"1x", b"\xb2S"]
)
def test_malformed_timeouts(header: bytes) -> None:
    with pytest.raises(GrpcError, match="malformed grpc-timeout") as caught:
        parse_timeout(header)
    assert caught.value.code == 13


@pytest.mark.parametrize(
    ("text", "encoded"),
    [
        ("etcdserver: key not found", b"etcdserver: key not found"),
        ("100 %", b"100 %25"),
        ("a\nb", b"a%0Ab"),
        ("é", b"%C3%A9"),
        ("\udcff", b"%FF"),
    ],
)
def test_status_text(text: str, encoded: bytes) -> None:
    assert encode_message(text) == encoded


@pytest.mark.parametrize("text", ["x" * 10_000, "世" * 10_000, "%" * 10_000])
def test_status_text_is_cut_between_escapes(text: str) -> None:
    encoded = encode_message(text)
    assert 4090 < len(encoded) <= 4096
    assert b"%" not in encoded[-2:]


def test_messages_cut_anywhere() -> None:
    messages = [b"", b"a", b"b" * 300]
    wire = b"".join(map(frame, messages))
    for step in (1, 2, 7, len(wire)):
        reader, found = FrameReader(300, ""), []
        for start in range(0, len(wire), step):
            reader.feed(wire[start : start + step])
            while (message := reader.next_message()) is not None:
                found.append(message)
        assert found == messages
        assert reader.empty


def test_oversized_message_is_refused_by_its_length_alone() -> None:
    reader = FrameReader(10, "")
    reader.feed(frame(bytes(11))[:5])
    with pytest.raises(GrpcError) as caught:
        reader.next_message()
    assert caught.value.code == 8
    assert caught.value.message == "grpc: received message larger than max (11 vs. 10)"


def compressed(payload: bytes) -> bytes:
    return b"\1" + frame(payload)[1:]


@pytest.mark.parametrize(
    ("encoding", "body", "code", "text"),
    [
        ("", compressed(b"x"), 13, "grpc: compressed flag set with identity or empty encoding"),
        (
            "zstd",
            compressed(b"x"),
            12,
            'grpc: Decompressor is not installed for grpc-encoding "zstd"',
        ),
        ("gzip", b"\2" + frame(b"x")[1:], 13, "grpc: received unexpected payload format 2"),
        (
            "gzip",
            compressed(gzip.compress(bytes(200))),
            8,
            "grpc: received message after decompression larger than max 100",
        ),
        (
            "gzip",
            compressed(gzip.compress(b"abc")[:-3]),
            13,
            "grpc: failed to decompress the received message: unexpected EOF",
        ),
        ("gzip", compressed(b"junk"), 13, "grpc: failed to decompress the received message: "),
    ],
)
def test_bad_frames(encoding: str, body: bytes, code: int, text: str) -> None:
    reader = FrameReader(100, encoding)
    reader.feed(body)
    with pytest.raises(GrpcError) as caught:
        reader.next_message()
    assert caught.value.code == code
    assert caught.value.message.startswith(text)


def test_gzip() -> None:
    reader = FrameReader(100, "gzip")
    reader.feed(compressed(gzip.compress(bytes(100))) + frame(b"plain"))
    assert reader.next_message() == bytes(100)
    assert reader.next_message() == b"plain"

"""The framing: each case whole, byte by byte and with trailing data; flipped bytes rejected."""

from __future__ import annotations

import random
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from racos.transport.frame import HEAD_BYTES, Decoder, FrameError, encode

CASES: list[tuple[bytes, list[bytes]]] = [
    (b"", []),
    (b"header", []),
    (b"", [b""]),
    (b"h", [b"blob"]),
    (b"header", [b"", b"one", b"", bytes(range(256)) * 5]),
]


def pack(header: bytes, blobs: list[bytes]) -> bytes:
    return b"".join(encode(header, blobs))


def plain(decoder: Decoder, data: bytes) -> list[tuple[bytes, list[bytes]]]:
    return [(frame.header, [bytes(blob) for blob in frame.blobs]) for frame in decoder.feed(data)]


@pytest.mark.parametrize(("header", "blobs"), CASES)
def test_whole_byte_by_byte_and_with_trailing_data(header: bytes, blobs: list[bytes]) -> None:
    data = pack(header, blobs)
    decoder = Decoder()
    assert plain(decoder, data) == [(header, blobs)]
    pieces = [plain(decoder, data[at : at + 1]) for at in range(len(data))]
    assert pieces[:-1] == [[]] * (len(data) - 1)
    assert pieces[-1] == [(header, blobs)]
    assert plain(decoder, data + data[:-1]) == [(header, blobs)]
    assert plain(decoder, data[-1:] + data) == [(header, blobs)] * 2


@pytest.mark.parametrize(("header", "blobs"), CASES[:4])
def test_every_flipped_byte_is_rejected_at_once(header: bytes, blobs: list[bytes]) -> None:
    data = pack(header, blobs)
    for at in range(len(data)):
        for bit in (0, 7):
            damaged = bytearray(data)
            damaged[at] ^= 1 << bit
            with pytest.raises(FrameError):
                Decoder().feed(damaged)


def test_large_frames_between_small_ones_in_chunks_of_any_size() -> None:
    source = random.Random(3)
    frames = [
        (b"f%d" % number, [source.randbytes(source.choice((0, 100, 16_000, 17_000, 400_000)))])
        for number in range(40)
    ]
    data = b"".join(pack(header, blobs) for header, blobs in frames)
    for chunk in (1000, 65_536, 131_072, 300_000, len(data)):
        decoder = Decoder()
        received = []
        for start in range(0, len(data), chunk):
            received += plain(decoder, data[start : start + chunk])
        assert received == frames


@given(st.lists(st.tuples(st.binary(max_size=50), st.lists(st.binary(max_size=80)))), st.data())
@settings(max_examples=60, deadline=None)
def test_any_frames_cut_anywhere_arrive(
    frames: list[tuple[bytes, list[bytes]]], data: st.DataObject
) -> None:
    stream = b"".join(pack(header, blobs) for header, blobs in frames)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    decoder = Decoder()
    received = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        received += plain(decoder, stream[start:end])
    assert received == frames


@given(st.binary(min_size=1, max_size=200))
@settings(max_examples=100, deadline=None)
def test_strange_bytes_are_refused_or_waited_for_nothing_else(data: bytes) -> None:
    with suppress(FrameError):
        assert Decoder(1000).feed(data) == []


def test_the_limit_is_on_the_body_and_checked_before_it_arrives() -> None:
    data = pack(b"12345", [b"123"])  # body of 5 + 4 + 3 bytes
    assert len(Decoder(12).feed(data)) == 1
    with pytest.raises(FrameError, match="frame of 12 bytes is over the limit of 11"):
        Decoder(11).feed(data[:HEAD_BYTES])


def test_blobs_are_not_copied_when_sent_and_not_writable_when_received() -> None:
    blob = bytes(20_000)
    assert encode(b"h", [blob])[1] is blob
    frame = Decoder().feed(pack(b"h", [blob]))[0]
    assert frame.blobs[0].readonly

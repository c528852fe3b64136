from __future__ import annotations

from typing import Any

import pytest
from hpack import Decoder, Encoder

from bench.frames import (
    Outcome,
    RequestBlocks,
    ResponseBlocks,
)
from etcdshim.http2.frames import (
    PADDED,
    PRIORITY,
    ProtocolError,
    error_name,
    frame,
    parse_settings,
    settings,
    unpadded,
    window_update,
)
from tests.bench.fakes import block


def test_frame_has_a_24_bit_length() -> None:
    assert frame(0, 1, 3, b"x" * 0x012345)[:9] == bytes.fromhex("012345 00 01 00000003")


def test_settings_round_trip() -> None:
    values = {1: 0, 4: 2**31 - 1}
    assert parse_settings(settings(values)[9:]) == values


def test_torn_settings_are_refused() -> None:
    with pytest.raises(ProtocolError, match="SETTINGS of 5 bytes"):
        parse_settings(b"12345")


def test_window_update() -> None:
    assert window_update(5, 70_000) == bytes.fromhex("000004 08 00 00000005 00011170")


def test_padding_and_priority_are_cut() -> None:
    assert unpadded(b"body", 0) == b"body"
    assert unpadded(b"\x02bodyPP", PADDED) == b"body"
    assert unpadded(b"\x01ppppwbodyP", PADDED | PRIORITY) == b"body"
    with pytest.raises(ProtocolError, match="padding"):
        unpadded(b"\x09body", PADDED)


def test_request_blocks_decode_alike_in_order() -> None:
    blocks, decoder = RequestBlocks("127.0.0.1:2379"), Decoder()

    def fields(block: bytes) -> list[Any]:
        return [tuple(field) for field in decoder.decode(block)]

    def expected(path: str) -> list[Any]:
        return [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", path),
            (":authority", "127.0.0.1:2379"),
            ("content-type", "application/grpc"),
            ("te", "trailers"),
            ("user-agent", "racos-bench"),
        ]

    paths = [f"/etcdserverpb.KV/{name}" for name in ("Put", "Range", "Txn")]
    for count, path in enumerate(paths, 1):
        assert fields(blocks.first(path)) == expected(path)
        for known in (*paths[:count], path):
            following = blocks.following(known)
            assert fields(following) == expected(known)
            assert len(following) == 7


def test_header_value_must_fit() -> None:
    with pytest.raises(ValueError, match="too long"):
        RequestBlocks("host:1").first("/x" * 100)


def test_response_block_is_decoded_once() -> None:
    blocks = ResponseBlocks()
    raw = block(("grpc-status", "8"), ("grpc-message", "too%20large"))
    assert blocks.get(raw) is None
    assert blocks.decode(raw) == Outcome(0, 8, "too large")
    assert blocks.get(raw) == Outcome(0, 8, "too large")


def test_response_blocks_are_bounded() -> None:
    blocks = ResponseBlocks()
    for number in range(1500):
        blocks.decode(block(("date", str(number))))
    kept = sum(blocks.get(block(("date", str(number)))) is not None for number in range(1500))
    assert 0 < kept <= 1024


def test_block_that_needs_a_dynamic_table_is_refused() -> None:
    encoder = Encoder()
    encoder.encode([("x-custom", "value")])
    indexed = encoder.encode([("x-custom", "value")])
    with pytest.raises(ProtocolError, match="cannot be decoded"):
        ResponseBlocks().decode(indexed)


def test_status_must_be_a_number() -> None:
    with pytest.raises(ProtocolError, match="no number"):
        ResponseBlocks().decode(block(("grpc-status", "fine")))


def test_error_names() -> None:
    assert error_name(7) == "REFUSED_STREAM"
    assert error_name(99) == "error 99"

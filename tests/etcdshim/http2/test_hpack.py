"""Header compression against the `hpack` library, and what no client may send."""

from __future__ import annotations

import contextlib

import hpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etcdshim.http2.frames import ProtocolError
from etcdshim.http2.head import Heads, Malformed
from etcdshim.http2.hpack import LIST_SIZE_MAX, Decoder, encode

_NAMES = st.sampled_from([b":path", b":method", b"te", b"grpc-timeout", b"x-a", b"authorization"])
_FIELDS = st.lists(st.tuples(_NAMES, st.binary(max_size=200)), max_size=12)


@given(st.lists(_FIELDS, max_size=8), st.booleans())
def test_decodes_what_the_library_encodes(
    lists: list[list[tuple[bytes, bytes]]], code: bool
) -> None:
    encoder, decoder = hpack.Encoder(), Decoder()
    for fields in lists:
        assert decoder.decode(encoder.encode(fields, huffman=code)) == fields


@given(st.lists(_FIELDS, max_size=8))
def test_the_library_decodes_what_is_encoded(lists: list[list[tuple[bytes, bytes]]]) -> None:
    decoder = hpack.Decoder()
    for fields in lists:
        decoded = [(bytes(n), bytes(v)) for n, v in decoder.decode(encode(fields), raw=True)]
        assert decoded == fields


@given(st.binary(max_size=200))
def test_anything_else_is_a_protocol_error(block: bytes) -> None:
    with contextlib.suppress(ProtocolError):
        Decoder().decode(block)


def test_table_evicts_and_shrinks_as_the_library_does() -> None:
    encoder, decoder = hpack.Encoder(), Decoder()
    for number in range(200):  # together more than the table holds
        field = (b"grpc-timeout", b"%d" % number * 20)
        assert decoder.decode(encoder.encode([field])) == [field]
        assert decoder.changed
    encoder.header_table_size = 100
    encoder.header_table_size = 2000
    assert decoder.decode(encoder.encode([(b"te", b"x")])) == [(b"te", b"x")]


def test_unchanged_table_is_told() -> None:
    encoder, decoder = hpack.Encoder(), Decoder()
    fields = [(b":method", b"POST"), (b"te", b"trailers")]
    decoder.decode(encoder.encode(fields))
    assert decoder.changed
    decoder.decode(encoder.encode(fields))
    assert not decoder.changed


@pytest.mark.parametrize(
    "block",
    [
        b"\x80",  # index 0
        b"\xff\xff\xff\xff\xff\xff\x7f",  # an index beyond all bounds
        b"\xbe",  # an empty table's first entry
        b"\x40\x05te",  # a name cut short
        b"\x82\x20",  # a table size behind a field
        b"\x3f\xe2\x1f",  # a table size above what was offered
        b"\x00\x81\xff\x00",  # a Huffman string with wrong padding
    ],
)
def test_damaged_blocks(block: bytes) -> None:
    with pytest.raises(ProtocolError):
        Decoder().decode(block)


def test_a_small_block_cannot_mean_a_large_list() -> None:
    encoder = hpack.Encoder()
    bomb = encoder.encode([(b"x", b"y" * 4000)])
    repeated = b"\xbe" * (LIST_SIZE_MAX // 4000 + 1)
    with pytest.raises(ProtocolError, match="header list"):
        Decoder().decode(bomb + repeated)


def _head(*fields: tuple[bytes, bytes]) -> bytes:
    return encode([(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/a"), *fields])


@pytest.mark.parametrize(
    "block",
    [
        encode([(b":method", b"POST"), (b":scheme", b"http")]),
        _head((b":path", b"/b")),
        _head((b"a", b"b"), (b":authority", b"x")),
        _head((b":status", b"200")),
        _head((b"Upper", b"x")),
        _head((b"connection", b"close")),
        _head((b"te", b"gzip")),
    ],
)
def test_malformed_requests(block: bytes) -> None:
    with pytest.raises(Malformed):
        Heads().decode(block)


def test_equal_blocks_are_decoded_again_once_the_table_changed() -> None:
    """The same bytes, another meaning: the newest entry is another one."""
    encoder, heads = hpack.Encoder(), Heads()
    start = [(":method", "POST"), (":scheme", "http"), (":path", "/a")]
    heads.decode(encoder.encode([*start, ("x", "1")]))
    newest = _head() + b"\xbe"
    assert heads.decode(newest).headers == {b"x": b"1"}
    assert heads.get(newest) is not None
    heads.decode(encoder.encode([*start, ("x", "2")]))
    assert heads.get(newest) is None
    assert heads.decode(newest).headers == {b"x": b"2"}

"""Header compression (RFC 7541): decoding of requests, encoding of responses.

A decoder of our own because of its cost: calls of one client repeat their header block byte for
byte, and a block that leaves the dynamic table alone means the same until the table changes. So
`Decoder.changed` tells the caller how long it may keep what it made of a block. The Huffman code
and the static table are those of the `hpack` library.
"""

from __future__ import annotations

from collections import deque
from functools import lru_cache
from typing import Final

from hpack.exceptions import HPACKError
from hpack.huffman_table import decode_huffman
from hpack.table import HeaderTable

from etcdshim.http2.frames import COMPRESSION_ERROR, ENHANCE_YOUR_CALM, ProtocolError

Field = tuple[bytes, bytes]

TABLE_SIZE: Final = 4096  # bytes of the dynamic table; the protocol's default, never changed
LIST_SIZE_MAX: Final = 64 * 1024  # bytes of a decoded header list, as RFC 9113 6.5.2 counts them
_ENTRY_OVERHEAD: Final = 32  # bytes an entry counts for beside its name and value (RFC 7541 4.1)
_STATIC: Final[tuple[Field, ...]] = tuple((n, v) for n, v in HeaderTable.STATIC_TABLE)
_STATIC_SIZE: Final = len(_STATIC)
_INTEGER_MAX: Final = 2**28  # no length or index a block could mean is as large


class Decoder:
    """Decodes the header blocks of one connection, in the order in which they came."""

    __slots__ = ("_limit", "_size", "_table", "changed")

    def __init__(self) -> None:
        self._table: deque[Field] = deque()  # newest first
        self._size = 0
        self._limit = TABLE_SIZE
        self.changed = False  # whether the last block changed the dynamic table

    def decode(self, block: bytes) -> list[Field]:
        """The fields of a complete block. ProtocolError if it is damaged or too large; then the
        connection is lost, as nobody knows what the next block means."""
        try:
            return self._decode(block)
        except (IndexError, HPACKError) as error:
            raise ProtocolError(f"damaged header block: {error}", COMPRESSION_ERROR) from error

    def _decode(self, block: bytes) -> list[Field]:
        fields: list[Field] = []
        self.changed = False
        size = at = 0
        end = len(block)
        while at < end:
            first = block[at]
            if first & 0x80:  # an indexed field
                index, at = _integer(block, at, 0x7F)
                field = self._entry(index)
            elif first & 0x40:  # a literal that enters the table
                field, at = self._literal(block, at, 0x3F)
                self._enter(field)
            elif first & 0x20:  # a new size of the table
                limit, at = _integer(block, at, 0x1F)
                self._resize(limit, begins=not fields)
                continue
            else:  # a literal that does not
                field, at = self._literal(block, at, 0x0F)
            size += len(field[0]) + len(field[1]) + _ENTRY_OVERHEAD
            if size > LIST_SIZE_MAX:
                text = f"header list of more than {LIST_SIZE_MAX} bytes"
                raise ProtocolError(text, ENHANCE_YOUR_CALM)
            fields.append(field)
        return fields

    def _entry(self, index: int) -> Field:
        if index == 0:
            raise IndexError("index 0")
        if index <= _STATIC_SIZE:
            return _STATIC[index - 1]
        return self._table[index - _STATIC_SIZE - 1]

    def _literal(self, block: bytes, at: int, mask: int) -> tuple[Field, int]:
        index, at = _integer(block, at, mask)
        if index:
            name = self._entry(index)[0]
        else:
            name, at = _string(block, at)
        value, at = _string(block, at)
        return (name, value), at

    def _enter(self, field: Field) -> None:
        self.changed = True
        self._table.appendleft(field)
        self._size += len(field[0]) + len(field[1]) + _ENTRY_OVERHEAD
        self._evict()

    def _resize(self, limit: int, *, begins: bool) -> None:
        if not begins or limit > TABLE_SIZE:
            raise IndexError(f"table size {limit} out of place or range")
        self.changed = True
        self._limit = limit
        self._evict()

    def _evict(self) -> None:
        while self._size > self._limit:
            name, value = self._table.pop()
            self._size -= len(name) + len(value) + _ENTRY_OVERHEAD


def _integer(block: bytes, at: int, mask: int) -> tuple[int, int]:
    """An integer whose first byte shares its bits outside `mask`; and the place after it."""
    value = block[at] & mask
    at += 1
    if value < mask:
        return value, at
    shift = 0
    while True:
        byte = block[at]
        at += 1
        value += (byte & 0x7F) << shift
        shift += 7
        if value > _INTEGER_MAX or shift > 35:
            raise IndexError("integer too large")
        if not byte & 0x80:
            return value, at


def _string(block: bytes, at: int) -> tuple[bytes, int]:
    is_coded = block[at] & 0x80
    length, at = _integer(block, at, 0x7F)
    end = at + length
    if end > len(block):
        raise IndexError("string beyond the end of its block")
    raw = block[at:end]
    return (_plain(raw) if is_coded else raw), end


@lru_cache(maxsize=1024)
def _plain(coded: bytes) -> bytes:
    return bytes(decode_huffman(coded))


def encode(fields: list[Field]) -> bytes:
    """A header block that changes no table: every field a literal, names by static index if any."""
    return b"".join(_encode_field(name, value) for name, value in fields)


_STATIC_NAMES: Final = {name: index for index, (name, _) in reversed(list(enumerate(_STATIC, 1)))}
_STATIC_FIELDS: Final = {field: index for index, field in enumerate(_STATIC, 1)}


def _encode_field(name: bytes, value: bytes) -> bytes:
    index = _STATIC_FIELDS.get((name, value))
    if index is not None:
        return bytes((0x80 | index,))
    index = _STATIC_NAMES.get(name)
    if index is None:
        return b"\x00" + _encode_string(name) + _encode_string(value)
    return _encode_integer(index, 0x0F, 0x00) + _encode_string(value)


def _encode_string(text: bytes) -> bytes:
    return _encode_integer(len(text), 0x7F, 0x00) + text


def _encode_integer(value: int, mask: int, pattern: int) -> bytes:
    if value < mask:
        return bytes((pattern | value,))
    out = bytearray((pattern | mask,))
    value -= mask
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)

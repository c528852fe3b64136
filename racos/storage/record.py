"""The bytes of one log record, and of a segment's header. No I/O.

    record = head (40 bytes) | header | blob lengths (u32 each) | zeros | blobs

The zeros make the record a multiple of 8 bytes long, so every record starts on 8. All integers are
little-endian. Head and body have a CRC-32C each, so a bad length is never followed. Both CRCs start
from the segment's salt, a random number no client knows: bytes that a client stores as a value do
not pass for a record when a damaged region is searched.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

from crc32c import crc32c

from racos.storage.disk import Buffer

__all__ = [
    "FORMAT_VERSION",
    "HEAD_BYTES",
    "MAGIC",
    "RECORD_BYTES_MAX",
    "SEGMENT_HEADER_BYTES",
    "BadHeader",
    "Head",
    "OtherFormat",
    "SegmentHeader",
    "blob_lengths",
    "body_crc",
    "encode",
    "pack_segment_header",
    "parse_head",
    "parse_segment_header",
]

FORMAT_VERSION = 2  # 2: descriptors carry a checksum of their own
RECORD_BYTES_MAX = 1 << 30

# magic, CRC of the rest of the head, CRC of the body, kind, blob count, header length, body length,
# sequence, durable sequence known when the record was queued
_HEAD = struct.Struct("<IIIHHIIQQ")
_HEAD_REST = struct.Struct("<IHHIIQQ")
_HEAD_REST_AT = 8
HEAD_BYTES = _HEAD.size
MAGIC = b"\x9eRc\xd1"
_MAGIC = int.from_bytes(MAGIC, "little")

SEGMENT_HEADER_BYTES = 512  # one sector: written whole or not at all
_SEGMENT_MAGIC = b"RACOSLOG"
# magic, format version, CRC of the rest; then number, first sequence, member id, cluster id, salt
_SEGMENT_START = struct.Struct("<8sII")
_SEGMENT_REST = struct.Struct("<QQQQI")


class Head(NamedTuple):
    """A record's head, its own CRC already checked."""

    body_crc: int
    kind: int
    blob_count: int
    header_length: int
    body_length: int
    sequence: int
    durable: int


class SegmentHeader(NamedTuple):
    number: int
    first_sequence: int  # of the first record in this segment
    member_id: int
    cluster_id: int
    salt: int  # u32


class BadHeader(Exception):
    """A segment header that cannot be read; the text says why."""


class OtherFormat(BadHeader):
    """It is of another version of this program."""


def encode(
    kind: int, header: bytes, blobs: Sequence[Buffer], sequence: int, durable: int, salt: int
) -> tuple[bytes, int]:
    """The record's bytes before its blobs, and the length of the whole record."""
    if blobs:
        lengths = [len(blob) for blob in blobs]
        unpadded = len(header) + 4 * len(lengths) + sum(lengths)
        padding = -unpadded % 8
        prefix = b"".join(
            (header, struct.pack(f"<{len(lengths)}I", *lengths), b"\0\0\0\0\0\0\0"[:padding])
        )
    else:
        unpadded = len(header)
        padding = -unpadded % 8
        prefix = header + b"\0\0\0\0\0\0\0"[:padding]
    length = unpadded + padding
    crc = crc32c(prefix, salt)
    for blob in blobs:
        crc = crc32c(blob, crc)
    rest = _HEAD_REST.pack(crc, kind, len(blobs), len(header), length, sequence, durable)
    head_crc = crc32c(rest, salt)
    return b"".join((MAGIC, head_crc.to_bytes(4, "little"), rest, prefix)), HEAD_BYTES + length


def parse_head(data: Buffer, offset: int, salt: int) -> Head | None:
    """The head at `offset` of `data`; None if there is no valid one."""
    if len(data) - offset < HEAD_BYTES:
        return None
    magic, head_crc, *fields = _HEAD.unpack_from(data, offset)
    rest = memoryview(data)[offset + _HEAD_REST_AT : offset + HEAD_BYTES]
    if magic != _MAGIC or crc32c(rest, salt) != head_crc:
        return None
    head = Head(*fields)
    fits = head.header_length + 4 * head.blob_count <= head.body_length <= RECORD_BYTES_MAX
    return head if fits and head.body_length % 8 == 0 else None


def body_crc(chunk: Buffer, crc: int) -> int:
    """Carry the body's CRC on over `chunk`; start from the salt."""
    return crc32c(chunk, crc)


def blob_lengths(head: Head, start: Buffer) -> tuple[int, ...]:
    """Lengths of the blobs, given the first bytes of the record's body."""
    return struct.unpack_from(f"<{head.blob_count}I", start, head.header_length)


def pack_segment_header(header: SegmentHeader) -> bytes:
    rest = _SEGMENT_REST.pack(*header).ljust(SEGMENT_HEADER_BYTES - _SEGMENT_START.size, b"\0")
    return _SEGMENT_START.pack(_SEGMENT_MAGIC, FORMAT_VERSION, crc32c(rest)) + rest


def parse_segment_header(data: bytes) -> SegmentHeader:
    """Raise BadHeader if these are not the first bytes of a segment this version can read."""
    if len(data) < SEGMENT_HEADER_BYTES:
        raise BadHeader("segment header cut short")
    magic, version, crc = _SEGMENT_START.unpack_from(data)
    if magic != _SEGMENT_MAGIC:
        raise BadHeader("not a log segment")
    if version > FORMAT_VERSION:
        raise OtherFormat(f"format version {version} is newer than {FORMAT_VERSION}")
    if version == 1:
        raise OtherFormat(
            "format version 1 is of an unreleased Racos: begin anew without this data"
        )
    rest = data[_SEGMENT_START.size : SEGMENT_HEADER_BYTES]
    if version != FORMAT_VERSION or crc32c(rest) != crc:
        raise BadHeader("segment header damaged")
    return SegmentHeader(*_SEGMENT_REST.unpack_from(rest))

"""Frames on the wire: bytes to frames and back. No I/O.

    frame = head (24 bytes) | header | blob lengths (u32 each) | blobs

All integers are little-endian. The head has a CRC-32C of its own, so a damaged length is noticed at
once and never waited for; the other one covers everything after the head. Large frames are received
straight into a buffer of their size: the decoder lends out the place for the next bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

from crc32c import crc32c

from racos.buffers import unwritten

__all__ = ["FRAME_BYTES_MAX", "HEAD_BYTES", "Buffer", "Decoder", "Frame", "FrameError", "encode"]

Buffer: TypeAlias = bytes | bytearray | memoryview

FRAME_BYTES_MAX = 64 << 20

# magic, CRC of the rest of the head, CRC of the body, body length, header length, blob count
_HEAD = struct.Struct("<IIIIII")
_HEAD_REST = struct.Struct("<IIII")
_HEAD_REST_AT = 8
_MAGIC = 0xD1635287
_MAGIC_BYTES = _MAGIC.to_bytes(4, "little")
HEAD_BYTES = _HEAD.size

_SCRATCH_BYTES = 128 << 10
# An unfinished frame above this gets its own buffer; below, moving it is cheaper.
_MOVE_BYTES_MAX = 16 << 10


class FrameError(Exception):
    """Bytes that are not a frame. Nothing after them can be trusted: close the connection."""


class Frame(NamedTuple):
    """A received frame. Blobs are views of its buffer: keeping one keeps the whole frame."""

    header: bytes
    blobs: list[memoryview]


def encode(header: bytes, blobs: Sequence[Buffer] = ()) -> list[Buffer]:
    """The frame in pieces, for one vectored write; blobs are not copied."""
    if blobs:
        lengths = [len(blob) for blob in blobs]
        body_length = len(header) + 4 * len(lengths) + sum(lengths)
        prefix = header + struct.pack(f"<{len(lengths)}I", *lengths)
        crc = crc32c(prefix)
        for blob in blobs:
            crc = crc32c(blob, crc)
    else:
        body_length = len(header)
        prefix = header
        crc = crc32c(header)
    rest = _HEAD_REST.pack(crc, body_length, len(header), len(blobs))
    start = b"".join((_MAGIC_BYTES, crc32c(rest).to_bytes(4, "little"), rest, prefix))
    return [start, *blobs]


# Of a head: CRC of the body, length of the body, length of the header, blob count.
_Head: TypeAlias = tuple[int, int, int, int]


class Decoder:
    """Turns a byte stream into frames; `limit` is the largest body accepted, in bytes.

    Either `feed` it, or receive into `buffer()` and say how much with `received`.
    """

    __slots__ = ("_body", "_end", "_filled", "_head", "_scratch", "_start", "limit")

    def __init__(self, limit: int = FRAME_BYTES_MAX) -> None:
        self.limit = limit
        self._scratch = memoryview(bytearray(_SCRATCH_BYTES))
        self._start = 0  # unread bytes are scratch[start:end]
        self._end = 0
        self._body: memoryview | None = None  # of a large frame being received
        self._head: _Head = (0, 0, 0, 0)  # of that frame
        self._filled = 0  # bytes of it received

    def feed(self, data: Buffer) -> list[Frame]:
        """Frames completed by `data`. FrameError if it breaks the format."""
        frames: list[Frame] = []
        view = memoryview(data)
        while view:
            room = self.buffer()
            count = min(len(room), len(view))
            room[:count] = view[:count]
            frames += self.received(count)
            view = view[count:]
        return frames

    def buffer(self) -> memoryview:
        """Where the next bytes belong; never empty."""
        if self._body is not None:
            return self._body[self._filled :]
        return self._scratch[self._end :]

    def received(self, count: int) -> list[Frame]:
        """Frames completed by the `count` bytes put into `buffer()`."""
        if self._body is not None:
            self._filled += count
            if self._filled < len(self._body):
                return []
            body, self._body = self._body, None
            return [_frame(self._head, body)]
        self._end += count
        return self._parse()

    def _parse(self) -> list[Frame]:
        frames: list[Frame] = []
        scratch = self._scratch
        while self._end - self._start >= HEAD_BYTES:
            head = _parse_head(scratch, self._start, self.limit)
            start = self._start + HEAD_BYTES
            end = start + head[1]
            if end > self._end:
                if head[1] > _MOVE_BYTES_MAX:
                    self._begin_large(head, start)
                break
            # A copy, because the scratch buffer is used again.
            frames.append(_frame(head, bytes(scratch[start:end])))
            self._start = end
        self._compact()
        return frames

    def _begin_large(self, head: _Head, start: int) -> None:
        """Go on receiving this frame in a buffer of its own."""
        have = self._end - start
        self._body = memoryview(unwritten(head[1]))
        self._body[:have] = self._scratch[start : self._end]
        self._head = head
        self._filled = have
        self._start = self._end

    def _compact(self) -> None:
        """Make room behind the unread bytes; at most one small unfinished frame is moved."""
        left = self._end - self._start
        if self._start and left:
            self._scratch[:left] = bytes(self._scratch[self._start : self._end])
        self._start = 0
        self._end = left


def _parse_head(data: memoryview, offset: int, limit: int) -> _Head:
    magic, head_crc, crc, length, header_length, blob_count = _HEAD.unpack_from(data, offset)
    if magic != _MAGIC:
        raise FrameError("not a frame")
    if crc32c(data[offset + _HEAD_REST_AT : offset + HEAD_BYTES]) != head_crc:
        raise FrameError("frame head damaged")
    if length > limit:
        raise FrameError(f"frame of {length} bytes is over the limit of {limit}")
    if header_length + 4 * blob_count > length:
        raise FrameError("frame head inconsistent")
    return crc, length, header_length, blob_count


def _frame(head: _Head, body: bytes | memoryview) -> Frame:
    crc, length, header_length, blob_count = head
    if crc32c(body) != crc:
        raise FrameError("frame body damaged")
    header = bytes(body[:header_length])
    if not blob_count:
        return Frame(header, [])
    view = memoryview(body).toreadonly()
    lengths = struct.unpack_from(f"<{blob_count}I", view, header_length)
    offset = header_length + 4 * blob_count
    if offset + sum(lengths) != length:
        raise FrameError("frame lengths inconsistent")
    blobs = []
    for size in lengths:
        blobs.append(view[offset : offset + size])
        offset += size
    return Frame(header, blobs)

"""HTTP/2 frames and header blocks, as far as a gRPC load client needs them (RFC 9113, RFC 7541).

Requests of one connection differ in nothing but their stream and their body, so the header block is
built once. Responses repeat too: with a header table of size 0 a block means the same wherever it
stands, so each distinct block is decoded once and looked up by its raw bytes from then on.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

DATA: Final = 0
HEADERS: Final = 1
RST_STREAM: Final = 3
SETTINGS: Final = 4
PING: Final = 6
GOAWAY: Final = 7
WINDOW_UPDATE: Final = 8
CONTINUATION: Final = 9

END_STREAM: Final = 0x01
ACK: Final = 0x01
END_HEADERS: Final = 0x04
PADDED: Final = 0x08
PRIORITY: Final = 0x20

HEADER_TABLE_SIZE: Final = 1
ENABLE_PUSH: Final = 2
MAX_CONCURRENT_STREAMS: Final = 3
INITIAL_WINDOW_SIZE: Final = 4
MAX_FRAME_SIZE: Final = 5

CANCEL: Final = 8
WINDOW_MAX: Final = 2**31 - 1
WINDOW_DEFAULT: Final = 65_535
FRAME_SIZE_DEFAULT: Final = 16_384
FRAME_HEADER_SIZE: Final = 9
# A 24-bit length is no struct type: read as its high 16 and its low 8 bits.
FRAME_HEADER: Final = struct.Struct(">HBBBL")
# Distinct response blocks remembered; a `date` header adds one a second, so there is a bound.
_BLOCKS_MAX: Final = 1024

_ERROR_NAMES: Final = (
    "NO_ERROR",
    "PROTOCOL_ERROR",
    "INTERNAL_ERROR",
    "FLOW_CONTROL_ERROR",
    "SETTINGS_TIMEOUT",
    "STREAM_CLOSED",
    "FRAME_SIZE_ERROR",
    "REFUSED_STREAM",
    "CANCEL",
    "COMPRESSION_ERROR",
    "CONNECT_ERROR",
    "ENHANCE_YOUR_CALM",
    "INADEQUATE_SECURITY",
    "HTTP_1_1_REQUIRED",
)


class ProtocolError(Exception):
    """The peer sent something HTTP/2 or gRPC does not allow."""


class Outcome(NamedTuple):
    """What one header block of a response says."""

    http_status: int  # 0: the block has none (trailers)
    status: int  # grpc-status; -1: the block has none (first headers)
    message: str  # grpc-message, percent-decoded


def frame_header(length: int, kind: int, flags: int, stream: int) -> bytes:
    """The nine bytes before a frame's payload of `length` bytes."""
    return FRAME_HEADER.pack(length >> 8, length & 0xFF, kind, flags, stream)


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """A whole frame."""
    return frame_header(len(payload), kind, flags, stream) + payload


def settings(values: dict[int, int]) -> bytes:
    """A SETTINGS frame."""
    payload = b"".join(struct.pack(">HL", name, value) for name, value in values.items())
    return frame(SETTINGS, 0, 0, payload)


def parse_settings(payload: bytes) -> dict[int, int]:
    """Identifiers and values of a SETTINGS payload; raises ProtocolError on a torn one."""
    if len(payload) % 6:
        raise ProtocolError(f"SETTINGS of {len(payload)} bytes")
    return dict(struct.iter_unpack(">HL", payload))


def window_update(stream: int, increment: int) -> bytes:
    """A WINDOW_UPDATE frame; stream 0 is the connection."""
    return frame(WINDOW_UPDATE, 0, stream, increment.to_bytes(4, "big"))


def error_name(code: int) -> str:
    """An HTTP/2 error code by its name."""
    return _ERROR_NAMES[code] if code < len(_ERROR_NAMES) else f"error {code}"


def unpadded(payload: bytes, flags: int) -> bytes:
    """The payload of a DATA or HEADERS frame without padding and priority."""
    start = end = 0
    if flags & PADDED:
        start, end = 1, payload[0]
    if flags & PRIORITY:
        start += 5
    if start + end > len(payload):
        raise ProtocolError("padding longer than its frame")
    return payload[start : len(payload) - end]


def _string(text: bytes) -> bytes:
    """An HPACK string without Huffman coding, shorter than 127 bytes."""
    if len(text) >= 127:
        raise ValueError(f"header value of {len(text)} bytes is too long")
    return bytes((len(text),)) + text


def request_blocks(path: str, authority: str) -> tuple[bytes, bytes]:
    """Header blocks of a gRPC call: for the first request of a connection, and for all that follow.

    The first enters its fields into the peer's dynamic table, the others name them by index, as any
    gRPC client's encoder ends up doing; so the servers' work is that of real traffic.
    """
    fields = (
        (b"\x44", path.encode()),  # :path is entry 4 of the static table
        (b"\x41", authority.encode()),  # :authority
        (b"\x5f", b"application/grpc"),  # content-type
        (b"\x40\x02te", b"trailers"),
        (b"\x7a", b"racos-bench"),  # user-agent
    )
    constant = b"\x83\x86"  # :method POST, :scheme http
    first = constant + b"".join(name + _string(value) for name, value in fields)
    newest = 62  # the newest entry of the dynamic table; ours were added in the order of `fields`
    indices = range(newest + len(fields) - 1, newest - 1, -1)
    return first, constant + bytes(0x80 | index for index in indices)


class ResponseBlocks:
    """Response header blocks by their raw bytes, each decoded once."""

    def __init__(self) -> None:
        self._known: dict[bytes, Outcome] = {}
        # Hot path: a hit costs one dict lookup and no Python frame.
        self.get = self._known.get

    def decode(self, block: bytes) -> Outcome:
        """Decode and remember a block; raises ProtocolError when it is not self-contained."""
        fields = _decode(block)
        try:
            outcome = Outcome(
                int(fields.get(":status", "0")),
                int(fields.get("grpc-status", "-1")),
                _percent_decoded(fields.get("grpc-message", "")),
            )
        except ValueError as error:
            raise ProtocolError(
                f"response headers with a status that is no number: {error}"
            ) from error
        if len(self._known) >= _BLOCKS_MAX:
            self._known.clear()
        self._known[block] = outcome
        return outcome


def _percent_decoded(text: str) -> str:
    from urllib.parse import unquote

    return unquote(text)


def _decode(block: bytes) -> dict[str, str]:
    # Imported here: hpack is needed by the bench alone, and `racos` should start without it.
    from hpack import Decoder
    from hpack.exceptions import HPACKError

    decoder = Decoder()
    decoder.max_allowed_table_size = 0
    decoder.header_table_size = 0
    try:
        pairs = decoder.decode(block)
    except HPACKError as error:
        raise ProtocolError(f"response headers that cannot be decoded: {error}") from error
    return {_text(name): _text(value) for name, value in pairs}


def _text(value: bytes | str) -> str:
    return value if isinstance(value, str) else value.decode("utf-8", "replace")

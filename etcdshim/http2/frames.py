"""HTTP/2 frames (RFC 9113 section 4 and 6): numbers, packing, and the checks of their layout."""

from __future__ import annotations

import struct
from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

DATA: Final = 0
HEADERS: Final = 1
PRIORITY_FRAME: Final = 2
RST_STREAM: Final = 3
SETTINGS: Final = 4
PUSH_PROMISE: Final = 5
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
MAX_HEADER_LIST_SIZE: Final = 6

NO_ERROR: Final = 0
PROTOCOL_ERROR: Final = 1
INTERNAL_ERROR: Final = 2
FLOW_CONTROL_ERROR: Final = 3
STREAM_CLOSED: Final = 5
FRAME_SIZE_ERROR: Final = 6
REFUSED_STREAM: Final = 7
CANCEL: Final = 8
COMPRESSION_ERROR: Final = 9
ENHANCE_YOUR_CALM: Final = 11

WINDOW_MAX: Final = 2**31 - 1
WINDOW_DEFAULT: Final = 65_535
FRAME_SIZE_DEFAULT: Final = 16_384
FRAME_SIZE_MAX: Final = 2**24 - 1
FRAME_HEADER_SIZE: Final = 9
# A 24-bit length is no struct type: read as its high 16 and its low 8 bits.
FRAME_HEADER: Final = struct.Struct(">HBBBL")

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
    """The peer sent something HTTP/2 or gRPC does not allow; `code` is HTTP/2's for a GOAWAY."""

    def __init__(self, text: str, code: int = PROTOCOL_ERROR) -> None:
        super().__init__(text)
        self.code = code


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
        raise ProtocolError(f"SETTINGS of {len(payload)} bytes", FRAME_SIZE_ERROR)
    return dict(struct.iter_unpack(">HL", payload))


def window_update(stream: int, increment: int) -> bytes:
    """A WINDOW_UPDATE frame; stream 0 is the connection."""
    return frame(WINDOW_UPDATE, 0, stream, increment.to_bytes(4, "big"))


def reset(stream: int, code: int) -> bytes:
    """A RST_STREAM frame."""
    return frame(RST_STREAM, 0, stream, code.to_bytes(4, "big"))


def goaway(last_stream: int, code: int, text: str = "") -> bytes:
    """A GOAWAY frame: streams above `last_stream` were and will not be served."""
    head = last_stream.to_bytes(4, "big") + code.to_bytes(4, "big")
    return frame(GOAWAY, 0, 0, head + text.encode())


def error_name(code: int) -> str:
    """An HTTP/2 error code by its name."""
    return _ERROR_NAMES[code] if code < len(_ERROR_NAMES) else f"error {code}"


def unpadded(payload: bytes, flags: int) -> bytes:
    """The payload of a DATA or HEADERS frame without padding and priority."""
    start = end = 0
    if flags & PADDED:
        if not payload:
            raise ProtocolError("padded frame without a padding length", FRAME_SIZE_ERROR)
        start, end = 1, payload[0]
    if flags & PRIORITY:
        start += 5
    if start + end > len(payload):
        raise ProtocolError("padding longer than its frame")
    return payload[start : len(payload) - end]

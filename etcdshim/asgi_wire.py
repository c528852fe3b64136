"""gRPC's wire conventions over HTTP/2: message framing, timeouts, status text, and ASGI's shapes.

Sans-I/O: bytes in, bytes or errors out. The status texts are those that grpc-go servers send,
because tools and people match on them.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, Final

Scope = MutableMapping[str, Any]
Event = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]

OK: Final = 0
CANCELLED: Final = 1
UNKNOWN: Final = 2
DEADLINE_EXCEEDED: Final = 4
RESOURCE_EXHAUSTED: Final = 8
UNIMPLEMENTED: Final = 12
INTERNAL: Final = 13
UNAVAILABLE: Final = 14

PREFIX_BYTES: Final = 5  # one byte of flags, four of length
_GZIP_WINDOW: Final = 16 + zlib.MAX_WBITS  # tells zlib to expect gzip's header
_MESSAGE_CHARS_MAX: Final = 4096  # clients refuse header lists above 8 to 16 KiB
# By the unit's byte, as indexing bytes yields numbers.
_SECONDS: Final[Mapping[int, float]] = dict(
    zip(b"HMSmun", (3600, 60, 1, 1e-3, 1e-6, 1e-9), strict=True)
)
_pack_prefix = struct.Struct(">xI").pack  # flags zero, length
unpack_prefix = struct.Struct(">BI").unpack_from  # flags, length
# Everything printable but the percent sign goes as it is.
_UNESCAPED: Final = frozenset(range(0x20, 0x7F)) - {0x25}


class GrpcError(Exception):
    """A call's end with a status other than OK.

    `code` is the gRPC status code, `message` the exact text the client shall see (any characters:
    percent-encoding is this layer's business).
    """

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def frame(payload: bytes) -> bytes:
    """One uncompressed length-prefixed message."""
    return _pack_prefix(len(payload)) + payload


def parse_timeout(value: bytes) -> float:
    """Seconds of a `grpc-timeout` header: at most eight digits and a unit. Raises GrpcError."""
    digits, unit = value[:-1], _SECONDS.get(value[-1]) if value else None
    if unit is None or not digits.isdigit() or len(digits) > 8:
        text = value.decode("latin-1")
        raise GrpcError(INTERNAL, f"malformed grpc-timeout: {text!r}")
    return int(digits) * unit


def encode_message(text: str) -> bytes:
    """Percent-encode a status text for the `grpc-message` trailer, cut to what clients accept."""
    raw = text.encode("utf-8", "surrogateescape")
    if len(raw) <= _MESSAGE_CHARS_MAX and text.isprintable() and text.isascii() and "%" not in text:
        return raw
    pieces = [chr(b) if b in _UNESCAPED else f"%{b:02X}" for b in raw[:_MESSAGE_CHARS_MAX]]
    size = 0
    for index, piece in enumerate(pieces):
        size += len(piece)
        if size > _MESSAGE_CHARS_MAX:
            del pieces[index:]
            break
    return "".join(pieces).encode("ascii")


def status_fields(code: int, message: str) -> list[tuple[bytes, bytes]]:
    """The header fields that end a call with a status."""
    fields = [(b"grpc-status", b"%d" % code)]
    if message:
        fields.append((b"grpc-message", encode_message(message)))
    return fields


def trailers(code: int, message: str) -> Event:
    """The ASGI event that ends a call with a status."""
    headers = status_fields(code, message)
    return {"type": "http.response.trailers", "headers": headers, "more_trailers": False}


class FrameReader:
    """Cuts a request body into messages; holds at most one message and one body event beyond it.

    A large message arrives in many events and is put together once, when it is complete.
    """

    __slots__ = ("_at", "_data", "_encoding", "_flags", "_later", "_limit", "_need", "_size")

    def __init__(self, limit: int, encoding: str) -> None:
        """`limit`: bytes of the largest message accepted; `encoding`: the call's grpc-encoding."""
        self._limit = limit
        self._encoding = encoding
        self._data = b""  # read up to _at
        self._at = 0
        self._later: list[bytes] = []  # follows _data
        self._size = 0  # bytes not yet read, in _data and _later
        self._flags = 0  # of the message whose prefix was read
        self._need: int | None = None  # its bytes; None while its prefix is not complete

    @property
    def empty(self) -> bool:
        """Whether no part of a message is waiting for the rest of it."""
        return self._size == 0 and self._need is None

    def feed(self, chunk: bytes) -> None:
        self._size += len(chunk)
        self._later.append(chunk)

    def next_message(self) -> bytes | None:
        """The next whole message, or None until more is fed. Raises GrpcError on a bad frame.

        The length is judged as soon as it is known, so an oversized message is never gathered.
        """
        if self._need is None:
            prefix = self._take(PREFIX_BYTES)
            if prefix is None:
                return None
            self._flags, self._need = unpack_prefix(prefix)
            self._check(self._flags, self._need)
        payload = self._take(self._need)
        if payload is None:
            return None
        self._need = None
        return self._inflate(payload) if self._flags else payload

    def _take(self, count: int) -> bytes | None:
        """Read `count` bytes if they are there."""
        if self._size < count:
            return None
        if len(self._data) - self._at < count:
            with memoryview(self._data) as view:
                self._data = b"".join([view[self._at :], *self._later])
            self._later.clear()
            self._at = 0
        start = self._at
        self._at += count
        self._size -= count
        return self._data[start : self._at]

    def _check(self, flags: int, size: int) -> None:
        if flags > 1:
            raise GrpcError(INTERNAL, f"grpc: received unexpected payload format {flags}")
        if size > self._limit:
            text = f"grpc: received message larger than max ({size} vs. {self._limit})"
            raise GrpcError(RESOURCE_EXHAUSTED, text)
        if flags and self._encoding in ("", "identity"):
            text = "grpc: compressed flag set with identity or empty encoding"
            raise GrpcError(INTERNAL, text)
        if flags and self._encoding != "gzip":
            text = f'grpc: Decompressor is not installed for grpc-encoding "{self._encoding}"'
            raise GrpcError(UNIMPLEMENTED, text)

    def _inflate(self, payload: bytes) -> bytes:
        inflater = zlib.decompressobj(_GZIP_WINDOW)
        try:
            plain = inflater.decompress(payload, self._limit + 1)
        except zlib.error as error:
            text = f"grpc: failed to decompress the received message: {error}"
            raise GrpcError(INTERNAL, text) from error
        if len(plain) > self._limit:
            text = f"grpc: received message after decompression larger than max {self._limit}"
            raise GrpcError(RESOURCE_EXHAUSTED, text)
        if not inflater.eof:
            text = "grpc: failed to decompress the received message: unexpected EOF"
            raise GrpcError(INTERNAL, text)
        return plain

"""Header blocks, as far as a gRPC load client needs them (RFC 7541).

Requests of one connection differ in nothing but their stream and their body, so the header block is
built once. Responses repeat too: with a header table of size 0 a block means the same wherever it
stands, so each distinct block is decoded once and looked up by its raw bytes from then on.
"""

from __future__ import annotations

from typing import Final, NamedTuple
from urllib.parse import unquote

from hpack import Decoder
from hpack.exceptions import HPACKError

from etcdshim.http2.frames import ProtocolError

# Distinct response blocks remembered; a `date` header adds one a second, so there is a bound.
_BLOCKS_MAX: Final = 1024
_CONSTANT: Final = b"\x83\x86"  # :method POST, :scheme http
_NEWEST: Final = 62  # the index of the newest entry of the dynamic table


class Outcome(NamedTuple):
    """What one header block of a response says."""

    http_status: int  # 0: the block has none (trailers)
    status: int  # grpc-status; -1: the block has none (first headers)
    message: str  # grpc-message, percent-decoded


def _string(text: bytes) -> bytes:
    """An HPACK string without Huffman coding, shorter than 127 bytes."""
    if len(text) >= 127:
        raise ValueError(f"header value of {len(text)} bytes is too long")
    return bytes((len(text),)) + text


class RequestBlocks:
    """Header blocks of the gRPC calls of one connection.

    A field enters the peer's dynamic table when it is first sent and is named by its index from
    then on, as any gRPC client's encoder ends up doing; so the servers' work is that of real
    traffic.
    """

    def __init__(self, authority: str) -> None:
        self._common = (
            (b"\x41", authority.encode()),  # :authority
            (b"\x5f", b"application/grpc"),  # content-type
            (b"\x40\x02te", b"trailers"),
            (b"\x7a", b"racos-bench"),  # user-agent
        )
        self._entered: list[bytes] = []  # the dynamic table, oldest entry first

    def first(self, path: str) -> bytes:
        """The block of the first call to a path; the blocks for other paths change with it."""
        fields = ((b"\x44", path.encode()), *self._common)  # :path is entry 4 of the static table
        return _CONSTANT + b"".join(self._field(*field) for field in fields)

    def following(self, path: str) -> bytes:
        """The block of each later call to a path, until the next new one."""
        values = (path.encode(), *(value for _, value in self._common))
        return _CONSTANT + b"".join(self._index(value) for value in values)

    def _field(self, name: bytes, value: bytes) -> bytes:
        if value in self._entered:
            return self._index(value)
        self._entered.append(value)
        return name + _string(value)

    def _index(self, value: bytes) -> bytes:
        behind_newest = len(self._entered) - 1 - self._entered.index(value)
        return bytes((0x80 | _NEWEST + behind_newest,))


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
    return unquote(text)


def _decode(block: bytes) -> dict[str, str]:
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

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

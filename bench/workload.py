"""What the clients ask and how each answer is checked: puts, and gets of keys put before.

Requests are put together from constant pieces, because building a protobuf message per call would
cost as much as the rest of the client. Values are random bytes, so that nobody can compress them.
"""

from __future__ import annotations

import random
import struct
from typing import Final, NamedTuple, Protocol

from etcdshim.http2.frames import (
    ProtocolError,
)
from etcdshim.pb import rpc_pb2

PUT_PATH: Final = "/etcdserverpb.KV/Put"
RANGE_PATH: Final = "/etcdserverpb.KV/Range"

KEYS_START: Final = b"bench/"
KEYS_END: Final = b"bench0"  # the end of the range that holds every key

_TAILS: Final = 16  # random values held in memory; each is made unique by its head
_HEAD: Final = struct.Struct(">Q")
_GRPC_PREFIX: Final = struct.Struct(">BL")


class WrongAnswer(Exception):
    """A call succeeded, yet its response is not what the request must yield."""


class Values:
    """Values of one size: a unique 8-byte head and one of a few random tails, given by a seed."""

    def __init__(self, size: int, seed: int) -> None:
        if size < 0:
            raise ValueError("a value's size cannot be negative")
        self.size = size
        self.head_size = min(size, _HEAD.size)
        source = random.Random(seed)
        self._tails = [source.randbytes(size - self.head_size) for _ in range(_TAILS)]

    def pieces(self, number: int) -> tuple[bytes, bytes]:
        """Head and tail of value `number`."""
        # The low bytes come first, so that short values differ too.
        head = _HEAD.pack(number)[::-1][: self.head_size]
        return head, self._tails[number % _TAILS]

    def matches(self, number: int, value: bytes) -> bool:
        """Whether the bytes are value `number`: all of them are compared."""
        head, tail = self.pieces(number)
        return len(value) == self.size and value.startswith(head) and value.endswith(tail)


def number_of(value: bytes) -> int:
    """The number of a value of 8 bytes or more (see `Values.pieces`)."""
    return int.from_bytes(value[: _HEAD.size], "little")


class Call(NamedTuple):
    """What to send."""

    method: int  # its place in the workload's paths
    body: bytes  # the request, with its gRPC prefix


class Workload(Protocol):
    """Operations by number, each of one request or some, and the check of their answers."""

    @property
    def paths(self) -> tuple[str, ...]:
        """Of the methods it calls."""

    def request(self, number: int) -> Call:
        """The next request of operation `number`; the same again when it was not answered."""

    def check(self, number: int, body: bytes) -> int:
        """The revision in a response (gRPC prefix and all); raises WrongAnswer, ProtocolError.

        0 says that the operation has another request.
        """


def key_of(index: int) -> bytes:
    """Key `index`; 14 bytes up to index 99,999,999."""
    return KEYS_START + b"%08d" % index


def index_of(key: bytes) -> int | None:
    """The inverse of `key_of`; None for a key that is none of ours."""
    digits = key[len(KEYS_START) :]
    return int(digits) if key.startswith(KEYS_START) and digits.isdigit() else None


class Puts:
    """Puts cycling over a key space; call `number` writes value `number` to key `number % keys`."""

    paths = (PUT_PATH,)

    def __init__(self, values: Values, keys: int) -> None:
        self._values = values
        self._keys = keys
        value_field = b"\x12" + varint(values.size)
        length = 2 + len(key_of(0)) + len(value_field) + values.size
        self._start = _GRPC_PREFIX.pack(0, length) + b"\x0a" + varint(len(key_of(0)))
        self._between = value_field

    def request(self, number: int) -> Call:
        return Call(0, self.encode(number % self._keys, number))

    def encode(self, index: int, number: int) -> bytes:
        """A put of value `number` to key `index`."""
        head, tail = self._values.pieces(number)
        return b"".join((self._start, key_of(index), self._between, head, tail))

    def check(self, number: int, body: bytes) -> int:  # noqa: ARG002 (the Workload's shape)
        response = rpc_pb2.PutResponse.FromString(message(body))
        revision: int = response.header.revision
        if revision <= 0:
            raise WrongAnswer(f"put answered with revision {revision}")
        return revision


class Rewrites(Puts):
    """Puts that write to each key the value it was filled with: the keys stay fit for reads."""

    def request(self, number: int) -> Call:
        index = number % self._keys
        return Call(0, self.encode(index, index))


class Gets:
    """Gets of single keys; key i must hold value i (see `Puts` with numbers 0 to keys - 1)."""

    paths = (RANGE_PATH,)

    def __init__(self, values: Values, keys: int, serializable: bool) -> None:
        self._values = values
        self._keys = keys
        self._end = b"\x38\x01" if serializable else b""
        length = 2 + len(key_of(0)) + len(self._end)
        self._start = _GRPC_PREFIX.pack(0, length) + b"\x0a" + varint(len(key_of(0)))

    def request(self, number: int) -> Call:
        return Call(0, self.encode(number % self._keys))

    def encode(self, index: int) -> bytes:
        """A get of key `index`."""
        return b"".join((self._start, key_of(index), self._end))

    def check(self, number: int, body: bytes) -> int:
        response = rpc_pb2.RangeResponse.FromString(message(body))
        index = number % self._keys
        if len(response.kvs) != 1:
            raise WrongAnswer(f"get of {key_of(index)!r} answered with {len(response.kvs)} pairs")
        pair = response.kvs[0]
        if pair.key != key_of(index) or not self._values.matches(index, pair.value):
            raise WrongAnswer(
                f"get of {key_of(index)!r} answered with the wrong value "
                f"(key {pair.key!r}, {len(pair.value)} bytes, {self._values.size} expected)"
            )
        if response.header.revision < pair.mod_revision:
            raise WrongAnswer(
                f"get answered at revision {response.header.revision}, below its own key's"
            )
        revision: int = response.header.revision
        return revision


def message(body: bytes) -> bytes:
    """The one message of a unary response; raises ProtocolError when it is torn or compressed."""
    if len(body) < _GRPC_PREFIX.size:
        raise ProtocolError(f"response of {len(body)} bytes has no message")
    compressed, length = _GRPC_PREFIX.unpack_from(body)
    if compressed or length != len(body) - _GRPC_PREFIX.size:
        raise ProtocolError(f"response of {len(body)} bytes announces a message of {length}")
    return body[_GRPC_PREFIX.size :]


def framed(payload: bytes) -> bytes:
    """A message with its gRPC prefix."""
    return _GRPC_PREFIX.pack(0, len(payload)) + payload


def varint(number: int) -> bytes:
    """Protobuf's encoding of a non-negative integer."""
    pieces = bytearray()
    while number > 0x7F:
        pieces.append(number & 0x7F | 0x80)
        number >>= 7
    pieces.append(number)
    return bytes(pieces)

"""Puts of large values, decoded without copying the value twice more.

protobuf copies a field into its own memory, and from there into a bytes object. Here the value is
cut from the message as it came, and protobuf sees the rest: a few bytes.
"""

from __future__ import annotations

from typing import Final, TypeAlias

from etcdshim.pb import rpc_pb2 as pb

_LARGE_BYTES: Final = 16 << 10  # of a message; finding the value in a smaller one costs more
_KEY, _VALUE = 0x0A, 0x12  # tags of bytes fields
_FLAGS: Final = frozenset((0x18, 0x20, 0x28, 0x30))  # tags of varints: lease to ignore_lease
_VARINT_BYTES_MAX: Final = 10


class LargePut:
    """What a PutRequest says, under the same names."""

    __slots__ = ("_rest", "ignore_lease", "ignore_value", "key", "lease", "prev_kv", "value")

    def __init__(self, rest: pb.PutRequest, value: bytes) -> None:
        self._rest = rest
        self.key = rest.key
        self.value = value
        self.lease = rest.lease
        self.prev_kv = rest.prev_kv
        self.ignore_value = rest.ignore_value
        self.ignore_lease = rest.ignore_lease

    def ByteSize(self) -> int:  # noqa: N802 (protobuf's name)
        """Of the whole message, as protobuf encodes it."""
        size = len(self.value)
        return self._rest.ByteSize() + 1 + (size.bit_length() + 6) // 7 + size


AnyPut: TypeAlias = pb.PutRequest | LargePut


class PutDecoder:
    """Stands where the class PutRequest would, for `FromString`."""

    @staticmethod
    def FromString(message: bytes) -> AnyPut:  # noqa: N802 (protobuf's name)
        """The request. Raises protobuf's DecodeError."""
        place = _find_value(message) if len(message) >= _LARGE_BYTES else None
        if place is None:
            return pb.PutRequest.FromString(message)
        field, begin, end = place
        rest = pb.PutRequest.FromString(message[:field] + message[end:])
        return LargePut(rest, message[begin:end])


def _find_value(message: bytes) -> tuple[int, int, int] | None:
    """Where the value's field begins, its bytes begin, and both end.

    None if there is not just one, or anything is unusual: protobuf shall say what that means.
    """
    found = None
    at = 0
    try:
        while at < len(message):
            field, tag = at, message[at]
            number, at = _varint(message, at + 1)
            if tag == _VALUE and found is None:
                found = field, at, at + number
            elif tag != _KEY and tag not in _FLAGS:
                return None
            if tag in (_KEY, _VALUE):
                at += number
    except IndexError:
        return None
    return found if at == len(message) else None


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """The number, and where it ends. IndexError if `data` ends before it, or it is too long."""
    number = 0
    for place in range(_VARINT_BYTES_MAX):
        byte = data[at + place]
        number |= (byte & 0x7F) << 7 * place
        if byte < 0x80:  # the last one
            return number, at + place + 1
    raise IndexError("a number has more than 64 bits")

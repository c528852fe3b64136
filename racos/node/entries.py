"""What the index says about one coded batch that is still needed: where the log has which part.

key = "f" | position (u64, big-endian)
entry = references u32 | held u16 | values u16 | place of the descriptor
        | for each fragment of `held`, ascending, a place for each value
place = segment u64 | offset u64 | length u32        (little-endian)
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator

from racos.core.quorum import bits
from racos.storage.log import Place

PREFIX = b"f"
END = b"g"  # above every key

_HEAD = struct.Struct("<IHH")
_PLACE = struct.Struct("<QQI")
_POSITION = struct.Struct(">Q")


class Entry:
    """One batch. `fragments`: fragment index -> a place for each coded value of the batch."""

    __slots__ = ("coded", "descriptor", "fragments", "references")

    def __init__(self, descriptor: Place, *, coded: bool = True, references: int = 0) -> None:
        self.descriptor = descriptor
        self.coded = coded
        self.references = references  # kept versions of keys whose values are of this batch
        self.fragments: dict[int, tuple[Place, ...]] = {}

    @property
    def held(self) -> int:
        """Bit set of its fragments."""
        return sum([1 << index for index in self.fragments])

    def places(self) -> Iterator[Place]:
        """Everything the log has of it."""
        yield self.descriptor
        for places in self.fragments.values():
            yield from places


def key_of(position: int) -> bytes:
    return PREFIX + _POSITION.pack(position)


def position_of(key: bytes) -> int:
    position: int = _POSITION.unpack_from(key, 1)[0]
    return position


def encode(entry: Entry) -> bytes:
    values = max([len(places) for places in entry.fragments.values()], default=0)
    parts = [_HEAD.pack(entry.references, entry.held, values), _PLACE.pack(*entry.descriptor)]
    for _, places in sorted(entry.fragments.items()):
        parts += [_PLACE.pack(*place) for place in places]
    return b"".join(parts)


def decode(data: bytes) -> Entry:
    references, held, values = _HEAD.unpack_from(data)
    places = [Place(*fields) for fields in _PLACE.iter_unpack(data[_HEAD.size :])]
    entry = Entry(places[0], references=references)
    for step, index in enumerate(bits(held)):
        entry.fragments[index] = tuple(places[1 + step * values : 1 + (step + 1) * values])
    return entry


def joined(record_held: int, blobs: Iterable[Place], values: int) -> dict[int, tuple[Place, ...]]:
    """The fragments of a record, whose blobs are the descriptor and then `values` per fragment."""
    rest = list(blobs)[1:]
    return {
        index: tuple(rest[step * values : (step + 1) * values])
        for step, index in enumerate(bits(record_held))
    }

"""Fragments made again are those that were agreed on, or nothing."""

from __future__ import annotations

from racos.erasure.codec import Codec
from racos.errors import Corrupt
from racos.mvcc.command import CodedValue, Put
from racos.node.batch import BatchEncoder
from racos.node.rebuild import Fragments, Load, rebuild

CODEC = Codec(2, 3)
DATA = bytes(range(200))


def coded(data: bytes) -> tuple[CodedValue, list[bytes]]:
    """A value as a batch names it, and its fragments."""
    prepared = BatchEncoder(CODEC, 16).prepare([Put(b"k", data)])
    (value,) = prepared.values
    parts = [bytes(prepared.payload.fragments[index][0]) for index in range(3)]
    return value, parts


def found(value: CodedValue) -> Load:
    """Loads that one value at once."""
    return lambda _values, done: done({value: DATA})


def test_the_wanted_fragments_come_back_as_they_were() -> None:
    value, parts = coded(DATA)
    outcomes: list[Fragments | Exception] = []
    rebuild(found(value), CODEC, [value], 0b101, outcomes.append)
    assert outcomes == [{0: [parts[0]], 2: [parts[2]]}]


def test_a_fragment_that_is_not_the_one_agreed_on_is_not_handed_out() -> None:
    """The value is sound; the owner's digest of one fragment is not. Nobody could ever use it."""
    value, _ = coded(DATA)
    value = value._replace(fragment_digests=(*value.fragment_digests[:2], bytes(16)))
    outcomes: list[Fragments | Exception] = []
    rebuild(found(value), CODEC, [value], 0b011, outcomes.append)
    rebuild(found(value), CODEC, [value], 0b100, outcomes.append)
    assert isinstance(outcomes[0], dict)
    assert list(outcomes[0]) == [0, 1]
    assert isinstance(outcomes[1], Corrupt)


def test_what_cannot_be_loaded_is_told() -> None:
    value, _ = coded(DATA)
    lost = Corrupt("lost")
    outcomes: list[Fragments | Exception] = []
    rebuild(lambda _values, done: done(lost), CODEC, [value], 0b1, outcomes.append)
    assert outcomes == [lost]

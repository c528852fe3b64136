"""Log records of the core: what is written is what a restart reads."""

from __future__ import annotations

import pytest

from racos.core.messages import (
    UNSURE,
    AppliedRecord,
    Payload,
    PayRecord,
    Record,
    ReserveRecord,
    StateRecord,
    VoteRecord,
)
from racos.node.records import BadDescriptor, decode, encode, seal, unseal


@pytest.mark.parametrize(
    "record",
    [
        StateRecord(2, 5, 60, 0, 0),
        StateRecord(0, 5, 5, 7, 1),
        VoteRecord(1, 0, 3, 0, UNSURE),
        ReserveRecord(64),
        AppliedRecord(0, 90, (3, 4, 88)),
        AppliedRecord(3, 4, ()),
    ],
)
def test_promises_come_back_as_they_were(record: Record) -> None:
    kind, header, blobs = encode(record)
    assert not blobs
    assert decode(kind, header) == (record, 0)


def test_a_batch_keeps_its_bytes_in_blobs() -> None:
    payload = Payload(b"descriptor", True, {0: [b"a0", b"b0"], 2: [b"a2", b"b2"], 1: [b"-", b"-"]})
    kind, header, blobs = encode(PayRecord(1, 9, payload, 0b101, True))
    assert blobs == [seal(b"descriptor"), b"a0", b"b0", b"a2", b"b2"]
    record, values = decode(kind, header)
    assert values == 2
    assert isinstance(record, PayRecord)
    assert record._replace(payload=payload) == PayRecord(1, 9, payload, 0b101, True)
    assert record.payload.coded


def test_an_inline_batch_has_one_blob() -> None:
    kind, header, blobs = encode(PayRecord(1, 9, Payload(b"all of it"), 0b10, False))
    assert blobs == [seal(b"all of it")]
    record, values = decode(kind, header)
    assert values == 0
    assert isinstance(record, PayRecord)
    assert not record.payload.coded


def test_a_descriptor_is_told_from_a_damaged_one() -> None:
    sealed = seal(b"all of it")
    assert unseal(sealed) == b"all of it"
    assert unseal(seal(b"")) == b""
    flipped = [
        sealed[:at] + bytes([sealed[at] ^ 1 << bit]) + sealed[at + 1 :]
        for at in range(len(sealed))
        for bit in range(8)
    ]
    for bad in (*flipped, sealed[:-1], sealed[:3], b"", sealed + b"\0"):
        with pytest.raises(BadDescriptor):
            unseal(bad)


def test_an_unknown_kind_is_an_error() -> None:
    with pytest.raises(ValueError, match="unknown kind 99"):
        decode(99, b"")

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
from racos.node.records import decode, encode


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
    assert blobs == [b"descriptor", b"a0", b"b0", b"a2", b"b2"]
    record, values = decode(kind, header)
    assert values == 2
    assert isinstance(record, PayRecord)
    assert record._replace(payload=payload) == PayRecord(1, 9, payload, 0b101, True)
    assert record.payload.coded


def test_an_inline_batch_has_one_blob() -> None:
    kind, header, blobs = encode(PayRecord(1, 9, Payload(b"all of it"), 0b10, False))
    assert blobs == [b"all of it"]
    record, values = decode(kind, header)
    assert values == 0
    assert isinstance(record, PayRecord)
    assert not record.payload.coded


def test_an_unknown_kind_is_an_error() -> None:
    with pytest.raises(ValueError, match="unknown kind 99"):
        decode(99, b"")

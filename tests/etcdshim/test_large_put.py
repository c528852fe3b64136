"""Puts of large values say the same whichever way they are decoded."""

from __future__ import annotations

import random

import pytest
from google.protobuf.message import DecodeError

from etcdshim.large_put import LargePut, PutDecoder
from etcdshim.pb import rpc_pb2 as pb

VALUE = random.Random(1).randbytes(40_000)
VALUE_FIELD = b"\x12\xc0\xb8\x02" + VALUE


def said(request: pb.PutRequest | LargePut) -> tuple[object, ...]:
    flags = request.lease, request.prev_kv, request.ignore_value, request.ignore_lease
    return request.key, request.value, *flags, request.ByteSize()


@pytest.mark.parametrize("size", [0, 1, 16_000, 16_384, 70_000, 2_097_152])
def test_all_that_a_put_says_is_found(size: int) -> None:
    value = (VALUE * (1 + size // len(VALUE)))[:size]
    for options in ({}, {"lease": -1}, {"lease": 7, "prev_kv": True}, {"ignore_lease": True}):
        request = pb.PutRequest(key=b"some/key", value=value, **options)
        found = PutDecoder.FromString(request.SerializeToString())
        assert said(found) == said(request)
        assert isinstance(found, LargePut) == (size >= 16_384)


# Nothing encodes a put so, but what it means is defined.
UNUSUAL = {
    "two values, of which the last one counts": VALUE_FIELD + b"\x12\x01x",
    "a key behind the value": VALUE_FIELD + b"\x0a\x01k",
    "two keys": b"\x0a\x01j" + VALUE_FIELD + b"\x0a\x01k",
    "a field that is not known": b"\x0a\x01k\x52\x01z" + VALUE_FIELD,
    "a group": b"\x0a\x01k\x53\x54" + VALUE_FIELD,
    "a long way to write a length": b"\x0a\x81\x00k\x12\xc0\xb8\x82\x00" + VALUE,
}


@pytest.mark.parametrize("message", UNUSUAL.values(), ids=UNUSUAL)
def test_the_unusual_means_what_protobuf_says(message: bytes) -> None:
    found, expected = PutDecoder.FromString(message), pb.PutRequest.FromString(message)
    assert said(found)[:-1] == said(expected)[:-1]


BROKEN = {
    "cut in the value": VALUE_FIELD[:-1],
    "cut in a length": VALUE_FIELD + b"\x0a\x80",
    "cut in a number": VALUE_FIELD + b"\x18",
    "a length past the end": VALUE_FIELD + b"\x0a\x02k",
    "a length without an end": VALUE_FIELD + b"\x0a" + b"\xff" * 11,
    "nothing but a number": b"\x0a" + b"\xff" * 1_000_000,
    "a field's number of 0": VALUE_FIELD + b"\x02\x01k",
}


@pytest.mark.parametrize("message", BROKEN.values(), ids=BROKEN)
def test_the_broken_is_refused(message: bytes) -> None:
    with pytest.raises(DecodeError):
        pb.PutRequest.FromString(message)
    with pytest.raises(DecodeError):
        PutDecoder.FromString(message)


def test_any_mix_of_fields_means_what_protobuf_says() -> None:
    source = random.Random(2)
    parts = [b"\x0a\x03key", b"\x18\x07", b"\x20\x01", b"\x28\x01", b"\x30\x00", b"\x12\x00"]
    for _ in range(300):
        fields = [VALUE_FIELD, *source.choices(parts, k=source.randrange(4))]
        source.shuffle(fields)
        message = b"".join(fields)
        if source.random() < 0.3:
            message = message[: -source.randrange(1, 4)]
        try:
            expected = pb.PutRequest.FromString(message)
        except DecodeError:
            with pytest.raises(DecodeError):
                PutDecoder.FromString(message)
        else:
            assert said(PutDecoder.FromString(message))[:-1] == said(expected)[:-1]

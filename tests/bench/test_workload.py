from __future__ import annotations

import zlib
from typing import Any

import pytest

from bench.workload import Gets, Puts, Values, WrongAnswer, framed, key_of, message, varint
from etcdshim.http2.frames import (
    ProtocolError,
)
from etcdshim.pb import kv_pb2, rpc_pb2

SIZES = [0, 1, 7, 8, 9, 256, 70_000]


def response(values: Values, index: int, **changes: Any) -> bytes:
    fields: dict[str, Any] = {
        "key": key_of(index),
        "value": b"".join(values.pieces(index)),
        "mod_revision": 3,
    }
    pair = kv_pb2.KeyValue(**{**fields, **changes})
    header = rpc_pb2.ResponseHeader(revision=5)
    return framed(rpc_pb2.RangeResponse(header=header, kvs=[pair], count=1).SerializeToString())


@pytest.mark.parametrize("size", SIZES)
def test_put_request_is_what_protobuf_makes(size: int) -> None:
    values = Values(size, seed=1)
    puts = Puts(values, keys=10)
    parsed = rpc_pb2.PutRequest.FromString(message(puts.request(123).body))
    assert parsed == rpc_pb2.PutRequest(key=key_of(3), value=b"".join(values.pieces(123)))
    assert len(parsed.value) == size


@pytest.mark.parametrize("serializable", [False, True])
def test_get_request_is_what_protobuf_makes(serializable: bool) -> None:
    gets = Gets(Values(8, seed=1), keys=10, serializable=serializable)
    expected = rpc_pb2.RangeRequest(key=key_of(7), serializable=serializable)
    assert rpc_pb2.RangeRequest.FromString(message(gets.request(17).body)) == expected


def test_values_are_unique_reproducible_and_incompressible() -> None:
    values = Values(256, seed=4)
    made = [b"".join(values.pieces(number)) for number in range(1000)]
    assert len(set(made)) == 1000
    assert b"".join(Values(256, seed=4).pieces(77)) == made[77]
    assert len(zlib.compress(made[0])) >= 250


@pytest.mark.parametrize("size", SIZES)
def test_value_is_compared_whole(size: int) -> None:
    values = Values(size, seed=1)
    value = b"".join(values.pieces(5))
    assert values.matches(5, value)
    assert not values.matches(5, value + b"x")
    for at in {0, size // 2, size - 1} if size else set():
        changed = bytearray(value)
        changed[at] ^= 1
        assert not values.matches(5, bytes(changed))


def test_put_answer_needs_a_revision() -> None:
    puts = Puts(Values(1, seed=1), keys=1)
    header = rpc_pb2.ResponseHeader(revision=9)
    assert puts.check(0, framed(rpc_pb2.PutResponse(header=header).SerializeToString())) == 9
    with pytest.raises(WrongAnswer, match="revision 0"):
        puts.check(0, framed(b""))


def test_get_answer_is_checked() -> None:
    values = Values(300, seed=1)
    gets = Gets(values, keys=10, serializable=False)
    assert gets.check(14, response(values, 4)) == 5


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (framed(b""), "0 pairs"),
        (response(Values(300, seed=2), 4), "wrong value"),
        (response(Values(299, seed=1), 4), "wrong value .*299 bytes, 300 expected"),
        (response(Values(300, seed=1), 4, key=b"other"), "wrong value .*other"),
        (response(Values(300, seed=1), 4, mod_revision=6), "revision 5, below"),
    ],
)
def test_wrong_get_answers(body: bytes, text: str) -> None:
    with pytest.raises(WrongAnswer, match=text):
        Gets(Values(300, seed=1), keys=10, serializable=False).check(4, body)


@pytest.mark.parametrize(
    "body", [b"", b"\0\0\0\0", b"\1\0\0\0\0", b"\0\0\0\0\2x", framed(b"x") + b"y"]
)
def test_torn_messages(body: bytes) -> None:
    with pytest.raises(ProtocolError):
        message(body)


def test_varint() -> None:
    assert [varint(number).hex() for number in (0, 127, 128, 300)] == ["00", "7f", "8001", "ac02"]

"""KV calls to a real etcd and to ours: the same answers.

Where etcd 3.5.1, the oracle, differs from the 3.6 behaviour we follow, the call is left out here
and named: an unknown sort option (refused since 3.6, ignored before; tests/etcdshim/test_kv.py).
"""

from __future__ import annotations

from typing import Any

import pytest

from etcdshim.pb import rpc_pb2 as pb
from tests.compat.pair import Failure, Pair
from tests.compat.requests import Generator, delete_op, put_op, range_op, txn_op

pytestmark = [pytest.mark.process, pytest.mark.slow]

LIMIT = 1572864


@pytest.mark.parametrize("seed", range(6))
def test_random_calls(pair: Pair, seed: int) -> None:
    generator = Generator(seed)
    for _ in range(250):
        path, request = generator.call()
        generator.note(pair.call(path, request))


def test_put_and_its_flags(pair: Pair) -> None:
    pair.put(key=b"a", value=b"1", prev_kv=True)
    pair.put(key=b"a", value=b"1", prev_kv=True)
    pair.put(key=b"a", ignore_value=True, prev_kv=True)
    pair.put(key=b"a", ignore_lease=True, value=b"2")
    pair.put(key=b"a", ignore_lease=True, ignore_value=True)
    pair.put(key=b"a", ignore_value=True, value=b"x")
    pair.put(key=b"a", ignore_lease=True, lease=1)
    pair.put(key=b"missing", ignore_value=True)
    pair.put(key=b"missing", ignore_lease=True)
    pair.put(key=b"missing", lease=1)
    pair.put(key=b"", value=b"x")
    pair.put(key=b"", value=b"x", ignore_value=True)
    assert pair.range(key=b"a").kvs[0].version == 5


def test_delete_and_put_again(pair: Pair) -> None:
    pair.delete(key=b"a")
    pair.put(key=b"a", value=b"1")
    pair.put(key=b"b", value=b"2")
    pair.delete(key=b"a", prev_kv=True)
    pair.put(key=b"a")
    assert pair.range(key=b"a").kvs[0].version == 1
    pair.delete(key=b"a", range_end=b"\0", prev_kv=True)
    pair.delete(key=b"b", range_end=b"a")
    pair.delete(key=b"")


@pytest.mark.parametrize("limit", [0, 1, 2, 3, 4, 5, -1])
def test_limit_more_and_count(pair: Pair, limit: int) -> None:
    for key in (b"a", b"b", b"c", b"d"):
        pair.put(key=key, value=key)
    for options in (
        {},
        {"sort_order": 2},
        {"sort_target": 3},
        {"sort_target": 3, "sort_order": 2},
        {"min_mod_revision": 2},
        {"max_mod_revision": 3},
        {"min_create_revision": 2, "max_create_revision": 3},
        {"keys_only": True},
        {"count_only": True},
        {"revision": 3},
    ):
        pair.range(key=b"a", range_end=b"\0", limit=limit, **options)


@pytest.mark.parametrize(
    ("key", "end"),
    [
        (b"\0", b"\0"),
        (b"a", b"\0"),
        (b"\xff", b"\0"),
        (b"\xff\xff", b"\0"),
        (b"b", b"a"),
        (b"b", b"b"),
        (b"a", b"b\xff"),
        (b"a", b""),
        (b"none", b""),
        (b"", b""),
        (b"", b"\0"),
    ],
)
def test_spans(pair: Pair, key: bytes, end: bytes) -> None:
    for name in (b"\0", b"a", b"a\0", b"b", b"b\xff", b"\xff", b"\xff\xff"):
        pair.put(key=name)
    pair.range(key=key, range_end=end)
    pair.range(key=key, range_end=end, count_only=True)


def test_sorts_by_every_target_both_ways(pair: Pair) -> None:
    for key, value in ((b"a", b"3"), (b"b", b"1"), (b"c", b"2"), (b"a", b"3"), (b"c", b"9")):
        pair.put(key=key, value=value)
    for target in range(5):
        for order in range(3):
            for limit in (0, 2):
                pair.range(
                    key=b"a",
                    range_end=b"z",
                    sort_target=target,
                    sort_order=order,
                    limit=limit,
                )


def test_revisions_and_compaction(pair: Pair) -> None:
    for value in (b"1", b"2", b"3"):
        pair.put(key=b"a", value=value)
    pair.put(key=b"gone")
    pair.delete(key=b"gone")
    for revision in range(1, 7):
        pair.range(key=b"a", revision=revision)
    pair.compact(9)
    pair.compact(3)
    pair.compact(3)
    pair.compact(2)
    pair.compact(-1)
    for revision in (-1, 1, 2, 3, 4, 5, 6):
        pair.range(key=b"a", range_end=b"z", revision=revision)
        pair.txn(success=[range_op(b"a", revision=revision)])
        pair.txn(success=[range_op(b"a", revision=revision), put_op(b"never")])
    pair.compact(5)
    pair.range(key=b"a", range_end=b"z", revision=5)
    assert pair.compact(99) == Failure(
        "OUT_OF_RANGE", "etcdserver: mvcc: required revision is a future revision"
    )


def compares(**operand: Any) -> list[pb.Compare]:
    return [
        pb.Compare(key=key, range_end=end, result=result, target=target, **operand)
        for key, end in ((b"a", b""), (b"none", b""), (b"a", b"c"), (b"x", b"z"), (b"b", b"a"))
        for result in (*range(4), 7)
        for target in (*range(5), 9)
    ]


@pytest.mark.parametrize(
    "operand",
    [
        {},
        {"version": 0},
        {"version": 1},
        {"create_revision": 2},
        {"mod_revision": 1},
        {"value": b""},
        {"value": b"1"},
        {"value": b"2"},
        {"lease": 1},
    ],
    ids=str,
)
def test_compares(pair: Pair, operand: dict[str, Any]) -> None:
    pair.put(key=b"a", value=b"1")
    pair.put(key=b"b", value=b"2")
    for compare in compares(**operand):
        pair.txn(compare=[compare])


def test_large_values_in_compares(pair: Pair) -> None:
    """Values above the inline limit are compared by digest where that is enough."""
    pair.put(key=b"a", value=b"m" * 5000)
    for literal in (b"m" * 5000, b"m" * 4999 + b"l", b"m" * 5001, b"n", b"l"):
        for result in range(4):
            compare = pb.Compare(key=b"a", target=3, result=result, value=literal)  # type: ignore[arg-type]
            pair.txn(compare=[compare], success=[range_op(b"a", keys_only=True)])
            pair.txn(compare=[compare], success=[put_op(b"b")])


def test_txn_order_and_visibility(pair: Pair) -> None:
    pair.txn(
        success=[
            put_op(b"a", b"1", prev_kv=True),
            range_op(b"a"),
            delete_op(b"b"),
            put_op(b"c", b"3"),
            range_op(b"a", b"z"),
            delete_op(b"d", b"e", prev_kv=True),
        ]
    )
    pair.txn(success=[range_op(b"a", b"z"), delete_op(b"a", b"b", prev_kv=True), put_op(b"b")])
    pair.txn(compare=[pb.Compare(key=b"a", version=5)])
    pair.txn(compare=[pb.Compare(key=b"a", version=5)], failure=[put_op(b"f")])
    pair.txn()
    pair.txn(success=[delete_op(b"none")])
    pair.txn(success=[put_op(b"a", lease=9)])
    pair.txn(success=[put_op(b"z"), put_op(b"none", ignore_value=True)])
    assert pair.range(key=b"z").count == 0


def test_nested_compares_see_the_state_before(pair: Pair) -> None:
    missing = pb.Compare(key=b"a", version=0)
    pair.txn(
        success=[
            put_op(b"a", b"1"),
            txn_op(compare=[missing], success=[put_op(b"b")], failure=[put_op(b"c")]),
            txn_op(
                success=[
                    txn_op(compare=[missing], success=[range_op(b"a", b"z")]),
                    range_op(b"a", revision=1),
                ]
            ),
        ]
    )
    pair.txn(success=[txn_op(success=[range_op(b"a")])])
    pair.txn(success=[txn_op()])


def test_ops_limit_and_nested_budget(pair: Pair) -> None:
    one = range_op(b"a")
    pair.txn(success=[put_op(b"%d" % number) for number in range(128)])
    pair.txn(success=[one] * 128, failure=[one] * 128)
    pair.txn(success=[one] * 129)
    pair.txn(failure=[one] * 129)
    pair.txn(compare=[pb.Compare(key=b"a")] * 129)
    pair.txn(success=[*[one] * 27, txn_op(success=[one] * 100)])
    pair.txn(success=[*[one] * 27, txn_op(failure=[one] * 101)])
    pair.txn(success=[txn_op(success=[one] * 127)])
    pair.txn(success=[txn_op(success=[txn_op(success=[one] * 127)])])
    pair.txn(success=[one] * 129, compare=[pb.Compare()])
    pair.txn(compare=[pb.Compare()], success=[pb.RequestOp()])


@pytest.mark.parametrize(
    "operations",
    [
        [put_op(b"a"), put_op(b"a")],
        [delete_op(b"a"), put_op(b"a")],
        [put_op(b"b"), delete_op(b"a", b"c")],
        [put_op(b"c"), delete_op(b"a", b"c")],
        [put_op(b"a"), delete_op(b"a", b"c")],
        [delete_op(b"a", b"c"), delete_op(b"b", b"d")],
        [delete_op(b"a", b"c"), delete_op(b"b", b"d"), put_op(b"cc")],
        [put_op(b"b"), delete_op(b"a", b"\0")],
        [put_op(b"b"), delete_op(b"\0", b"\0")],
        [put_op(b"b"), delete_op(b"c", b"a")],
        [put_op(b"a"), range_op(b"a")],
        [txn_op(success=[put_op(b"a")], failure=[put_op(b"a")])],
        [txn_op(success=[put_op(b"a")], failure=[delete_op(b"a")])],
        [txn_op(success=[delete_op(b"a")], failure=[put_op(b"a")])],
        [txn_op(success=[put_op(b"a")]), txn_op(success=[put_op(b"a")])],
        [txn_op(success=[put_op(b"a")]), txn_op(failure=[put_op(b"a")])],
        [txn_op(success=[put_op(b"a")]), txn_op(success=[delete_op(b"a")])],
        [txn_op(success=[delete_op(b"a")]), txn_op(success=[put_op(b"a")])],
        [txn_op(failure=[delete_op(b"a", b"c")]), txn_op(failure=[put_op(b"b")])],
        [put_op(b"a"), txn_op(failure=[put_op(b"a")])],
        [put_op(b"a"), txn_op(success=[delete_op(b"a")])],
        [txn_op(success=[put_op(b"a")]), delete_op(b"a")],
        [txn_op(success=[txn_op(success=[put_op(b"a")])]), put_op(b"a")],
        [put_op(b""), put_op(b"a"), put_op(b"a")],
        [pb.RequestOp()],
        [put_op(b"a", b"1", ignore_value=True)],
        [put_op(b"a", lease=1, ignore_lease=True)],
        [delete_op(b"")],
        [range_op(b"")],
    ],
    ids=range(29),
)
def test_txn_checks(pair: Pair, operations: list[pb.RequestOp]) -> None:
    pair.txn(success=operations)
    pair.txn(failure=operations)
    pair.txn(success=[txn_op(success=operations)])
    pair.range(key=b"\0", range_end=b"\0")


@pytest.mark.parametrize("over", [-1, 0, 1])
def test_size_limit_to_the_byte(pair: Pair, over: int) -> None:
    """The limit counts the log's envelope, with an id made of the member's: 9 bytes or 10."""
    for server in (pair.etcd, pair.ours):
        room = LIMIT - 8 - varint_size((server.member_id() & 0xFFFF) << 48) + over
        for path, request in (
            ("Put", pb.PutRequest(key=b"k", value=filled_to(room, put=True))),
            ("Txn", pb.TxnRequest(success=[put_op(b"k", filled_to(room, put=True, nested=True))])),
            ("DeleteRange", pb.DeleteRangeRequest(key=filled_to(room))),
        ):
            assert request.ByteSize() == room
            answer = server.call(f"/etcdserverpb.KV/{path}", request)
            if over > 0:
                text = "etcdserver: request is too large"
                assert answer == Failure("INVALID_ARGUMENT", text), server.name
            else:
                assert not isinstance(answer, Failure), server.name
    pair.range(key=b"k" * LIMIT)
    pair.txn(success=[range_op(b"k" * LIMIT)])


def filled_to(size: int, *, put: bool = False, nested: bool = False) -> bytes:
    """Bytes that make a request of `size`: a delete's key, a put's value, or that inside a txn."""
    tags = 4 + (3 if put else 0) + (8 if nested else 0)
    return b"v" * (size - tags)


def varint_size(value: int) -> int:
    return -(-value.bit_length() // 7)


def test_above_the_receive_limit_grpc_itself_refuses(pair: Pair) -> None:
    assert pair.put(key=b"k", value=b"v" * (2**21 + 10)).code == "RESOURCE_EXHAUSTED"

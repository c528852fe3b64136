"""Short ways to write requests, and a seeded generator of random ones."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from google.protobuf.message import Message

from etcdshim.pb import rpc_pb2 as pb

KV = "/etcdserverpb.KV/"
KEYS = (b"\0", b"a", b"a\0", b"aa", b"b", b"b\xff", b"\xff", b"\xff\xff")


def put_op(key: bytes, value: bytes = b"", **options: Any) -> pb.RequestOp:
    return pb.RequestOp(request_put=pb.PutRequest(key=key, value=value, **options))


def range_op(key: bytes, range_end: bytes = b"", **options: Any) -> pb.RequestOp:
    request = pb.RangeRequest(key=key, range_end=range_end, **options)
    return pb.RequestOp(request_range=request)


def delete_op(key: bytes, range_end: bytes = b"", **options: Any) -> pb.RequestOp:
    request = pb.DeleteRangeRequest(key=key, range_end=range_end, **options)
    return pb.RequestOp(request_delete_range=request)


def txn_op(**fields: Any) -> pb.RequestOp:
    return pb.RequestOp(request_txn=pb.TxnRequest(**fields))


class Generator:
    """Random valid and invalid KV calls; `revision` is the newest relative revision it has seen."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)
        self.revision = 1
        self._makers: list[tuple[str, Callable[[], Message], int]] = [
            ("Put", self._put, 6),
            ("Range", self._range, 6),
            ("DeleteRange", self._delete, 2),
            ("Txn", self._txn, 6),
            ("Compact", self._compact, 1),
        ]

    def call(self) -> tuple[str, Message]:
        """The path and request of the next call."""
        weights = [weight for _, _, weight in self._makers]
        name, make, _ = self._rng.choices(self._makers, weights)[0]
        return KV + name, make()

    def note(self, answer: Any) -> None:
        """Learn the revision from an answer."""
        header = getattr(answer, "header", None)
        if header is not None:
            self.revision = max(self.revision, header.revision)

    def _key(self) -> bytes:
        return self._rng.choice(KEYS) if self._rng.random() < 0.98 else b""

    def _end(self) -> bytes:
        return self._rng.choice((b"", b"", b"\0", b"b", b"c", b"\xff", *KEYS))

    def _flag(self, chance: float = 0.3) -> bool:
        return self._rng.random() < chance

    def _value(self) -> bytes:
        length = self._rng.choice((0, 1, 2, 20, 5000))
        return self._rng.choice((b"x", b"y", b"z")) * length

    def _revision(self) -> int:
        return self._rng.randint(max(1, self.revision - 8), self.revision + 1)

    def _put(self) -> pb.PutRequest:
        ignore_value, ignore_lease = self._flag(0.15), self._flag(0.15)
        keeps = ignore_value and self._flag(0.8)
        return pb.PutRequest(
            key=self._key(),
            value=b"" if keeps else self._value(),
            prev_kv=self._flag(),
            ignore_value=ignore_value,
            ignore_lease=ignore_lease,
            lease=7 if self._flag(0.04) else 0,
        )

    def _range(self) -> pb.RangeRequest:
        request = pb.RangeRequest(
            key=self._key(),
            range_end=self._end(),
            limit=self._rng.choice((0, 0, 1, 2, 3, 8, -1)),
            revision=self._revision() if self._flag() else 0,
            sort_order=self._rng.choice((0, 0, 1, 2)),  # type: ignore[arg-type]
            sort_target=self._rng.choice((0, 0, 1, 2, 3, 4)),  # type: ignore[arg-type]
            serializable=self._flag(0.1),
            keys_only=self._flag(0.2),
            count_only=self._flag(0.1),
        )
        for name in ("min_mod", "max_mod", "min_create", "max_create"):
            if self._flag(0.1):
                setattr(request, f"{name}_revision", self._revision())
        return request

    def _delete(self) -> pb.DeleteRangeRequest:
        return pb.DeleteRangeRequest(key=self._key(), range_end=self._end(), prev_kv=self._flag())

    def _compact(self) -> pb.CompactionRequest:
        return pb.CompactionRequest(revision=self._revision())

    def _txn(self, depth: int = 0) -> pb.TxnRequest:
        request = pb.TxnRequest()
        for _ in range(self._rng.choice((0, 1, 1, 2))):
            request.compare.append(self._compare())
        for branch in (request.success, request.failure):
            for _ in range(self._rng.choice((0, 1, 2, 3))):
                branch.append(self._operation(depth))
        return request

    def _operation(self, depth: int) -> pb.RequestOp:
        kind = self._rng.random()
        if kind < 0.35:
            return pb.RequestOp(request_put=self._put())
        if kind < 0.7:
            return pb.RequestOp(request_range=self._range())
        if kind < 0.85 or depth == 2:
            return pb.RequestOp(request_delete_range=self._delete())
        return pb.RequestOp(request_txn=self._txn(depth + 1))

    def _compare(self) -> pb.Compare:
        compare = pb.Compare(
            result=self._rng.randrange(4),  # type: ignore[arg-type]
            target=self._rng.randrange(5),  # type: ignore[arg-type]
            key=self._key(),
            range_end=self._end() if self._flag() else b"",
        )
        match self._rng.randrange(6):
            case 0:
                compare.version = self._rng.randrange(4)
            case 1:
                compare.create_revision = self._rng.choice((0, self._revision()))
            case 2:
                compare.mod_revision = self._rng.choice((0, self._revision()))
            case 3:
                compare.value = self._value()
            case 4:
                compare.lease = self._rng.randrange(2)
            case _:
                pass  # an unset operand counts as zero
        return compare

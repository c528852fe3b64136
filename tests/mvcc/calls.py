"""Seeded random calls, mostly valid for etcd, over a keyspace where everything collides."""

from __future__ import annotations

import random

from racos.mvcc.command import (
    Command,
    Compact,
    Compare,
    CompareTarget,
    DeleteRange,
    LeaseExpire,
    LeaseGrant,
    LeaseRenew,
    LeaseRevoke,
    Operation,
    Put,
    Range,
    Txn,
    Value,
)
from tests.mvcc.coded import coded

LEASES = (7, 9)
# Six, because Go's sort keeps the order of ties up to six; beyond, etcd's answers are arbitrary.
KEYS = (b"\0", b"a", b"ab", b"b", b"d", b"\xff")
RANGE_ENDS = (b"", b"\0", b"a", b"ab", b"b", b"d", b"\xff\xff")
LITERALS = (b"", b"m", b"mm", b"n", b"nn")


class Calls:
    """Random calls, mostly valid, whose revisions lie around the current one.

    `lease_kinds` says which lease commands are among them, each as often as its letter occurs:
    g(rant), (re)n(ew), r(evoke), e(xpire).
    """

    def __init__(self, rng: random.Random, *, lease_kinds: str = "ggggnnre") -> None:
        self._rng = rng
        self._lease_kinds = lease_kinds
        self._revision = 1

    def next(self, revision: int) -> Command | Range:
        self._revision = revision
        kinds = (self._put, self._delete, self._txn, self._range, self._compact, self._lease)
        return self._rng.choices(kinds, (30, 6, 30, 33, 2, 8))[0]()

    def _put(self) -> Put:
        pick = self._rng.choice
        ignore_value, ignore_lease = self._seldom(), self._seldom()
        value: Value = b"" if ignore_value else self._value()
        lease = 0 if ignore_lease else pick((0, 0, 0, 0, 0, 0, 7, 7, 7, 9, 9, 9, 8))
        return Put(pick(KEYS), value, lease, pick((True, False)), ignore_value, ignore_lease)

    def _value(self) -> Value:
        literal = self._rng.choice(LITERALS)
        return coded(literal) if literal and self._rng.random() < 0.4 else literal

    def _delete(self) -> DeleteRange:
        pick = self._rng.choice
        return DeleteRange(pick(KEYS), pick((b"", b"", *RANGE_ENDS)), pick((True, False)))

    def _compact(self) -> Compact:
        return Compact(self._revision - self._rng.randint(-2, 20))

    def _lease(self) -> Command:
        pick = self._rng.choice
        kind, id_ = pick(self._lease_kinds), pick((7, 7, 9, 9, 8))
        if kind == "g":
            return LeaseGrant(id_, self._rng.randint(1000, 9000))
        if kind == "n":
            return LeaseRenew(tuple(pick((7, 8, 9)) for _ in range(self._rng.randint(0, 3))))
        return LeaseRevoke(id_) if kind == "r" else LeaseExpire(id_, self._rng.randint(0, 40))

    def _range(self) -> Range:
        pick = self._rng.choice
        return Range(
            key=pick(KEYS),
            range_end=pick((*RANGE_ENDS, b"\0", b"\xff\xff")),
            limit=self._rng.randint(-1, 4),
            revision=self._revision_near() if self._rng.random() < 0.4 else 0,
            sort_order=pick((0, 0, 1, 2)),
            sort_target=pick((0, 0, 1, 2, 3, 4)),
            serializable=pick((True, False)),
            keys_only=self._seldom(),
            count_only=self._seldom(),
            min_mod_revision=self._bound(),
            max_mod_revision=self._bound(),
            min_create_revision=self._bound(),
            max_create_revision=self._bound(),
        )

    def _txn(self, depth: int = 0) -> Txn:
        compares = tuple(self._compare() for _ in range(self._rng.choice((0, 1, 1, 2))))
        return Txn(compares, self._branch(depth), self._branch(depth))

    def _branch(self, depth: int) -> tuple[Operation, ...]:
        kinds = (self._put, self._delete, self._range, lambda: self._txn(depth + 1))
        weights = (4, 1, 3, 0 if depth == 2 else 2)
        count = self._rng.choice((0, 1, 2, 2, 3))
        return tuple(self._rng.choices(kinds, weights)[0]() for _ in range(count))

    def _compare(self) -> Compare:
        pick = self._rng.choice
        target = pick(tuple(CompareTarget))
        operand: int | bytes = pick((0, 1, 2, self._revision_near()))
        if target is CompareTarget.VALUE:
            operand = pick(LITERALS)
        elif target is CompareTarget.LEASE:
            operand = pick((0, 7, 9))
        return Compare(pick(range(4)), target, pick(KEYS), operand, pick((b"", b"", *RANGE_ENDS)))

    def _revision_near(self) -> int:
        return self._revision - self._rng.choice((-1, 0, 1, 2, 3, 5, 8, 13, 21, self._revision + 1))

    def _bound(self) -> int:
        return self._revision_near() if self._rng.random() < 0.1 else 0

    def _seldom(self) -> bool:
        return self._rng.random() < 0.1

"""A sequential key-value store, as plain as can be: what one client alone would see.

Covers what the simulated clients ask: puts, deletes, transactions of ranges, puts and deletes
guarded by compares, compaction, and reads at any revision kept.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import NamedTuple

from racos.mvcc.command import (
    Command,
    Compact,
    CompactResult,
    Compare,
    CompareResult,
    CompareTarget,
    DeleteRange,
    DeleteResult,
    Event,
    KeyValue,
    Operation,
    Put,
    PutResult,
    Range,
    RangeResult,
    Result,
    Txn,
    TxnResult,
)


class Refused(NamedTuple):
    """A command the state does not allow; `error` is the name of the production error."""

    error: str


class Model:
    """Keeps every version for ever: compaction only moves what may be read."""

    def __init__(self) -> None:
        self.revision = 1
        self.compacted = -1
        self.events: dict[int, list[Event]] = {}  # by revision
        self._live: dict[bytes, KeyValue] = {}
        self._versions: dict[bytes, tuple[list[int], list[KeyValue | None]]] = {}

    def apply(self, command: Command) -> Result | Refused:
        if isinstance(command, Compact):
            return self._compact(command.revision)
        assert isinstance(command, Put | DeleteRange | Txn), "the clients ask nothing else"
        before = self.revision
        self._changes: list[Event] = []
        result = self._run(command)
        if self._changes:
            self.revision = before + 1
            self.events[self.revision] = self._changes
        return result._replace(revision=self.revision)

    def range(self, request: Range, revision: int) -> tuple[KeyValue, ...]:
        """The keys of a range as of a revision, in key order."""
        found = [
            self._at(key, revision)
            for key in sorted(self._versions)
            if _inside(key, request.key, request.range_end)
        ]
        return tuple(kv for kv in found if kv is not None)

    def _at(self, key: bytes, revision: int) -> KeyValue | None:
        revisions, versions = self._versions[key]
        index = bisect_right(revisions, revision)
        return versions[index - 1] if index else None

    def _compact(self, revision: int) -> Result | Refused:
        if revision <= self.compacted:
            return Refused("Compacted")
        if revision > self.revision:
            return Refused("FutureRevision")
        self.compacted = revision
        return CompactResult(self.revision)

    def _run(self, command: Operation) -> PutResult | DeleteResult | TxnResult | RangeResult:
        if isinstance(command, Put):
            return self._put(command)
        if isinstance(command, DeleteRange):
            return self._delete(command)
        if isinstance(command, Range):
            keys = sorted(k for k in self._live if _inside(k, command.key, command.range_end))
            kvs = tuple(self._live[key] for key in keys)
            return RangeResult(0, kvs, len(kvs), False)
        succeeded = all(self._holds(compare) for compare in command.compare)
        branch = command.success if succeeded else command.failure
        return TxnResult(0, succeeded, tuple(self._run(each) for each in branch))

    def _put(self, put: Put) -> PutResult:
        previous = self._live.get(put.key)
        revision = self.revision + 1
        created = previous.create_revision if previous else revision
        version = previous.version + 1 if previous else 1
        kv = KeyValue(put.key, created, revision, version, put.value, put.lease)
        self._change(put.key, kv, Event(False, kv, previous))
        return PutResult(0, previous if put.prev_kv else None)

    def _delete(self, request: DeleteRange) -> DeleteResult:
        gone = [
            self._live[key]
            for key in sorted(self._live)
            if _inside(key, request.key, request.range_end)
        ]
        for kv in gone:
            stone = KeyValue(kv.key, 0, self.revision + 1, 0, b"", 0)
            self._change(kv.key, None, Event(True, stone, kv))
        return DeleteResult(0, len(gone), tuple(gone) if request.prev_kv else ())

    def _change(self, key: bytes, kv: KeyValue | None, event: Event) -> None:
        if kv is None:
            del self._live[key]
        else:
            self._live[key] = kv
        revisions, versions = self._versions.setdefault(key, ([], []))
        revisions.append(self.revision + 1)
        versions.append(kv)
        self._changes.append(event)

    def _holds(self, compare: Compare) -> bool:
        kv = self._live.get(compare.key)
        actual: int | bytes
        if compare.target == CompareTarget.VALUE:
            if kv is None:
                return False  # etcd: a missing key has no value to compare
            assert isinstance(kv.value, bytes)
            actual = kv.value
        elif compare.target == CompareTarget.VERSION:
            actual = kv.version if kv else 0
        else:
            assert compare.target == CompareTarget.MOD
            actual = kv.mod_revision if kv else 0
        operand = compare.operand
        assert isinstance(operand, type(actual))
        return {
            CompareResult.EQUAL: actual == operand,
            CompareResult.NOT_EQUAL: actual != operand,
            CompareResult.GREATER: actual > operand,  # type: ignore[operator]
            CompareResult.LESS: actual < operand,  # type: ignore[operator]
        }[CompareResult(compare.result)]


def _inside(key: bytes, start: bytes, end: bytes) -> bool:
    if not end:
        return key == start
    return start <= key and (end == b"\0" or key < end)

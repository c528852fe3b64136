"""Transactions: choose the path, check it, carry it out.

The three steps never mix. All guards of the whole tree are evaluated against the state before the
transaction; then every check that could fail is made for the operations on the chosen path, puts
before ranges as in etcd; only then does anything change, so nothing ever needs to be undone.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import NamedTuple, TypeAlias

from racos.mvcc.command import (
    CodedValue,
    DeleteRange,
    DeleteResult,
    Event,
    Put,
    PutResult,
    Range,
    RangeResult,
    Result,
    Txn,
    TxnResult,
)
from racos.mvcc.compares import holds_all
from racos.mvcc.errors import Compacted, FutureRevision
from racos.mvcc.keyindex import KeyIndex
from racos.mvcc.lease import LeaseTable
from racos.mvcc.ranges import evaluate
from racos.mvcc.writes import check_lease, check_previous, write_put

Leaf: TypeAlias = Range | Put | DeleteRange


class Path(NamedTuple):
    """A transaction whose guards were decided: only the operations that will run."""

    succeeded: bool
    operations: tuple[Leaf | Path, ...]


def choose_path(index: KeyIndex, txn: Txn, loaded: Mapping[CodedValue, bytes]) -> Path:
    """Decide all guards on the way. `loaded` holds what `values_needed` named for this state."""
    missing: list[CodedValue] = []
    succeeded = holds_all(index, txn.compare, loaded, missing)
    assert succeeded is not None, f"{len(missing)} values that guards need were not loaded"
    operations = txn.success if succeeded else txn.failure
    chosen = [
        choose_path(index, operation, loaded) if isinstance(operation, Txn) else operation
        for operation in operations
    ]
    return Path(succeeded, tuple(chosen))


def values_needed(index: KeyIndex, txn: Txn) -> list[CodedValue]:
    """Coded values whose bytes the guards need; of both branches where that is undecided."""
    missing: list[CodedValue] = []
    succeeded = holds_all(index, txn.compare, {}, missing)
    branches = txn.success if succeeded else txn.failure
    if succeeded is None:
        branches = txn.success + txn.failure
    for operation in branches:
        if isinstance(operation, Txn):
            missing += values_needed(index, operation)
    return missing


def leaves_of(path: Path) -> list[Leaf]:
    """All operations that will run, in order, those of nested transactions in their place."""
    leaves: list[Leaf] = []
    for operation in path.operations:
        if isinstance(operation, Path):
            leaves += leaves_of(operation)
        else:
            leaves.append(operation)
    return leaves


def check_puts(leaves: Sequence[Leaf], index: KeyIndex, leases: Container[int]) -> None:
    """Raise KeyNotFound or LeaseNotFound for the first put that cannot be done."""
    for operation in leaves:
        if isinstance(operation, Put):
            check_previous(operation, index)
            check_lease(operation, leases)


def check_ranges(leaves: Sequence[Leaf], revision: int, compact_revision: int) -> None:
    """Raise Compacted or FutureRevision for the first range at a revision that cannot be read.

    Unlike a plain range, a negative revision is compared too, and is below any compaction (etcd's
    quirk).
    """
    for operation in leaves:
        if isinstance(operation, Range) and operation.revision != 0:
            if operation.revision > revision:
                raise FutureRevision(f"revision {operation.revision} is above {revision}")
            if operation.revision < compact_revision:
                raise Compacted(f"revision {operation.revision} is below {compact_revision}")


def is_read_only(txn: Txn) -> bool:
    """Whether no operation of any branch can change anything."""
    return all(
        isinstance(operation, Range) or (isinstance(operation, Txn) and is_read_only(operation))
        for operation in txn.success + txn.failure
    )


class TxnRun:
    """Carries out one checked path; its changes share the revision after `before`."""

    __slots__ = ("_before", "_index", "_leases", "_want_result", "events")

    def __init__(self, index: KeyIndex, leases: LeaseTable, before: int, want_result: bool) -> None:
        self._index = index
        self._leases = leases
        self._before = before  # the store's revision when the transaction began
        self._want_result = want_result
        self.events: list[Event] = []  # changes so far, in order: the sub-revision is the position

    @property
    def revision(self) -> int:
        """The revision an answer given at this point carries."""
        return self._before + 1 if self.events else self._before

    def run(self, path: Path) -> tuple[Result, ...]:
        """Carry out the operations in order. Without want_result the answers are empty."""
        results: list[Result] = []
        for operation in path.operations:
            if isinstance(operation, Path):
                # The header of a nested transaction has revision 0.
                result: Result | None = TxnResult(0, operation.succeeded, self.run(operation))
            else:
                result = self._run_leaf(operation)
            if self._want_result and result is not None:
                results.append(result)
        return tuple(results)

    def _run_leaf(self, operation: Leaf) -> Result | None:
        if isinstance(operation, Put):
            return self._put(operation)
        if isinstance(operation, DeleteRange):
            return self.delete(operation)
        return self._range(operation) if self._want_result else None

    def _put(self, put: Put) -> PutResult:
        previous = self._index.get(put.key)
        kv = write_put(self._index, put, self._before + 1, previous)
        old_lease = 0 if previous is None else previous.lease
        if old_lease or kv.lease:
            self._leases.move(kv.key, old_lease, kv.lease)
        self.events.append(Event(False, kv, previous))
        return PutResult(self.revision, previous if put.prev_kv else None)

    def delete(self, request: DeleteRange) -> DeleteResult:
        """Delete a range as the next change."""
        events = self._index.delete(request.key, request.range_end, self._before + 1)
        self.events += events
        if len(self._leases):
            for event in events:
                if event.prev_kv is not None and event.prev_kv.lease:
                    self._leases.move(event.kv.key, event.prev_kv.lease, 0)
        gone = tuple(event.prev_kv for event in events if event.prev_kv) if request.prev_kv else ()
        return DeleteResult(self.revision, len(events), gone)

    def end_lease(self, id_: int) -> None:
        """Delete every key attached to a lease that exists, in key order, and the lease."""
        lease = self._leases.get(id_)
        assert lease is not None
        for key in lease.sorted_keys():
            self.delete(DeleteRange(key))
        self._leases.remove(id_)

    def _range(self, request: Range) -> RangeResult:
        """Read with the transaction's own earlier changes, unless an older revision is named."""
        at = request.revision if 0 < request.revision < self.revision else 0
        return evaluate(self._index, request, self.revision, at)

"""A sequential key-value store, as plain as can be: what one client alone would see.

Covers what the simulated clients ask: puts, deletes, transactions of ranges, puts and deletes
guarded by compares, leases, compaction, and reads at any revision kept.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import NamedTuple

from racos.mvcc.command import (
    AlarmSwitch,
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
    LeaseCommand,
    LeaseEndResult,
    LeaseExpire,
    LeaseGrant,
    LeaseGrantResult,
    LeaseRenew,
    LeaseRenewResult,
    Load,
    Operation,
    Put,
    PutResult,
    Range,
    RangeResult,
    Result,
    Txn,
    TxnResult,
)
from racos.sim.lease_model import LeaseModel


class Refused(NamedTuple):
    """A command the state does not allow; `error` is the name of the production error."""

    error: str


class Model:
    """Keeps every version for ever: compaction only moves what may be read."""

    def __init__(self) -> None:
        self.revision = 1
        self.compacted = -1
        self.events: dict[int, list[Event]] = {}  # by revision
        self.leases = LeaseModel()
        self.place = -1  # of the command applied last, in the order
        self._live: dict[bytes, KeyValue] = {}
        self._versions: dict[bytes, tuple[list[int], list[KeyValue | None]]] = {}

    def apply(self, command: Command) -> Result | Refused:
        self.place += 1
        if isinstance(command, Compact):
            return self._compact(command.revision)
        assert not isinstance(command, AlarmSwitch | Load), "simulated clients send none"
        self._changes: list[Event] = []
        result: Result | Refused
        if isinstance(command, Put | DeleteRange | Txn):
            lost = self._names_lost_lease(command)
            result = Refused("LeaseNotFound") if lost else self._run(command)
        else:
            result = self._lease(command)
        if self._changes:
            self.revision += 1
            self.events[self.revision] = self._changes
        if isinstance(result, Refused):
            return result
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

    def _names_lost_lease(self, command: Operation) -> bool:
        """Whether a put that would be carried out names a lease that does not exist."""
        if isinstance(command, Txn):
            succeeded = all(self._holds(compare) for compare in command.compare)
            branch = command.success if succeeded else command.failure
            return any(map(self._names_lost_lease, branch))
        return isinstance(command, Put) and command.lease not in (0, *self.leases.live)

    def _lease(self, command: LeaseCommand) -> Result | Refused:
        leases = self.leases
        if isinstance(command, LeaseGrant):
            if command.id in leases.live:
                return Refused("LeaseExists")
            leases.grant(command.id, command.ttl, self.place)
            return LeaseGrantResult(0, command.id, command.ttl)
        if isinstance(command, LeaseRenew):
            return LeaseRenewResult(0, leases.renew(command.ids, self.place))
        life = leases.live.get(command.id)
        if isinstance(command, LeaseExpire):
            due = life is not None and life.renewal == command.renewal
            if due:
                self._end_lease(command.id, by_time=True)
            leases.idle_expiries += not due
            return LeaseEndResult(0, due)
        if life is None:
            return Refused("LeaseNotFound")
        self._end_lease(command.id, by_time=False)
        return LeaseEndResult(0, True)

    def _end_lease(self, id_: int, *, by_time: bool) -> None:
        """Its keys go with it, in key order, in one revision."""
        life = self.leases.end(id_, self.place, by_time=by_time)
        life.revision = self.revision + 1 if life.keys else 0
        for key in sorted(life.keys):
            self._delete(DeleteRange(key))

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
        old = self._live.pop(key, None)
        if kv is not None:
            self._live[key] = kv
        self.leases.move(key, old.lease if old else 0, kv.lease if kv else 0)
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

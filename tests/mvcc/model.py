"""A deliberately simple model of the store: every revision is a whole copy, every read a full scan.

It keeps values as plain bytes only, never forgets anything (compaction is only a rule about what
may be asked), and shares no code with the store beyond the vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from racos.mvcc.command import (
    AlarmSwitch,
    Command,
    Compact,
    CompactResult,
    Compare,
    DeleteRange,
    DeleteResult,
    Event,
    KeyValue,
    LeaseEndResult,
    LeaseExpire,
    LeaseGrant,
    LeaseGrantResult,
    LeaseRenew,
    LeaseRenewResult,
    LeaseRevoke,
    Load,
    Put,
    PutResult,
    Range,
    RangeResult,
    Result,
    Txn,
    TxnResult,
)
from racos.mvcc.digest import StateDigest
from racos.mvcc.errors import (
    Compacted,
    FutureRevision,
    KeyNotFound,
    LeaseExists,
    LeaseNotFound,
)

State = dict[bytes, KeyValue]

ABSENT = KeyValue(b"", 0, 0, 0, b"", 0)


class Model:
    def __init__(self) -> None:
        self.leases: dict[int, tuple[int, int]] = {}  # id -> (ttl, number of the last renewal)
        self.renewals = 0
        self.compact_revision = -1
        self.states: list[State] = [{}, {}]  # by revision; 1 is the empty store
        self.changes: list[list[Event]] = [[], []]  # by revision

    @property
    def revision(self) -> int:
        return len(self.states) - 1

    def apply(self, command: Command) -> Result:
        if isinstance(command, Compact):
            if command.revision <= self.compact_revision:
                raise Compacted
            if command.revision > self.revision:
                raise FutureRevision
            self.compact_revision = command.revision
            return CompactResult(self.revision)
        if isinstance(command, LeaseGrant | LeaseRevoke | LeaseRenew | LeaseExpire):
            return self.apply_lease(command)
        # A single put looks at its lease first; a transaction looks for the key first.
        if isinstance(command, Put) and command.lease and command.lease not in self.leases:
            raise LeaseNotFound
        assert not isinstance(command, AlarmSwitch | Load), "the model has neither"
        txn = command if isinstance(command, Txn) else Txn((), (command,), ())
        verdicts = self.decide(txn)
        self.check(txn, list(verdicts))
        state, events = dict(self.states[-1]), list[Event]()
        result = self.execute(txn, list(verdicts), state, events)
        if events:
            self.states.append(state)
            self.changes.append(events)
        return result._replace(revision=self.revision) if command is txn else result.responses[0]

    def apply_lease(self, command: LeaseGrant | LeaseRevoke | LeaseRenew | LeaseExpire) -> Result:
        if isinstance(command, LeaseGrant):
            if command.id in self.leases:
                raise LeaseExists
            self.renewals += 1
            self.leases[command.id] = command.ttl, self.renewals
            return LeaseGrantResult(self.revision, command.id, command.ttl)
        if isinstance(command, LeaseRenew):
            ttls = []
            for id_ in command.ids:
                ttls.append(self.leases.get(id_, (0, 0))[0])
                if id_ in self.leases:
                    self.renewals += 1
                    self.leases[id_] = ttls[-1], self.renewals
            return LeaseRenewResult(self.revision, tuple(ttls))
        known = command.id in self.leases
        if isinstance(command, LeaseRevoke) and not known:
            raise LeaseNotFound
        if isinstance(command, LeaseExpire):
            known = known and self.leases[command.id][1] == command.renewal
        if known:
            keys = self.attached(command.id)
            del self.leases[command.id]
            if keys:
                self.apply(Txn((), tuple(DeleteRange(key) for key in keys)))
        return LeaseEndResult(self.revision, known)

    def attached(self, id_: int) -> list[bytes]:
        """The keys of a lease, found by looking at all keys there are."""
        return sorted(kv.key for kv in self.states[-1].values() if kv.lease == id_)

    def digest(self) -> bytes:
        """What the store's state digest must be."""
        state = StateDigest(self.revision, self.compact_revision)
        for kv in self.versions():
            state.add(kv)
        state.add_leases(len(self.leases), self.renewals)
        for id_, (ttl, renewal) in sorted(self.leases.items()):
            state.add_lease(id_, ttl, renewal, self.attached(id_))
        return state.finish()

    def read_txn(self, txn: Txn) -> Result:
        return self.apply(txn)

    def range(self, request: Range) -> RangeResult:
        if request.revision > self.revision:
            raise FutureRevision
        if 0 < request.revision < self.compact_revision:
            raise Compacted
        wanted = request.revision if request.revision > 0 else self.revision
        return self.answer(request, self.states[wanted], self.revision)

    def history(self, start: int, end: int) -> list[tuple[int, list[Event]]]:
        if start < self.compact_revision:
            raise Compacted
        found = []
        for revision in range(max(start, 2), min(end, self.revision) + 1):
            events = self.changes[revision]
            if revision == self.compact_revision:
                events = [event._replace(prev_kv=None) for event in events]
            found.append((revision, events))
        return found

    def versions(self) -> list[KeyValue]:
        """What compaction leaves: keys in order, versions oldest first, tombstones included."""
        everything = [event.kv for events in self.changes for event in events]
        kept = []
        for key in sorted({kv.key for kv in everything}):
            versions = [kv for kv in everything if kv.key == key]
            old = [kv for kv in versions if kv.mod_revision <= self.compact_revision]
            newest = old[-1:]
            if newest and newest[0].version == 0 and newest[0].mod_revision < self.compact_revision:
                newest = []
            kept += newest + versions[len(old) :]
        return kept

    def decide(self, txn: Txn) -> list[bool]:
        """Verdicts of all transactions on the way, in the order they are met."""
        state = self.states[-1]
        verdict = all(self.holds(compare, state) for compare in txn.compare)
        verdicts = [verdict]
        for operation in txn.success if verdict else txn.failure:
            if isinstance(operation, Txn):
                verdicts += self.decide(operation)
        return verdicts

    def holds(self, compare: Compare, state: State) -> bool:
        kvs = [state[key] for key in in_range(compare.key, compare.range_end, state)]
        if not kvs and compare.target == 3:
            return False
        targets: list[Callable[[KeyValue], Any]] = [
            lambda kv: kv.version,
            lambda kv: kv.create_revision,
            lambda kv: kv.mod_revision,
            lambda kv: kv.value,
            lambda kv: kv.lease,
        ]
        for kv in kvs or [ABSENT]:
            actual, wanted = targets[compare.target](kv), compare.operand
            if not [actual == wanted, actual > wanted, actual < wanted, actual != wanted][
                compare.result
            ]:
                return False
        return True

    def check(self, txn: Txn, verdicts: list[bool]) -> None:
        leaves = self.leaves(txn, verdicts)
        for put in leaves:
            if isinstance(put, Put):
                if (put.ignore_value or put.ignore_lease) and put.key not in self.states[-1]:
                    raise KeyNotFound
                if put.lease and put.lease not in self.leases:
                    raise LeaseNotFound
        for request in leaves:
            if isinstance(request, Range) and request.revision:
                if request.revision > self.revision:
                    raise FutureRevision
                if request.revision < self.compact_revision:
                    raise Compacted

    def leaves(self, txn: Txn, verdicts: list[bool]) -> list[Range | Put | DeleteRange]:
        found: list[Range | Put | DeleteRange] = []
        for operation in txn.success if verdicts.pop(0) else txn.failure:
            if isinstance(operation, Txn):
                found += self.leaves(operation, verdicts)
            else:
                found.append(operation)
        return found

    def execute(
        self, txn: Txn, verdicts: list[bool], state: State, events: list[Event]
    ) -> TxnResult:
        verdict = verdicts.pop(0)
        results: list[Result] = []
        main = self.revision + 1
        for operation in txn.success if verdict else txn.failure:
            if isinstance(operation, Txn):
                results.append(self.execute(operation, verdicts, state, events))
            elif isinstance(operation, Put):
                old = state.get(operation.key)
                kv = put_version(operation, old, main)
                state[operation.key] = kv
                events.append(Event(False, kv, old))
                results.append(PutResult(main, old if operation.prev_kv else None))
            elif isinstance(operation, DeleteRange):
                gone = []
                for key in in_range(operation.key, operation.range_end, state):
                    gone.append(state.pop(key))
                    events.append(Event(True, KeyValue(key, 0, main, 0, b"", 0), gone[-1]))
                now = main if events else self.revision
                shown = tuple(gone) if operation.prev_kv else ()
                results.append(DeleteResult(now, len(gone), shown))
            else:
                seen = self.states[operation.revision] if operation.revision > 0 else state
                now = main if events else self.revision
                results.append(self.answer(operation, seen, now))
        return TxnResult(0, verdict, tuple(results))

    def answer(self, request: Range, state: State, current: int) -> RangeResult:
        kvs = [state[key] for key in in_range(request.key, request.range_end, state)]
        count = len(kvs)
        if request.count_only:
            return RangeResult(current, (), count, False)
        limited = request.limit > 0
        if limited and request.sort_order == 0 and not any(request[9:]):
            kvs = kvs[: request.limit + 1]
        kvs = [kv for kv in kvs if passes(request, kv)]
        field = ["key", "version", "create_revision", "mod_revision", "value"][request.sort_target]
        kvs = sorted(kvs, key=lambda kv: getattr(kv, field), reverse=request.sort_order == 2)
        more = limited and len(kvs) > request.limit
        if more:
            kvs = kvs[: request.limit]
        if request.keys_only:
            kvs = [kv._replace(value=b"") for kv in kvs]
        return RangeResult(current, tuple(kvs), count, more)


def passes(request: Range, kv: KeyValue) -> bool:
    verdicts = [
        request.min_mod_revision == 0 or kv.mod_revision >= request.min_mod_revision,
        request.max_mod_revision == 0 or kv.mod_revision <= request.max_mod_revision,
        request.min_create_revision == 0 or kv.create_revision >= request.min_create_revision,
        request.max_create_revision == 0 or kv.create_revision <= request.max_create_revision,
    ]
    return all(verdicts)


def put_version(put: Put, old: KeyValue | None, main: int) -> KeyValue:
    if old is None:
        return KeyValue(put.key, main, main, 1, put.value, put.lease)
    return KeyValue(
        put.key,
        old.create_revision,
        main,
        old.version + 1,
        old.value if put.ignore_value else put.value,
        old.lease if put.ignore_lease else put.lease,
    )


def in_range(key: bytes, range_end: bytes, state: State) -> list[bytes]:
    if not range_end:
        return [key] if key in state else []
    return sorted(k for k in state if k >= key and (range_end == b"\0" or k < range_end))

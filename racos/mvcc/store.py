"""The replicated state machine: decided commands in, revisions and results out.

Every replica applies the same commands in the same order and so holds the same state. Nothing here
reads a clock, a random number or the order of a set; a refused command is refused everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from racos.mvcc.alarms import AlarmTable
from racos.mvcc.command import (
    AlarmResult,
    AlarmSwitch,
    CodedValue,
    Command,
    Compact,
    CompactResult,
    DeleteRange,
    DeleteResult,
    Event,
    LeaseCommand,
    LeaseEndResult,
    LeaseExpire,
    LeaseGrant,
    LeaseGrantResult,
    LeaseRenew,
    LeaseRenewResult,
    LeaseResult,
    LeaseRevoke,
    Load,
    LoadResult,
    Put,
    PutResult,
    Range,
    RangeResult,
    Result,
    Txn,
    TxnResult,
)
from racos.mvcc.compaction import Compactor
from racos.mvcc.digest import StateDigest
from racos.mvcc.encoding import COUNTERS, Counters, decode_counters, encode_counters
from racos.mvcc.errors import Compacted, FutureRevision, LeaseExists, LeaseNotFound
from racos.mvcc.history import FIRST_WRITE, RECENT_BYTES, Entry, History
from racos.mvcc.keyindex import KeyIndex, Referred
from racos.mvcc.lease import LeaseTable
from racos.mvcc.load import load
from racos.mvcc.ranges import evaluate
from racos.mvcc.records import CACHE_BYTES
from racos.mvcc.shelf import MemoryShelf, Shelf
from racos.mvcc.txn import (
    TxnRun,
    check_puts,
    check_ranges,
    choose_path,
    is_read_only,
    leaves_of,
    values_needed,
)
from racos.mvcc.usage import Usage
from racos.mvcc.view import View
from racos.mvcc.writes import check_lease, check_previous, write_put

_NOTHING_LOADED: Mapping[CodedValue, bytes] = MappingProxyType({})
_FRESH = Counters(1, -1, -1, 0, 0, 0, 0, 0)


def _nobody(_value: CodedValue, _change: int) -> None:
    """Nobody counts references."""


class Store:
    """Keys, their history, leases and the revision counter of one replica, kept on a shelf.

    Whoever applies commands calls `commit` when the shelf may keep what they did, and now and then
    `compact_some` and `load_some`, which change nothing that can be seen. `referred(value, change)`
    is told when one version more (1) or less (-1) has a coded value.
    """

    __slots__ = (
        "_compactor",
        "_history",
        "_index",
        "_views",
        "_written",
        "alarms",
        "compact_revision",
        "leases",
        "revision",
        "shelf",
    )

    def __init__(
        self,
        shelf: Shelf | None = None,
        referred: Referred = _nobody,
        *,
        cache_bytes: int = CACHE_BYTES,
        recent_bytes: int = RECENT_BYTES,
    ) -> None:
        self.shelf = shelf = MemoryShelf() if shelf is None else shelf
        data = shelf.get(COUNTERS)
        self._written = counters = _FRESH if data is None else decode_counters(data)
        self.revision = counters.revision  # of the newest write; 1 when there was none
        # Lowest readable revision; -1 before the first compaction.
        self.compact_revision = counters.compact_revision
        usage = Usage(counters.versions, counters.inline_bytes, counters.coded_bytes)
        self._index = KeyIndex(shelf, referred, cache_bytes, usage)
        self._history = History(shelf, self._index, self.revision, recent_bytes)
        # Read by everyone, written only here.
        self.leases = LeaseTable(shelf, counters.granted, counters.renewals)
        self.alarms = AlarmTable(shelf)
        self._compactor: Compactor | None = None
        self._views = 0  # open ones

    def apply(
        self,
        command: Command,
        loaded: Mapping[CodedValue, bytes] = _NOTHING_LOADED,
        want_result: bool = True,
    ) -> Result | None:
        """Apply the next decided command; the result, or None when it is not wanted.

        `loaded` maps the values that `values_needed` names for this command and state to their
        bytes. Raises a StoreError, and has changed nothing, when the command is refused.
        """
        if self.alarms.raised:
            self.alarms.check(command)
        if isinstance(command, Put):
            return self._apply_put(command, want_result)
        if isinstance(command, Txn):
            return self._apply_txn(command, loaded, want_result)
        if isinstance(command, DeleteRange):
            return self._apply_delete(command, want_result)
        if isinstance(command, Compact):
            return self._apply_compact(command, want_result)
        if isinstance(command, AlarmSwitch):
            return self._apply_alarm(command, want_result)
        if isinstance(command, Load):
            return self._apply_load(command, want_result)
        return self._apply_lease(command, want_result)

    def values_needed(self, command: Command) -> tuple[CodedValue, ...]:
        """Coded values whose bytes `apply` needs, for the state right before the command.

        Only guards that order a coded value against a literal need any.
        """
        if not isinstance(command, Txn):
            return ()
        return tuple(dict.fromkeys(values_needed(self._index, command)))

    def range(self, request: Range) -> RangeResult:
        """Read keys, now or at an old revision. Raises Compacted or FutureRevision."""
        wanted = request.revision
        if wanted <= 0 or wanted == self.revision:
            return evaluate(self._index, request, self.revision, 0)
        self._check_readable(wanted)
        return evaluate(self._index, request, self.revision, wanted, self._history)

    def read_txn(self, txn: Txn, loaded: Mapping[CodedValue, bytes] = _NOTHING_LOADED) -> TxnResult:
        """Evaluate a transaction that only reads (ValueError otherwise). Raises as `range`.

        `loaded` is as for `apply`.
        """
        if not is_read_only(txn):
            raise ValueError("read_txn takes transactions of ranges only")
        path = choose_path(self._index, txn, loaded)
        check_ranges(leaves_of(path), self.revision, self.compact_revision)
        responses = TxnRun(self._index, self.leases, self.revision, True).run(path)
        return TxnResult(self.revision, path.succeeded, responses)

    def count(self, key: bytes, range_end: bytes = b"", revision: int = 0) -> int:
        """Number of keys in a range: O(log n) now, O(changes since) before. Raises as `range`."""
        return self.range(Range(key, range_end, revision=revision, count_only=True)).count

    def history(self, start: int, end: int) -> Iterator[tuple[int, Sequence[Event]]]:
        """(revision, its events in order) for each revision in [start, end] up to the newest.

        Raises Compacted, at once or while iterating, when a revision is below compact_revision. At
        compact_revision itself the events have no prev_kv: that version is compacted.
        """
        if start < self.compact_revision:
            raise Compacted(f"revision {start} is below {self.compact_revision}")
        first = max(start, FIRST_WRITE, self.compact_revision)
        return self._iterate_history(first, min(end, self.revision))

    def commit(self, sequence: int = 0) -> None:
        """Make all that was applied one step of the shelf, which rests on a record of the log."""
        self._history.save()
        leases, usage = self.leases, self._index.usage
        counters = Counters(
            self.revision,
            self.compact_revision,
            self._written.compacted,
            leases.renewals,
            leases.granted,
            usage.versions,
            usage.inline_bytes,
            usage.coded_bytes,
        )
        if counters != self._written:
            self._write(counters)
        self.shelf.commit(sequence)

    def compact_some(self, versions_max: int) -> bool:
        """Drop some of what compaction took out of sight; whether nothing is left to drop, or a
        view holds it back."""
        if self._views:
            return True
        if self._compactor is None:
            if self._written.compacted >= self.compact_revision:
                return True
            self._compactor = Compactor(self.shelf, self._index, self.compact_revision)
        if self._compactor.step(versions_max):
            self._write(self._written._replace(compacted=self._compactor.revision))
            self._compactor = None
        return False

    @property
    def usage(self) -> Usage:
        """How much the versions held are; what compaction has dropped is not in it any more."""
        return self._index.usage

    def view(self) -> View:
        """The store as it is now, to be read while writes go on. Close it."""
        self._views += 1
        return View(
            self._index, self._history, self.revision, self.compact_revision, self._view_closed
        )

    def _view_closed(self) -> None:
        self._views -= 1

    def load_some(self, keys_max: int) -> bool:
        """Load some of the keys that were there at the start; whether all are loaded."""
        return self._index.order.load(keys_max)

    def state_digest(self) -> bytes:
        """BLAKE3-256 of the whole readable state, equal exactly on equal replicas; O(state)."""
        state = StateDigest(self.revision, self.compact_revision)
        for kv in self._index.versions(self.compact_revision):
            state.add(kv)
        state.add_leases(len(self.leases), self.leases.renewals)
        for lease in sorted(self.leases, key=lambda lease: lease.id):
            state.add_lease(lease.id, lease.ttl, lease.renewal, lease.sorted_keys())
        for alarm in self.alarms:
            state.add_alarm(*alarm)
        return state.finish()

    def _apply_put(self, put: Put, want_result: bool) -> PutResult | None:
        index = self._index
        key, _, lease, wants_previous, ignore_value, ignore_lease = put
        if lease:
            check_lease(put, self.leases)
        if ignore_value or ignore_lease:
            check_previous(put, index)
        previous = index.get(key)
        kv = write_put(index, put, self.revision + 1, previous)
        if previous is None:
            if lease:
                self.leases.move(kv.key, 0, lease)
            self._advance(kv)
        else:
            if lease or previous.lease:
                self.leases.move(kv.key, previous.lease, kv.lease)
            self._advance(Event(False, kv, previous))
        if not want_result:
            return None
        return PutResult(self.revision, previous if wants_previous else None)

    def _apply_delete(self, request: DeleteRange, want_result: bool) -> DeleteResult | None:
        run = TxnRun(self._index, self.leases, self.revision, want_result)
        result = run.delete(request)
        self._commit(run)
        return result if want_result else None

    def _apply_txn(
        self, txn: Txn, loaded: Mapping[CodedValue, bytes], want_result: bool
    ) -> TxnResult | None:
        path = choose_path(self._index, txn, loaded)
        leaves = leaves_of(path)
        check_puts(leaves, self._index, self.leases)
        check_ranges(leaves, self.revision, self.compact_revision)
        run = TxnRun(self._index, self.leases, self.revision, want_result)
        responses = run.run(path)
        self._commit(run)
        return TxnResult(self.revision, path.succeeded, responses) if want_result else None

    def _apply_compact(self, request: Compact, want_result: bool) -> CompactResult | None:
        if request.revision <= self.compact_revision:
            raise Compacted(f"revision {request.revision} is not above {self.compact_revision}")
        if request.revision > self.revision:
            raise FutureRevision(f"revision {request.revision} is above {self.revision}")
        self.compact_revision = request.revision
        return CompactResult(self.revision) if want_result else None

    def _apply_alarm(self, request: AlarmSwitch, want_result: bool) -> AlarmResult | None:
        known = self.alarms.switch(request)
        return AlarmResult(self.revision, request.alarm if known else None) if want_result else None

    def _apply_load(self, piece: Load, want_result: bool) -> LoadResult | None:
        load(piece, self._index, self._history, self.leases, self.alarms)
        newest = piece.versions[-1].mod_revision if piece.versions else self.revision
        self.revision = piece.revision or newest
        self.compact_revision = piece.compact_revision
        return LoadResult(self.revision) if want_result else None

    def _apply_lease(self, command: LeaseCommand, want_result: bool) -> LeaseResult | None:
        result = _LEASE_COMMANDS[type(command)](self, command)
        return result if want_result else None

    def _grant(self, request: LeaseGrant) -> LeaseGrantResult:
        if request.id in self.leases:
            raise LeaseExists(f"lease {request.id} exists")
        self.leases.grant(request.id, request.ttl)
        return LeaseGrantResult(self.revision, request.id, request.ttl)

    def _revoke(self, request: LeaseRevoke) -> LeaseEndResult:
        if request.id not in self.leases:
            raise LeaseNotFound(f"lease {request.id} does not exist")
        self._end_lease(request.id)
        return LeaseEndResult(self.revision, True)

    def _renew(self, request: LeaseRenew) -> LeaseRenewResult:
        renew = self.leases.renew
        return LeaseRenewResult(self.revision, tuple([renew(id_) for id_ in request.ids]))

    def _expire(self, request: LeaseExpire) -> LeaseEndResult:
        lease = self.leases.get(request.id)
        is_due = lease is not None and lease.renewal == request.renewal
        if is_due:
            self._end_lease(request.id)
        return LeaseEndResult(self.revision, is_due)

    def _end_lease(self, id_: int) -> None:
        run = TxnRun(self._index, self.leases, self.revision, False)
        run.end_lease(id_)
        self._commit(run)

    def _commit(self, run: TxnRun) -> None:
        """Give the changes of a run their revision; a run without changes takes none."""
        if run.events:
            self._advance(run.events[0] if len(run.events) == 1 else tuple(run.events))

    def _advance(self, entry: Entry) -> None:
        self._history.append(entry)
        self.revision += 1

    def _write(self, counters: Counters) -> None:
        self._written = counters
        self.shelf.put(COUNTERS, encode_counters(counters))

    def _check_readable(self, revision: int) -> None:
        if revision > self.revision:
            raise FutureRevision(f"revision {revision} is above {self.revision}")
        if revision < self.compact_revision:
            raise Compacted(f"revision {revision} is below {self.compact_revision}")

    def _iterate_history(self, start: int, end: int) -> Iterator[tuple[int, Sequence[Event]]]:
        for revision in range(start, end + 1):
            yield revision, self._history.events(revision, self.compact_revision)


_LEASE_COMMANDS: dict[type, Callable[[Store, Any], LeaseResult]] = {
    LeaseGrant: Store._grant,
    LeaseRevoke: Store._revoke,
    LeaseRenew: Store._renew,
    LeaseExpire: Store._expire,
}

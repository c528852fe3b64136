"""Commands, values and results: the vocabulary of the state machine.

Plain value types, shared by the shim (which builds commands and reads results), the node (which
puts them into batches) and the store (which applies them). Field names and meanings are etcd's v3
API. NamedTuples because they are the cheapest immutable records CPython has; this is the hot path.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple, TypeAlias


class CodedValue(NamedTuple):
    """A large value that lives as erasure-coded fragments in the replicas' logs.

    Two of them are the same bytes exactly when length and digest agree; round, lane and index only
    say where the fragments were proposed (slot, and position among the slot's coded values).
    """

    length: int  # bytes
    digest: bytes  # BLAKE3-256 of the whole value
    fragment_digests: tuple[bytes, ...]  # BLAKE3-128 of each of the n fragments
    round: int
    lane: int
    index: int  # type: ignore[assignment]  # a field, not the tuple's method


Value: TypeAlias = bytes | CodedValue


class KeyValue(NamedTuple):
    key: bytes
    create_revision: int
    mod_revision: int
    version: int
    value: Value
    lease: int


class SortOrder(IntEnum):
    NONE = 0
    ASCEND = 1
    DESCEND = 2


class SortTarget(IntEnum):
    KEY = 0
    VERSION = 1
    CREATE = 2
    MOD = 3
    VALUE = 4


class CompareResult(IntEnum):
    EQUAL = 0
    GREATER = 1
    LESS = 2
    NOT_EQUAL = 3


class CompareTarget(IntEnum):
    VERSION = 0
    CREATE = 1
    MOD = 2
    VALUE = 3
    LEASE = 4


class Range(NamedTuple):
    key: bytes
    range_end: bytes = b""
    limit: int = 0
    revision: int = 0
    sort_order: int = 0
    sort_target: int = 0
    serializable: bool = False
    keys_only: bool = False
    count_only: bool = False
    min_mod_revision: int = 0
    max_mod_revision: int = 0
    min_create_revision: int = 0
    max_create_revision: int = 0


class Put(NamedTuple):
    key: bytes
    value: Value = b""
    lease: int = 0
    prev_kv: bool = False
    ignore_value: bool = False
    ignore_lease: bool = False


class DeleteRange(NamedTuple):
    key: bytes
    range_end: bytes = b""
    prev_kv: bool = False


class Compare(NamedTuple):
    """One guard of a transaction.

    `operand` is an int for VERSION, CREATE, MOD and LEASE; for VALUE it is the literal's bytes.
    """

    result: int
    target: int
    key: bytes
    operand: int | bytes
    range_end: bytes = b""


class Txn(NamedTuple):
    compare: tuple[Compare, ...] = ()
    success: tuple[Operation, ...] = ()
    failure: tuple[Operation, ...] = ()


class Compact(NamedTuple):
    revision: int
    physical: bool = False


class LeaseGrant(NamedTuple):
    id: int  # never 0; chosen by who proposes if the client left it open
    ttl: int  # seconds, already raised to the minimum


class LeaseRevoke(NamedTuple):
    id: int


class LeaseRenew(NamedTuple):
    """Keep leases alive; one command for all that were asked for at about the same time."""

    ids: tuple[int, ...]


class LeaseExpire(NamedTuple):
    """End a lease whose time has passed, unless `renewal` is not its last one any more."""

    id: int
    renewal: int  # see racos.mvcc.lease


class AlarmKind(IntEnum):
    NONE = 0
    NOSPACE = 1
    CORRUPT = 2


class Alarm(NamedTuple):
    member: int  # u64; 0 if nobody in particular is meant
    kind: int


class AlarmSwitch(NamedTuple):
    """Raise an alarm, or clear it."""

    alarm: Alarm
    on: bool


class Load(NamedTuple):
    """A piece of a state from elsewhere, for a store that nothing was written to (see mvcc.load).

    A KeyValue of version 0 is a tombstone.
    """

    versions: tuple[KeyValue, ...] = ()
    leases: tuple[LeaseGrant, ...] = ()
    alarms: tuple[Alarm, ...] = ()
    compact_revision: int = -1  # the same in all pieces
    revision: int = 0  # of the whole state, in the last piece; 0 in those before


Operation: TypeAlias = Range | Put | DeleteRange | Txn
LeaseCommand: TypeAlias = LeaseGrant | LeaseRevoke | LeaseRenew | LeaseExpire
Command: TypeAlias = Put | DeleteRange | Txn | Compact | LeaseCommand | AlarmSwitch | Load


class RangeResult(NamedTuple):
    """`kvs` may hold coded values: load them, then (if `finish` is set) call `ranges.finish`.

    `finish` is the request when the order depends on value bytes not known yet (sort by VALUE over
    coded values): kvs are then all keys after filtering, unsorted and uncut.
    """

    revision: int  # the store's current revision, never the requested one
    kvs: tuple[KeyValue, ...]
    count: int  # type: ignore[assignment]  # a field, not the tuple's method
    more: bool
    finish: Range | None = None


class PutResult(NamedTuple):
    revision: int
    prev_kv: KeyValue | None


class DeleteResult(NamedTuple):
    revision: int
    deleted: int
    prev_kvs: tuple[KeyValue, ...]


class TxnResult(NamedTuple):
    revision: int
    succeeded: bool
    responses: tuple[Result, ...]


class CompactResult(NamedTuple):
    revision: int


class LeaseGrantResult(NamedTuple):
    revision: int
    id: int
    ttl: int  # seconds


class LeaseEndResult(NamedTuple):
    """Of LeaseRevoke and LeaseExpire. `ended` is False if an expiry came to nothing."""

    revision: int
    ended: bool


class LeaseRenewResult(NamedTuple):
    revision: int
    ttls: tuple[int, ...]  # seconds, in the order of the ids asked for; 0: no such lease


class AlarmResult(NamedTuple):
    """`alarm` is the one asked for: raised now, or until now; None if there was none to clear."""

    revision: int
    alarm: Alarm | None


class LoadResult(NamedTuple):
    revision: int


LeaseResult: TypeAlias = LeaseGrantResult | LeaseEndResult | LeaseRenewResult
Result: TypeAlias = (
    RangeResult
    | PutResult
    | DeleteResult
    | TxnResult
    | CompactResult
    | LeaseResult
    | AlarmResult
    | LoadResult
)


class Event(NamedTuple):
    """One change of one key. A delete's kv has only key and mod_revision set (etcd's tombstone)."""

    is_delete: bool
    kv: KeyValue
    prev_kv: KeyValue | None

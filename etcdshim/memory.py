"""A backend in one process and in memory: no replication, nothing durable.

The baseline to measure the replicated backend against, and what the services are tested on. Values
above `inline_limit` are handed out as coded values, so that the paths which load bytes later are
the same as with the replicated backend.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Iterable, Sequence

from etcdshim.backend import BackendStatus, MemberInfo, ServerStopped
from racos.mvcc.command import (
    Alarm,
    CodedValue,
    Command,
    Event,
    LeaseExpire,
    LeaseRenew,
    LeaseRenewResult,
    Operation,
    Put,
    Range,
    RangeResult,
    Result,
    Txn,
    TxnResult,
)
from racos.mvcc.digest import digest
from racos.mvcc.errors import StoreError
from racos.mvcc.lease import LeaseInfo
from racos.mvcc.store import Store
from racos.mvcc.view import View

_EMPTY_DB_BYTES = 4096
_QUOTA_BYTES = 2 * 1024**3
_COMPACT_VERSIONS = 1000  # after each command, until a compaction is done


class MemoryBackend:
    """See `etcdshim.backend.Backend`. `inline_limit` None keeps every value inline."""

    cluster_id = 0x0AC05
    term = 1

    def __init__(
        self,
        *,
        inline_limit: int | None = None,
        quota_bytes: int = _QUOTA_BYTES,
        member_id: int = 1,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.member_id = member_id
        self._clock = clock
        self._deadlines: dict[int, float] = {}  # of every lease
        self._store = Store()
        self._store.leases.listener = self._arm
        self._inline_limit = inline_limit
        self._quota_bytes = quota_bytes
        self._values: dict[bytes, bytes] = {}  # digest -> bytes of the coded values
        self._written_bytes = 0
        self._applied = 1
        self._closed = False
        self._listeners: list[Callable[[int, int], None]] = []

    @property
    def revision(self) -> int:
        return self._store.revision

    @property
    def compact_revision(self) -> int:
        return self._store.compact_revision

    def propose(self, command: Command) -> asyncio.Future[Result]:
        """Applied before this returns; the future is done already."""
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        if self._closed:
            future.set_exception(ServerStopped())
            return future
        before = self._store.revision
        command = self._code(command)
        needed = self._store.values_needed(command)
        try:
            result = self._store.apply(command, {v: self._values[v.digest] for v in needed})
        except StoreError as refused:
            future.set_exception(refused)
            return future
        assert result is not None
        self._applied += 1
        self._store.commit()
        self._store.shelf.flush()
        self._store.compact_some(_COMPACT_VERSIONS)
        future.set_result(result)
        for listener in tuple(self._listeners):
            listener(before + 1, self._store.revision)
        return future

    def barrier(self) -> asyncio.Future[None]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._closed:
            future.set_exception(ServerStopped())
        else:
            future.set_result(None)
        return future

    def keep_alive(self, id_: int) -> asyncio.Future[int]:
        self.expire_leases()
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        renewal = self.propose(LeaseRenew((id_,)))
        failure = renewal.exception()
        if failure is not None:
            future.set_exception(failure)
            return future
        result = renewal.result()
        assert isinstance(result, LeaseRenewResult)
        future.set_result(result.ttls[0])
        return future

    def lease(self, id_: int) -> LeaseInfo | None:
        lease = self._store.leases.get(id_)
        if lease is None:
            return None
        remaining = max(0.0, self._deadlines[id_] - self._clock())
        return LeaseInfo(lease.ttl, remaining, tuple(lease.sorted_keys()))

    def leases(self) -> Sequence[int]:
        return sorted(self._deadlines, key=self._deadlines.__getitem__)

    def new_lease_id(self) -> int:
        return secrets.randbelow(2**63 - 1) + 1

    def expire_leases(self) -> None:
        """End the leases whose time has passed; to be called now and then."""
        now = self._clock()
        for id_ in [id_ for id_, deadline in self._deadlines.items() if deadline <= now]:
            lease = self._store.leases.get(id_)
            assert lease is not None
            self.propose(LeaseExpire(id_, lease.renewal))

    def _arm(self, id_: int) -> None:
        lease = self._store.leases.get(id_)
        if lease is None:
            del self._deadlines[id_]
        else:
            self._deadlines[id_] = self._clock() + lease.ttl

    def range(self, request: Range) -> RangeResult:
        return self._store.range(request)

    async def read_txn(self, request: Txn) -> TxnResult:
        needed = self._store.values_needed(request)
        return self._store.read_txn(request, {v: self._values[v.digest] for v in needed})

    def cached(self, value: CodedValue) -> bytes | None:  # noqa: ARG002 - always by `load`
        return None

    async def load(
        self,
        values: Sequence[CodedValue],
        *,
        background: bool = False,  # noqa: ARG002 - there is no cache to spare
    ) -> list[bytes]:
        await asyncio.sleep(0)  # as a real fetch: others run in between
        return [self._values[value.digest] for value in values]

    def view(self) -> View:
        return self._store.view()

    def alarms(self) -> Sequence[Alarm]:
        return tuple(self._store.alarms)

    def has_room(self, cost: int) -> bool:
        return not self._store.alarms.no_space and self.fits(cost)

    def fits(self, cost: int) -> bool:
        return self._in_use() + cost < self._quota_bytes

    def _in_use(self) -> int:
        usage = self._store.usage
        return _EMPTY_DB_BYTES + usage.inline_bytes + usage.coded_bytes

    def defragment(self) -> None:
        """There is no disk."""

    def history(self, start: int, end: int) -> Iterable[tuple[int, Sequence[Event]]]:
        return self._store.history(start, end)

    def subscribe(self, listener: Callable[[int, int], None]) -> Callable[[], None]:
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def status(self) -> BackendStatus:
        return BackendStatus(
            db_size=_EMPTY_DB_BYTES + self._written_bytes,
            db_size_in_use=min(self._in_use(), _EMPTY_DB_BYTES + self._written_bytes),
            db_size_quota=self._quota_bytes,
            leader=self.member_id,
            applied_index=self._applied,
            committed_index=self._applied,
            errors=(),
        )

    def members(self) -> Sequence[MemberInfo]:
        return (MemberInfo(self.member_id, "memory", (), (), False),)

    def close(self) -> None:
        """Refuse everything from now on."""
        self._closed = True

    def _code(self, command: Command) -> Command:
        if isinstance(command, Put):
            return self._code_put(command)
        if isinstance(command, Txn):
            return self._code_txn(command)
        return command

    def _code_txn(self, txn: Txn) -> Txn:
        return txn._replace(
            success=tuple(map(self._code_operation, txn.success)),
            failure=tuple(map(self._code_operation, txn.failure)),
        )

    def _code_operation(self, operation: Operation) -> Operation:
        if isinstance(operation, Put):
            return self._code_put(operation)
        if isinstance(operation, Txn):
            return self._code_txn(operation)
        return operation

    def _code_put(self, put: Put) -> Put:
        value = put.value
        assert isinstance(value, bytes)
        self._written_bytes += len(put.key) + len(value)
        if self._inline_limit is None or len(value) <= self._inline_limit:
            return put
        name = digest(value)
        self._values[name] = value
        return put._replace(value=CodedValue(len(value), name, (), self._applied, 0, 0))

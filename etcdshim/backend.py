"""What the etcd services need of a store: the one seam between the API and the replicated system.

The services speak the vocabulary of `racos.mvcc.command` and this Protocol; a node implements it,
and so does the single-process memory backend (`etcdshim.memory`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, Protocol

from racos.errors import (
    Corrupt,
    RequestTimedOut,
    ServerStopped,
    TooManyRequests,
    Unavailable,
)
from racos.mvcc.command import (
    Alarm,
    CodedValue,
    Command,
    Event,
    Range,
    RangeResult,
    Result,
    Txn,
    TxnResult,
)
from racos.mvcc.lease import LeaseInfo
from racos.mvcc.view import View

__all__ = [
    "Backend",
    "BackendStatus",
    "Corrupt",
    "MemberInfo",
    "RequestTimedOut",
    "ServerStopped",
    "TooManyRequests",
    "Unavailable",
]


class MemberInfo(NamedTuple):
    id: int
    name: str
    peer_urls: tuple[str, ...]
    client_urls: tuple[str, ...]
    is_learner: bool


class BackendStatus(NamedTuple):
    db_size: int  # bytes on disk
    db_size_in_use: int  # bytes still referenced, <= db_size
    db_size_quota: int  # bytes
    leader: (
        int  # member id that tools may treat as leader (nominal: Racos has none); 0 without quorum
    )
    applied_index: int  # count of slots applied here, > 0
    committed_index: int  # count of slots known decided here, >= applied_index
    errors: tuple[str, ...]


class Backend(Protocol):
    """A store as one member sees it. Futures fail with StoreError or the errors of this module."""

    cluster_id: int  # u64, constant
    member_id: int  # u64, constant

    @property
    def term(self) -> int:
        """Above 0, never decreasing (Racos: the configuration epoch)."""

    @property
    def revision(self) -> int:
        """Revision of the newest applied write here."""

    @property
    def compact_revision(self) -> int:
        """Lowest readable revision; -1 before the first compaction."""

    def propose(self, command: Command) -> asyncio.Future[Result]:
        """Order and apply a command; resolves when it is applied here, with this node's result.

        The backend bounds the wait itself (RequestTimedOut). Not a coroutine: no task per request.
        """

    def barrier(self) -> asyncio.Future[None]:
        """Resolves when every write acknowledged anywhere before this call is applied here."""

    def keep_alive(self, id_: int) -> asyncio.Future[int]:
        """Renew a lease; resolves with its TTL in seconds, 0 if there is no such lease (or it is
        over, once it has ended). Counted from this call the lease has its whole TTL."""

    def lease(self, id_: int) -> LeaseInfo | None:
        """A lease as it stands here, at once; None if there is none."""

    def leases(self) -> Sequence[int]:
        """The ids of all leases here, the one that ends first in front."""

    def new_lease_id(self) -> int:
        """A random positive id that no lease has here."""

    def range(self, request: Range) -> RangeResult:
        """Local read at once. Raises Compacted or FutureRevision."""

    async def read_txn(self, request: Txn) -> TxnResult:
        """Local evaluation of a transaction that only reads. Raises as range, and as load when a
        guard orders a coded value against a literal."""

    def cached(self, value: CodedValue) -> bytes | None:
        """The value's bytes if they are in memory."""

    async def load(self, values: Sequence[CodedValue], *, background: bool = False) -> list[bytes]:
        """The values' bytes, in order, rebuilt from fragments and verified. Raises Corrupt,
        Unavailable. What is loaded in the background does not crowd out what clients read.
        """

    def view(self) -> View:
        """Everything as it is here now, to be read while writes go on. Close it."""

    def alarms(self) -> Sequence[Alarm]:
        """The alarms raised as this member knows them."""

    def has_room(self, cost: int) -> bool:
        """Whether so many bytes more fit here, and, as far as this member knows, nobody is out of
        space (NOSPACE)."""

    def fits(self, cost: int) -> bool:
        """Whether this member's quota and disk allow so many bytes more."""

    def defragment(self) -> None:
        """Begin to give back space that nothing needs; returns at once."""

    def history(self, start: int, end: int) -> Iterable[tuple[int, Sequence[Event]]]:
        """(revision, events in order) for each revision in [start, end]; Compacted if start is too
        old.

        start == compact_revision is allowed and yields a tombstone kept there (etcd #19179).
        """

    def subscribe(self, listener: Callable[[int, int], None]) -> Callable[[], None]:
        """Call `listener(first, last)` after revisions first..last were applied (and compactions:
        an empty interval first > last). Returns the function that ends the subscription."""

    def status(self) -> BackendStatus: ...

    def members(self) -> Sequence[MemberInfo]: ...

"""Keep-alives: many of them, few renewals.

A renewal is a replicated command. Keep-alives that come in one turn of the loop share one command,
and a lease that this node proposed to renew within the last COVER_SECONDS is not renewed again: the
renewal on its way, or applied already, covers the newcomer (racos.node.lease_clock says why that is
safe). A covered keep-alive is still answered only after a read barrier, so it never says that a
lease lives whose revocation somebody was told of already; and so is one for a lease unknown here,
which may exist all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice
from typing import NamedTuple, Protocol

from racos.errors import RequestTimedOut, TooManyRequests
from racos.mvcc.command import Command, LeaseRenew, LeaseRenewResult, Result
from racos.mvcc.digest import digest
from racos.mvcc.lease import LeaseInfo, LeaseTable
from racos.node.batcher import Reply
from racos.node.lease_clock import COVER_SECONDS, LeaseClock

WAITING_MAX = 20_000  # keep-alives
RENEWALS_PER_COMMAND = 1000


class TtlReply(Protocol):
    """Where a keep-alive's answer goes, the TTL in seconds or 0; an asyncio future is one."""

    def done(self) -> bool: ...

    def set_result(self, result: int, /) -> None: ...

    def set_exception(self, error: Exception, /) -> None: ...


class BarrierReply(Protocol):
    """Where the end of a read barrier goes."""

    def done(self) -> bool: ...

    def set_result(self, result: None, /) -> None: ...

    def set_exception(self, error: Exception, /) -> None: ...


class _KeepAlive(NamedTuple):
    reply: TtlReply
    came_at: float


class Ports(NamedTuple):
    """What the leases of a node need of it."""

    submit: Callable[[Command, Reply], None]
    read: Callable[[BarrierReply], None]
    clock: Callable[[], float]  # monotonic, seconds


class Leases:
    """The time of one node's leases, and who waits for a renewal.

    `seed` must differ between the nodes of a cluster and between a node's lives; lease ids are
    drawn from it. `request_seconds` bounds the wait for the end of a lease that is over.
    """

    def __init__(
        self, table: LeaseTable, me: int, ports: Ports, *, seed: bytes, request_seconds: float
    ) -> None:
        self._table = table
        self._ports = ports
        self._seed = seed
        self._request_seconds = request_seconds
        self._drawn = 0
        self.waiting = 0  # keep-alives not answered
        self._wanted: dict[int, list[_KeepAlive]] = {}  # to be renewed in the next turn
        self._renewing: dict[int, _Renewal] = {}  # the last one proposed and not applied
        self._renewed_at: dict[int, float] = {}  # when the last one applied was proposed here
        self._ending: dict[int, list[_KeepAlive]] = {}  # of leases that are over, not yet ended
        self.clock = LeaseClock(table, me, ports.submit, ports.clock())
        table.listener = self._changed

    # -- what the services ask -------------------------------------------------------------------

    def keep_alive(self, id_: int, reply: TtlReply) -> None:
        """Renew a lease; `reply` gets its TTL, or 0 if there is no such lease.

        Fails with RequestTimedOut without a quorum, or TooManyRequests.
        """
        if self.waiting >= WAITING_MAX:
            reply.set_exception(TooManyRequests("etcdserver: too many requests"))
            return
        self.waiting += 1
        now = self._ports.clock()
        keep_alive = _KeepAlive(reply, now)
        if id_ not in self._table or self._covers(id_, now):
            self._ports.read(_Check(self, id_, keep_alive))
        else:
            self._renew(id_, keep_alive, now)

    def info(self, id_: int) -> LeaseInfo | None:
        """A lease as it stands here; None if there is none."""
        lease = self._table.get(id_)
        if lease is None:
            return None
        remaining = self.clock.remaining(id_, self._ports.clock())
        return LeaseInfo(lease.ttl, remaining, tuple(lease.sorted_keys()))

    def new_id(self) -> int:
        """An id for a lease whose client left it open: positive, random, not taken here."""
        while True:
            self._drawn += 1
            drawn = digest(self._seed + self._drawn.to_bytes(8, "little"))
            id_ = int.from_bytes(drawn[:8], "little") >> 1
            if id_ and id_ not in self._table:
                return id_

    # -- what the driver calls -------------------------------------------------------------------

    def turn(self) -> None:
        """Propose the renewals that were asked for since the last turn."""
        while self._wanted:
            ids = tuple(islice(self._wanted, RENEWALS_PER_COMMAND))
            waiting = {id_: self._wanted.pop(id_) for id_ in ids}
            renewal = _Renewal(self, waiting, self._ports.clock())
            for id_ in ids:
                self._renewing[id_] = renewal
            self._ports.submit(LeaseRenew(ids), renewal)

    def tick(self, now: float, live: int, has_quorum: bool) -> None:
        """Let time pass; see `LeaseClock.tick`."""
        if self.clock.tick(now, live, has_quorum):
            for id_ in list(self._ending):
                self._release(id_)

    def sweep(self, now: float) -> None:
        """Answer those who waited too long for a lease's end."""
        for id_, waiting in list(self._ending.items()):
            late = [each for each in waiting if each.came_at + self._request_seconds <= now]
            for keep_alive in late:
                waiting.remove(keep_alive)
                self.fail(keep_alive, RequestTimedOut())
            if not waiting:
                del self._ending[id_]

    def stop(self, error: Exception) -> None:
        """Answer all that wait here; what was proposed is answered by its own reply."""
        for waiting in (*self._wanted.values(), *self._ending.values()):
            for keep_alive in waiting:
                self.fail(keep_alive, error)
        self._wanted.clear()
        self._ending.clear()

    # -- within ----------------------------------------------------------------------------------

    def _changed(self, id_: int) -> None:
        self.clock.changed(id_, self._ports.clock())
        if id_ not in self._table:
            self._renewed_at.pop(id_, None)
        if id_ in self._ending:
            self._release(id_)

    def _release(self, id_: int) -> None:
        """A lease that was over has ended, or lives again."""
        for keep_alive in self._ending.pop(id_):
            self.check(id_, keep_alive)

    def _covers(self, id_: int, came_at: float) -> bool:
        return self._renewed_at.get(id_, -COVER_SECONDS) + COVER_SECONDS > came_at

    def _renew(self, id_: int, keep_alive: _KeepAlive, now: float) -> None:
        """Have the keep-alive of an existing lease wait for the right thing."""
        flying = self._renewing.get(id_)
        if flying is not None and keep_alive.came_at < flying.proposed_at + COVER_SECONDS:
            flying.join(id_, keep_alive)
        elif self.clock.is_over(id_, now):
            self._ending.setdefault(id_, []).append(keep_alive)
        else:
            self._wanted.setdefault(id_, []).append(keep_alive)

    def check(self, id_: int, keep_alive: _KeepAlive) -> None:
        """What was applied here is new enough to answer, or to know what to wait for."""
        lease = self._table.get(id_)
        if lease is None:
            self.answer(keep_alive, 0)
        elif self._covers(id_, keep_alive.came_at):
            self.answer(keep_alive, lease.ttl)
        else:
            self._renew(id_, keep_alive, self._ports.clock())

    def finished(self, renewal: _Renewal, ttls: Iterable[int] = ()) -> None:
        """A renewal has failed, or was applied with these TTLs: nobody may join it any more."""
        for id_ in renewal.waiting:
            if self._renewing.get(id_) is renewal:
                del self._renewing[id_]
        for id_, ttl in zip(renewal.waiting, ttls, strict=False):
            if ttl:
                self._renewed_at[id_] = renewal.proposed_at

    def answer(self, keep_alive: _KeepAlive, ttl: int) -> None:
        self.waiting -= 1
        if not keep_alive.reply.done():
            keep_alive.reply.set_result(ttl)

    def fail(self, keep_alive: _KeepAlive, error: Exception) -> None:
        self.waiting -= 1
        if not keep_alive.reply.done():
            keep_alive.reply.set_exception(error)


class _Renewal:
    """The reply to one LeaseRenew: passes its result on to the keep-alives that wait for it."""

    __slots__ = ("_finished", "_leases", "proposed_at", "waiting")

    def __init__(
        self, leases: Leases, waiting: dict[int, list[_KeepAlive]], proposed_at: float
    ) -> None:
        self._leases = leases
        self._finished = False
        self.waiting = waiting  # by lease, in the order of the command's ids
        self.proposed_at = proposed_at

    def join(self, id_: int, keep_alive: _KeepAlive) -> None:
        self.waiting[id_].append(keep_alive)

    def done(self) -> bool:
        return self._finished

    def set_result(self, result: Result, /) -> None:
        assert isinstance(result, LeaseRenewResult)
        self._finished = True
        self._leases.finished(self, result.ttls)
        for waiting, ttl in zip(self.waiting.values(), result.ttls, strict=True):
            for keep_alive in waiting:
                self._leases.answer(keep_alive, ttl)

    def set_exception(self, error: Exception, /) -> None:
        self._finished = True
        self._leases.finished(self)
        for waiting in self.waiting.values():
            for keep_alive in waiting:
                self._leases.fail(keep_alive, error)


class _Check:
    """A keep-alive behind a read barrier."""

    __slots__ = ("_finished", "_id", "_keep_alive", "_leases")

    def __init__(self, leases: Leases, id_: int, keep_alive: _KeepAlive) -> None:
        self._leases = leases
        self._id = id_
        self._keep_alive = keep_alive
        self._finished = False

    def done(self) -> bool:
        return self._finished

    def set_result(self, _result: None, /) -> None:
        self._finished = True
        self._leases.check(self._id, self._keep_alive)

    def set_exception(self, error: Exception, /) -> None:
        self._finished = True
        self._leases.fail(self._keep_alive, error)

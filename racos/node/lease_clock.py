"""When leases end: this replica's deadlines, and who proposes what passes them.

Each replica arms a lease's deadline on its own monotonic clock when it applies the grant or a
renewal; clocks of machines are never compared. When a deadline passes, the lease's steward proposes
LeaseExpire with the renewal that the deadline belongs to, and the state machine acts only if that
is still the last one. The steward is a function of lease and live lanes; views of who lives may
differ, so after a pause the turn goes to the next lane, and two proposals do no harm.

Why nothing ends early. A renewal is applied on every replica after it was proposed. A keep-alive is
answered at once only if this replica proposed a renewal of the lease not longer than COVER_SECONDS
before the keep-alive came (racos.node.leases); deadlines are armed with the TTL and COVER_SECONDS
more. So whichever renewal stands behind an answer, every replica's deadline for it lies at least
the whole TTL after the keep-alive came.

Without a quorum nothing can end. A replica that was cut off or paused for OUTAGE_SECONDS or more
gives every lease its full TTL again when it is back; one that was restarted always does.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush
from math import inf

from racos.core.quorum import bits
from racos.mvcc.command import LeaseExpire, Result
from racos.mvcc.lease import LeaseTable
from racos.node.batcher import Reply

# A quarter of the smallest TTL; more would delay the end of each abandoned lease by as much.
COVER_SECONDS = 0.5
OUTAGE_SECONDS = 1.0
RETRY_SECONDS = 0.3  # before the next steward's turn; doubled once all had theirs
RETRY_SECONDS_MAX = 5.0
EXPIRIES_PER_SECOND = 1000
EXPIRIES_AT_ONCE = 200
EXPIRIES_IN_FLIGHT_MAX = 1000
LOOKS_PER_TICK = 500  # deadlines looked at, so that no tick takes long
STALE_ENTRIES_MAX = 1000  # in the heap beyond as many as there are leases

_MIX = 0x9E3779B97F4A7C15  # odd: an id's every bit reaches the high bits of the product
_MASK = (1 << 64) - 1


def steward(id_: int, live: int, attempt: int) -> int:
    """The lane that proposes a lease's expiry, of those in the bit set `live`."""
    lanes = list(bits(live))
    return lanes[(((id_ * _MIX & _MASK) >> 33) + attempt) % len(lanes)]


class _Deadline:
    __slots__ = ("at", "attempts", "queued", "span")

    def __init__(self, at: float, span: float) -> None:
        self.at = at
        self.span = span  # from a grant or renewal to the deadline
        self.queued = at  # time of its entry in the heap; any other entry of the lease is stale
        self.attempts = 0


class LeaseClock:
    """Deadlines of all leases of `table`. Times are those of the node's clock, in seconds.

    A renewal only moves the deadline; the heap's entry follows when its old time comes. So each
    lease has one entry, however often it is renewed.
    """

    __slots__ = (
        "_allowance",
        "_away_since",
        "_deadlines",
        "_heap",
        "_me",
        "_submit",
        "_table",
        "_ticked_at",
        "in_flight",
    )

    def __init__(
        self, table: LeaseTable, me: int, submit: Callable[[LeaseExpire, Reply], None], now: float
    ) -> None:
        self._table = table
        self._me = me
        self._submit = submit
        self._deadlines: dict[int, _Deadline] = {}
        self._heap: list[tuple[float, int]] = []
        self._allowance = float(EXPIRIES_AT_ONCE)
        self._ticked_at = now
        self._away_since: float | None = -inf  # until the first contact with a quorum
        self.in_flight = 0  # expiries proposed and not yet applied
        for lease in table:  # those that the index has at start
            self.changed(lease.id, now)

    def changed(self, id_: int, now: float) -> None:
        """The lease was granted, renewed or removed just now."""
        lease = self._table.get(id_)
        if lease is None:
            self._deadlines.pop(id_, None)
            return
        span = lease.ttl + COVER_SECONDS
        at = now + span
        deadline = self._deadlines.get(id_)
        if deadline is None:
            self._deadlines[id_] = _Deadline(at, span)
            self._push(at, id_)
            return
        deadline.at = at
        deadline.attempts = 0
        if at < deadline.queued:  # the next of many attempts was further off
            deadline.queued = at
            self._push(at, id_)

    def remaining(self, id_: int, now: float) -> float:
        """Seconds that an existing lease has left, at most its TTL; 0 when it is over."""
        return max(0.0, self._deadlines[id_].at - COVER_SECONDS - now)

    def is_over(self, id_: int, now: float) -> bool:
        """Whether an existing lease waits for its end: too late to renew it."""
        return self._away_since is None and self._deadlines[id_].at <= now

    def by_expiry(self) -> list[int]:
        """The ids of all leases, the one that ends first in front."""
        return sorted(self._deadlines, key=lambda id_: (self._deadlines[id_].at, id_))

    def tick(self, now: float, live: int, has_quorum: bool) -> bool:
        """Propose what is due. `live` is the bit set of lanes that answer, this one among them.

        Returns whether all leases were armed anew, because this replica had been out of touch.
        """
        waited = now - self._ticked_at
        self._ticked_at = now
        if self._away_since is None and (not has_quorum or waited >= OUTAGE_SECONDS):
            self._away_since = now - waited
        if not has_quorum:
            return False
        rearmed = False
        if self._away_since is not None:
            rearmed = now - self._away_since >= OUTAGE_SECONDS
            self._away_since = None
            if rearmed:
                self._rearm(now)
        gained = waited * EXPIRIES_PER_SECOND
        self._allowance = min(EXPIRIES_AT_ONCE, self._allowance + gained)
        self._expire_due(now, live)
        return rearmed

    def _expire_due(self, now: float, live: int) -> None:
        heap, looks = self._heap, LOOKS_PER_TICK
        while heap and heap[0][0] <= now and looks and self._may_propose():
            looks -= 1
            queued, id_ = heappop(heap)
            deadline = self._deadlines.get(id_)
            if deadline is None or deadline.queued != queued:
                continue
            if deadline.at > now:
                deadline.queued = deadline.at
                heappush(heap, (deadline.at, id_))
            else:
                self._attempt(id_, deadline, now, live)

    def _may_propose(self) -> bool:
        return self._allowance >= 1 and self.in_flight < EXPIRIES_IN_FLIGHT_MAX

    def _attempt(self, id_: int, deadline: _Deadline, now: float, live: int) -> None:
        turn = steward(id_, live, deadline.attempts)
        rounds = deadline.attempts // live.bit_count()
        deadline.attempts += 1
        deadline.queued = now + min(RETRY_SECONDS * 2**rounds, RETRY_SECONDS_MAX)
        heappush(self._heap, (deadline.queued, id_))
        lease = self._table.get(id_)
        if turn == self._me and lease is not None:
            self._allowance -= 1
            self.in_flight += 1
            self._submit(LeaseExpire(id_, lease.renewal), _Expiry(self))

    def _rearm(self, now: float) -> None:
        """Give every lease its full TTL from now on; only later deadlines, so the heap may stay."""
        for deadline in self._deadlines.values():
            deadline.at = now + deadline.span
            deadline.attempts = 0

    def _push(self, at: float, id_: int) -> None:
        if len(self._heap) >= 2 * len(self._deadlines) + STALE_ENTRIES_MAX:
            self._rebuild_heap()  # the new entry's deadline is known already
        else:
            heappush(self._heap, (at, id_))

    def _rebuild_heap(self) -> None:
        self._heap = [(deadline.queued, id_) for id_, deadline in self._deadlines.items()]
        heapify(self._heap)


class _Expiry:
    """The reply to an expiry: nobody waits for it, it only counts."""

    __slots__ = ("_clock", "_finished")

    def __init__(self, clock: LeaseClock) -> None:
        self._clock = clock
        self._finished = False

    def done(self) -> bool:
        return self._finished

    def set_result(self, _result: Result, /) -> None:
        self._finish()

    def set_exception(self, _error: Exception, /) -> None:
        self._finish()  # the lease is still there: its next attempt comes by itself

    def _finish(self) -> None:
        self._finished = True
        self._clock.in_flight -= 1

"""Brings every applied coded batch to one durable fragment per replica: its own, and no other.

Healing. A replica that decided a batch without its own fragment (it was down, or late) fetches the
values from the others, encodes its fragment again and logs it. Newest first: what was written last
is what the fewest replicas may hold. In the background: bounded in bytes per second and in batches
at once, and pausing while clients wait for values.

Pruning. With replicas away, batches are widened: the others hold more than their own fragment. Once
all n replicas say that they hold their own (Beat.whole), the surplus is dropped. That keeps
recoverability (any k fragments survive any f losses): a replica says so only of fragments that are
durable in its log, durable fragments do not go away, and each replica keeps its own. So at the
moment of pruning n distinct fragments exist on n replicas, and any f losses leave n-f >= k of them.
Nobody votes about those slots any more (see `Holdings.whole`), so no coverage rests on the surplus.
What others said is kept in memory only: after a restart nothing is pruned before all have said it
again. A fragment found damaged later counts as one of the f losses until it is healed; the replica
says less then, and nothing above that point is pruned.

Nothing is kept on disk for this: the log tells after a restart what is missing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from heapq import heappop, heappush
from typing import NamedTuple

from racos.core.messages import Pay, Payload, PayRecord
from racos.erasure.codec import Codec
from racos.errors import Corrupt
from racos.node import batch as batches
from racos.node.holdings import Holdings
from racos.node.library import Library, Unreadable
from racos.node.rebuild import Fragments, rebuild
from racos.node.values import Values

PRUNED_AT_ONCE_MAX = 256  # batches per tick


class Healing(NamedTuple):
    """Bounds of the background work."""

    bytes_per_second: int = 32 << 20  # of values fetched
    batches: int = 4  # being fetched at once
    batch_bytes_min: int = 16 << 10  # a small batch counts as this much: it costs time, not bytes
    burst_seconds: float = 0.05  # unused allowance that is kept
    yield_seconds: float = 1.0  # pausing for clients never lasts longer than this per batch
    again_seconds: float = 0.5  # after a failure; doubles
    again_seconds_max: float = 16.0


class HealerStatistics(NamedTuple):
    """Batches, where nothing else is said; counts are since the start."""

    missing: int  # applied here without this replica's own fragment
    surplus: int  # with more than the own fragment
    healed: int
    healed_bytes: int  # of own fragments written
    pruned: int  # fragments
    pruned_bytes: int
    failed: int  # attempts
    corrupt: tuple[int, ...]  # positions whose values cannot be rebuilt as they were agreed on


class Healer:
    """One per node. `append` puts a record into the log and the library; returns its sequence.

    Call `tick` every few milliseconds and `fill` whenever fetches may have ended.
    """

    __slots__ = (
        "_allowance",
        "_append",
        "_attempts",
        "_busy",
        "_codec",
        "_corrupt",
        "_failed",
        "_healed",
        "_healed_bytes",
        "_later",
        "_library",
        "_now",
        "_pruned",
        "_pruned_bytes",
        "_queue",
        "_report",
        "_started_at",
        "_syncing",
        "_values",
        "holdings",
        "limits",
        "me",
    )

    def __init__(
        self,
        me: int,
        codec: Codec,
        library: Library,
        values: Values,
        append: Callable[[PayRecord], int],
        report: Callable[[str], None],
        limits: Healing | None = None,
    ) -> None:
        self.me = me
        self.limits = limits or Healing()
        self.holdings = Holdings(me, library)
        self._codec = codec
        self._library = library
        self._values = values
        self._append = append
        self._report = report
        self._now = 0.0
        self._started_at = 0.0
        self._allowance = 0.0  # bytes that may be asked for now; below 0 while one debt is paid
        self._queue: list[int] = []  # heap of negative positions: the newest first
        self._later: list[tuple[float, int]] = []  # heap of (when, position) after failures
        self._attempts: dict[int, int] = {}  # failures in a row
        self._busy: set[int] = set()  # being fetched
        self._syncing: deque[tuple[int, int]] = deque()  # (log sequence, position) of healed ones
        self._corrupt: dict[int, str] = {}
        self._failed = self._healed = self._healed_bytes = 0
        self._pruned = self._pruned_bytes = 0

    # -- what happens elsewhere --------------------------------------------------------------------

    def applied(self, position: int) -> None:
        """A batch was applied (or, at start, the log calls it so)."""
        if self.holdings.applied(position):
            heappush(self._queue, -position)

    def durable(self, sequence: int) -> None:
        """The log is durable up to this record."""
        self.holdings.durable(sequence)
        while self._syncing and self._syncing[0][0] <= sequence:
            position = self._syncing.popleft()[1]
            if self.holdings.found_durable(position) and position not in self._busy:
                heappush(self._queue, -position)

    def peer_up(self) -> None:
        """Another replica is there: what failed before may succeed now."""
        for _, position in self._later:
            heappush(self._queue, -position)
        self._later.clear()

    # -- time --------------------------------------------------------------------------------------

    def tick(self, now: float, whole_everywhere: int) -> None:
        """`whole_everywhere`: below it all replicas said that they hold their own fragments."""
        rate = self.limits.bytes_per_second
        earned = rate * (now - self._now)
        self._now = now
        self._allowance = min(self._allowance + earned, rate * self.limits.burst_seconds)
        self._load()
        self._see_damage()
        while self._later and self._later[0][0] <= now:
            heappush(self._queue, -heappop(self._later)[1])
        if self.holdings.surplus:
            self._prune(min(whole_everywhere, self.holdings.whole))

    def _see_damage(self) -> None:
        damaged = self._library.damaged
        if damaged:
            self._library.damaged = []
            for position in damaged:
                if self.holdings.damaged(position):
                    heappush(self._queue, -position)

        for position in self._library.dead:
            self.holdings.dead(position)
        self._library.dead.clear()

    def _load(self) -> None:
        """After a start: what the index names, some at a time."""
        for position, held in self._library.load():
            if self.holdings.loaded(position, held):
                heappush(self._queue, -position)

    def keep_late(self, pay: Pay) -> None:
        """A batch came, maybe after it was applied here without its own fragment."""
        position = self._library.position(pay)
        if pay.held >> self.me & 1 and self.holdings.wants(position):
            own = PayRecord(pay.lane, pay.round, pay.payload, 1 << self.me, says_one=False)
            self._syncing.append((self._append(own), position))

    def _prune(self, below: int) -> None:
        surplus = self.holdings.surplus
        for _ in range(PRUNED_AT_ONCE_MAX):
            if not surplus or surplus[0] >= below:
                return
            position = surplus.pop(0)
            before = self._library.held(position)
            assert before >> self.me & 1, "whole, yet without its own fragment"
            self._pruned_bytes += self._library.prune(position, self.me)
            self._pruned += before.bit_count() - 1

    def narrow(self) -> None:
        """Own fragments are enough again (`Holdings.widen`)."""
        self.holdings.narrow(self._not_durable)

    @property
    def _not_durable(self) -> set[int]:
        return {position for _, position in self._syncing}

    # -- healing -----------------------------------------------------------------------------------

    @property
    def wants(self) -> bool:
        """Whether `fill` might start something."""
        return bool(self._queue)

    def fill(self, absent: int) -> None:
        """Start what may be started. `absent`: peers not worth asking first."""
        while self._queue and self._may_start():
            position = -heappop(self._queue)
            wanted = position in self.holdings.missing and position not in self._corrupt
            if wanted and position not in self._busy:
                self._start(position, absent)

    def _may_start(self) -> bool:
        if self._allowance <= 0 or len(self._busy) >= self.limits.batches:
            return False
        yielding = self._values.foreground > 0
        # Clients who always read must not keep a replica from ever becoming whole again.
        return not yielding or self._now - self._started_at >= self.limits.yield_seconds

    def _start(self, position: int, absent: int) -> None:
        round_, lane = self._library.slot(position)
        mask = self.holdings.needed(position) & ~self._library.held(position)
        if not mask:
            if position not in self._not_durable:
                self.holdings.found_durable(position)
            return
        try:
            descriptor = self._library.descriptor(position)
        except Unreadable as error:
            self._not_now(position, error)
            return
        values = batches.coded_values(descriptor, round_, lane)
        size = sum(value.length for value in values)
        self._allowance -= max(size, self.limits.batch_bytes_min)
        self._started_at = self._now
        self._busy.add(position)

        def done(outcome: Fragments | Exception) -> None:
            self._busy.discard(position)
            if isinstance(outcome, Exception):
                self._not_now(position, outcome)
                return
            payload = Payload(descriptor, True, outcome)
            self._keep(position, PayRecord(lane, round_, payload, mask, says_one=False))

        load = partial(self._values.load_all, absent=absent, background=True)
        rebuild(load, self._codec, values, mask, done)

    def _keep(self, position: int, record: PayRecord) -> None:
        self._attempts.pop(position, None)
        self._syncing.append((self._append(record), position))
        self._healed += 1
        fragments = record.payload.fragments.values()
        self._healed_bytes += sum(len(each) for parts in fragments for each in parts)

    def _not_now(self, position: int, error: Exception) -> None:
        self._failed += 1
        if isinstance(error, Corrupt):
            # No replica has anything better: named once, and never healed. This replica's word
            # (`Holdings.whole`) stays below it, so no surplus above it is pruned anywhere.
            self._corrupt[position] = str(error)
            self._report(f"heal.corrupt position={position}: {error}")
            return
        attempts = self._attempts[position] = self._attempts.get(position, 0) + 1
        wait = self.limits.again_seconds * 2 ** min(attempts - 1, 16)
        heappush(self._later, (self._now + min(wait, self.limits.again_seconds_max), position))

    @property
    def whole(self) -> int:
        """Position below which all is durably here that can be had (`Holdings.whole`)."""
        return self.holdings.whole_but_for(self._corrupt)

    def statistics(self) -> HealerStatistics:
        return HealerStatistics(
            missing=len(self.holdings.missing),
            surplus=len(self.holdings.surplus),
            healed=self._healed,
            healed_bytes=self._healed_bytes,
            pruned=self._pruned,
            pruned_bytes=self._pruned_bytes,
            failed=self._failed,
            corrupt=tuple(sorted(self._corrupt)),
        )

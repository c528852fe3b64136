"""After the heal: what must come to an end, on every node of a healthy quorum, and in what time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from racos.mvcc.command import Range
from racos.node.driver import Driver
from racos.node.lease_clock import COVER_SECONDS
from racos.sim.checks.leases import LATE_SECONDS
from racos.sim.clients import Client, Record
from racos.sim.events import Events
from racos.sim.history import Answer, Call, Outcome
from racos.sim.machine import Machine
from racos.sim.options import Options
from racos.sim.violation import Violation

_POLL_SECONDS = 0.02
_LAST_READ_SECONDS = 1.0
_HEALED_SECONDS = 20.0  # a fragment that could not be fetched is tried again after 16 s at most


class Settling:
    """Verifies progress (P-14) and what must be gone in the end:

    - within `live_within` every node has settled every open slot, acknowledged a new write, and
      applied what the others have;
    - nobody renews any lease now: within the longest TTL, cover and LATE_SECONDS all have ended;
    - within _HEALED_SECONDS every node has its own fragment of every batch, and, if all n nodes
      are there, no other one;
    - each node then answers a linearizable read of everything, with all values.

    A node whose disk is rotten may leave the quorum meanwhile: taking a state from another node is
    a restart, which finds the damage and refuses. The others are a quorum without it.

    Not verified: a quorum in which nodes go on failing.
    """

    def __init__(
        self,
        options: Options,
        events: Events,
        machines: Sequence[Machine],
        core: Sequence[int],
        record: Record,
        run_until: Callable[[float], None],
    ) -> None:
        self._options = options
        self._events = events
        self._core = [machines[lane] for lane in core]
        self._run_until = run_until
        self.finals = [
            FinalClient(options.clients + options.holders + lane, options, events, machines, record)
            for lane in core
        ]
        for client, lane in zip(self.finals, core, strict=True):
            client.begin(lane)

    def run(self) -> float:
        """Everything above, in this order; returns how long it took to settle, in seconds."""
        begun = self._events.now
        self._await(self._unsettled, self._options.live_within)
        settled_after = self._events.now - begun
        self._await(self._unended, self._options.ttl + COVER_SECONDS + LATE_SECONDS)
        self._await(self._unhealed, _HEALED_SECONDS)
        self._read_all()
        return settled_after

    def _await(self, unfinished: Callable[[], Iterator[str]], seconds: float) -> None:
        end = self._events.now + seconds
        while (waiting := list(unfinished())) or self._events.now == 0:
            if self._events.now >= end:
                text = f"after the heal, in {seconds:.1f} s: {'; '.join(waiting)}"
                raise Violation("P-14", text)
            self._run_until(self._events.now + _POLL_SECONDS)

    @property
    def _members(self) -> list[Machine]:
        return [machine for machine in self._core if not machine.has_refused]

    @property
    def _clients(self) -> list[FinalClient]:
        return [client for client in self.finals if not client.machine.has_refused]

    def _drivers(self) -> Iterator[Driver]:
        for machine in self._members:
            if machine.driver is not None:
                yield machine.driver

    def _unsettled(self) -> Iterator[str]:
        for client in self._clients:
            if client.written == 0:
                yield f"no write was acknowledged by n{client.lane} yet"
        for machine in self._members:
            if machine.driver is None:
                yield f"n{machine.lane}, which is healthy, died"
        newest = max((driver.store.revision for driver in self._drivers()), default=0)
        for driver in self._drivers():
            replica, me = driver.replica, driver.me
            if driver._in_flight or len(driver.batcher):
                yield f"n{me} has proposals in flight"
            if replica.window.round <= replica.highest_round:
                yield f"n{me} waits at slot {replica.window.frontier}"
            if driver.store.revision != newest or driver.applier.waiting:
                yield f"n{me} is behind"

    def _unended(self) -> Iterator[str]:
        for driver in self._drivers():
            if len(driver.store.leases):
                yield f"n{driver.me} still has {len(driver.store.leases)} abandoned leases"

    def _unhealed(self) -> Iterator[str]:
        everyone = len(self._members) == self._options.nodes
        for driver in self._drivers():
            holdings = driver.healer.holdings
            if holdings.missing:
                yield f"n{driver.me} lacks its fragments of {list(holdings.missing)}"
            if everyone and holdings.surplus:
                yield f"n{driver.me} has surplus fragments of {list(holdings.surplus)}"

    def _read_all(self) -> None:
        for client in self._clients:
            machine = client.machine
            client.read(machine, Range(b"k", b"l"), linearizable=True)
        end = self._events.now + _LAST_READ_SECONDS
        while self._events.now < end and any(client.open is not None for client in self._clients):
            self._run_until(self._events.now + _POLL_SECONDS)
        for client in self._clients:
            last = client.last
            if last is None or last.outcome is not Outcome.OK:
                raise Violation("P-14", f"the last read of n{client.lane} is {last}")


class FinalClient(Client):
    """Writes through one node until a write is acknowledged, then stops."""

    written: int = 0
    lane: int = 0
    last: Call | None = None

    def begin(self, lane: int) -> None:
        self.lane = lane
        self.stopped = False

    @property
    def machine(self) -> Machine:
        return self._machines[self.lane]

    def step(self) -> None:
        if self.written or self.open is not None:
            return
        if self.machine.driver is None:
            self._events.after(0.01, self.step)
            return
        self.write(self.machine, self.draw_put(len(self._record.calls)))

    def finish(self, call: Call, outcome: Outcome, answer: Answer) -> None:
        if call.outcome is Outcome.OPEN:
            self.last = call
            self.written += outcome is Outcome.OK and not call.is_read
        super().finish(call, outcome, answer)

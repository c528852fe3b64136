"""Equal states, and bounds."""

from __future__ import annotations

from racos.mvcc.store import Store
from racos.node.driver import Driver
from racos.sim.violation import Violation

_LOG_QUEUE_SLACK_BYTES = 16 << 20  # proposals stop at the limit; promises still come on top


class Digests:
    """P-8: replicas with the same revision and compaction revision hold the same state.

    Not verified: states between two looks (the world looks after a random part of the turns that
    applied something, and at the end), and results of commands (see `linear`).
    """

    def __init__(self) -> None:
        self.compared = 0
        self._known: dict[tuple[int, int], tuple[bytes, int]] = {}

    def look(self, lane: int, store: Store) -> None:
        state = store.revision, store.compact_revision
        digest = store.state_digest()
        known, by = self._known.setdefault(state, (digest, lane))
        self.compared += by != lane
        if known != digest:
            raise Violation("P-8", f"n{lane} and n{by} differ at (revision, compacted) {state}")


class Bounds:
    """P-11 and P-13: every queue is within its limit, and the window is as long as it may be.

    Not verified: the transport's queues (it is replaced here), memory as the system counts it, and
    growth that the limits allow by design (the index of the log, history up to a compaction).
    """

    def __init__(self) -> None:
        self.highest: dict[str, int] = {}  # what was seen at most

    def look(self, lane: int, driver: Driver) -> None:
        replica = driver.replica
        settings, total = replica.settings, replica.quorum.total
        limits = driver.batcher.limits
        window_max = (9 * settings.rounds_max + 64) * total
        self._check(lane, "open slots", len(replica.window.slots), window_max)
        self._check(lane, "early batches", len(replica._early), total * settings.rounds_max)
        self._check(lane, "epochs", len(replica.configs.known), 4 * total)
        in_flight = len(driver._in_flight) + len(driver.batcher._ready)
        self._check(lane, "batches in flight", in_flight, limits.in_flight + 1)  # a change
        self._check(lane, "waiting commands", len(driver.batcher), limits.waiting_commands)
        self._check(lane, "probes", len(replica.barrier._probes), replica.barrier.in_flight_max)
        self._check(lane, "fetches", len(driver.values._fetches), 10_000)
        queued = driver.log.queued_bytes
        self._check(lane, "log queue bytes", queued, (64 << 20) + _LOG_QUEUE_SLACK_BYTES)
        self._check(lane, "unsynced tokens", len(driver._tokens), 20_000)
        self._check(
            lane, "chain links", max(map(len, (x.links for x in replica.window.lanes))), 1000
        )

    def _check(self, lane: int, what: str, size: int, limit: int) -> None:
        if size > self.highest.get(what, -1):
            self.highest[what] = size
        if size > limit:
            raise Violation("P-13", f"n{lane} has {size} {what}; the limit is {limit}")

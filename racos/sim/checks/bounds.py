"""Bounds of everything that queues in a node."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from racos.core.replica import Replica
from racos.node.driver import LOG_QUEUE_BYTES_MAX, Driver
from racos.node.lease_clock import EXPIRIES_IN_FLIGHT_MAX, STALE_ENTRIES_MAX
from racos.node.leases import WAITING_MAX
from racos.node.values import FETCHES_MAX
from racos.queue.replica import QueueReplica
from racos.sim.violation import Violation

_LOG_QUEUE_SLACK_BYTES = 16 << 20  # proposals stop at the limit; promises still come on top
_TOKENS_MAX = 20_000
_LINKS_MAX = 1000


class Queue(NamedTuple):
    """Something that grows and shrinks: how long it is, and how long it may be."""

    name: str
    size: Callable[[Driver], int]
    limit: Callable[[Driver], int]


def _window_max(driver: Driver) -> int:
    """Slots opened ahead of the frontier: the window, and what others spoke of far beyond it."""
    return (9 * driver.replica.settings.rounds_max + 64) * driver.quorum.total


def _of_lanes(size: Callable[[Replica], int]) -> Callable[[Driver], int]:
    """Nothing, where the queue engine runs."""

    def measured(driver: Driver) -> int:
        return size(driver.replica) if isinstance(driver.replica, Replica) else 0

    return measured


def _slots_ahead(driver: Driver) -> int:
    replica = driver.replica
    return len(replica.agreement.open) if isinstance(replica, QueueReplica) else 0


QUEUES = (
    Queue("slots ahead", _slots_ahead, lambda d: d.replica.settings.rounds_max + 1),
    Queue("open slots", lambda d: len(d.replica.window.slots), _window_max),
    Queue(
        "rounds from frontier to highest slot",
        _of_lanes(lambda r: max(r.window.slots, default=0) // r.quorum.total - r.window.round),
        lambda d: 9 * d.replica.settings.rounds_max + 1,
    ),
    Queue(
        "early batches",
        _of_lanes(lambda r: len(r._early)),
        lambda d: d.quorum.total * d.replica.settings.rounds_max,
    ),
    Queue(
        "batches in flight",
        lambda d: len(d._in_flight) + len(d.batcher._ready),
        # And changes of the configuration: one, and one more while one of the life before is due.
        lambda d: d.batcher.limits.in_flight + 2,
    ),
    Queue("epochs", lambda d: len(d.replica.configs.known), lambda d: 4 * d.quorum.total),
    Queue(
        "waiting commands",
        lambda d: len(d.batcher),
        lambda d: d.batcher.limits.waiting_commands,
    ),
    Queue(
        "waiting bytes",
        lambda d: d.batcher.waiting_bytes,
        lambda d: d.batcher.limits.waiting_bytes,
    ),
    Queue(
        "probes",
        lambda d: len(d.replica.barrier._probes),
        lambda d: d.replica.barrier.in_flight_max,
    ),
    Queue("fetches", lambda d: len(d.values._fetches), lambda _d: FETCHES_MAX),
    Queue("batches being healed", lambda d: len(d.healer._busy), lambda d: d.healer.limits.batches),
    Queue(
        "log queue bytes",
        lambda d: d.log.queued_bytes,
        lambda _d: LOG_QUEUE_BYTES_MAX + _LOG_QUEUE_SLACK_BYTES,
    ),
    Queue("unsynced tokens", lambda d: len(d._tokens), lambda _d: _TOKENS_MAX),
    Queue(
        "chain links",
        _of_lanes(lambda r: max(len(lane.links) for lane in r.window.lanes)),
        lambda _d: _LINKS_MAX,
    ),
    Queue("waiting keep-alives", lambda d: d.leases.waiting, lambda _d: WAITING_MAX),
    Queue("expiries", lambda d: d.leases.clock.in_flight, lambda _d: EXPIRIES_IN_FLIGHT_MAX),
    Queue(
        "lease deadlines",
        lambda d: len(d.leases.clock._heap),
        lambda d: 2 * len(d.leases.clock._deadlines) + STALE_ENTRIES_MAX,
    ),
)


class Bounds:
    """P-13: every queue of QUEUES is within its limit. P-11: nothing at or above the frontier is
    applied, no slot is open below it, and the window ends where it must.

    Not verified: the transport's queues (it is replaced here), memory as the system counts it,
    reads that wait (the services bound requests), and growth that the limits allow by design (the
    index of the log, history up to a compaction, fragments still to be healed).
    """

    def __init__(self) -> None:
        self.highest: dict[str, int] = {}  # what was seen at most

    def look(self, lane: int, driver: Driver) -> None:
        """At a moment between two turns."""
        for name, size_of, limit_of in QUEUES:
            size = size_of(driver)
            if size > self.highest.get(name, -1):
                self.highest[name] = size
            if size > limit_of(driver):
                raise Violation("P-13", f"n{lane} has {size} {name}; limit {limit_of(driver)}")
        replica = driver.replica
        window, known = replica.window, driver.library.past.end
        opened: Iterable[int] = window.slots
        if isinstance(replica, QueueReplica):  # there positions name batches, and tell no order
            known, opened = 0, replica.agreement.open
        lowest = min(opened, default=window.frontier)
        if known > window.frontier or lowest < window.frontier:
            text = f"decided below {known}, open {lowest}"
            raise Violation("P-11", f"n{lane}: {text}, but the frontier is {window.frontier}")

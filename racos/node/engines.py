"""The engines a node can run on: lanes, and the published queue for comparison."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from typing import NamedTuple

from racos.core.effects import Chunk
from racos.core.engine import LANES, QUEUE, Engine, History
from racos.core.messages import AppliedRecord, Payload
from racos.core.recovery import Recovered
from racos.core.replica import Replica, Settings
from racos.node.library import CHUNK_BATCHES_MAX, CHUNK_BYTES_MAX, Library, Unreadable
from racos.queue.recovery import Recovered as QueueRecovered
from racos.queue.replica import QueueReplica
from racos.storage.log import Log


class QueueLibrary(Library):
    """Here a batch's position is its name, and which slot it took is told when it is applied."""

    __slots__ = ("_highest", "_slots")

    def __init__(self, log: Log, total: int, report: Callable[[str], None]) -> None:
        super().__init__(log, total, report)
        self._slots: list[int] = []  # of `_applied`, which is in their order
        self._highest = -1

    def note_order(self, record: AppliedRecord) -> None:
        self._slots.extend(record.ones)

    def place(self, position: int) -> int:
        del position  # the one applied last
        return self._slots[len(self._applied) - 1]

    def note_applied(self, position: int) -> None:
        super().note_applied(position)
        self._highest = max(self._highest, position)

    def chunk(self, start: int, frontier: int) -> Chunk:
        batches: list[tuple[int, Payload]] = []
        names: list[int] = []
        size = 0
        for at in range(bisect_left(self._slots, start), len(self._applied)):
            slot, name = self._slots[at], self._applied[at]
            payload = self._payload_or_none(name) if size < CHUNK_BYTES_MAX else None
            if payload is None or len(batches) == CHUNK_BATCHES_MAX:
                return Chunk(start, slot, tuple(batches), frontier, tuple(names))
            batches.append((slot, payload))
            names.append(name)
            size += len(payload.descriptor)
        return Chunk(start, frontier, tuple(batches), frontier, tuple(names))

    def _payload_or_none(self, name: int) -> Payload | None:
        try:
            return self.payload(name)
        except Unreadable:
            return None

    @property
    def last_applied(self) -> int:
        """No name above it is applied; some below may not be, and are taken for it harmlessly."""
        return self._highest


class Kit(NamedTuple):
    """What a driver makes its parts with."""

    library: Callable[[Log, int, Callable[[str], None]], Library]
    history: Callable[[int], History]
    replica: Callable[[Settings, float, History], Engine]


def _lanes(settings: Settings, now: float, past: History) -> Engine:
    assert isinstance(past, Recovered)
    return Replica(settings, now, past)


def _queue(settings: Settings, now: float, past: History) -> Engine:
    assert isinstance(past, QueueRecovered)
    return QueueReplica(settings, now, past)


KITS = {LANES: Kit(Library, Recovered, _lanes), QUEUE: Kit(QueueLibrary, QueueRecovered, _queue)}

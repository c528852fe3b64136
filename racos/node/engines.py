"""The engines a node can run on: lanes, and the published queue for comparison."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import NamedTuple

from racos.core.effects import Chunk
from racos.core.engine import LANES, QUEUE, Engine, History
from racos.core.messages import AppliedRecord, Payload, PayRecord
from racos.core.recovery import Recovered
from racos.core.replica import Replica, Settings
from racos.core.vow import Memory
from racos.mvcc.shelf import Shelf
from racos.node.batcher import Limits
from racos.node.checkpoint import read_applied
from racos.node.gathering import Patience
from racos.node.library import GRACE_SECONDS, Library, Unreadable
from racos.node.past import CHUNK_BATCHES_MAX, CHUNK_BYTES_MAX, Past
from racos.queue.recovery import Recovered as QueueRecovered
from racos.queue.replica import QueueReplica
from racos.storage.log import Log, Place


class QueueLibrary(Library):
    """Here a batch's position is its name, and which slot it took is told when it is applied.

    All history is kept, and the whole log is read at each start: it is for comparison.
    """

    __slots__ = ("_described", "_names", "_slots", "_stored")

    def __init__(
        self,
        log: Log,
        total: int,
        shelf: Shelf,
        report: Callable[[str], None] = lambda _text: None,
        grace_seconds: float = GRACE_SECONDS,
    ) -> None:
        super().__init__(log, total, shelf, report, grace_seconds)
        self._stored = read_applied(shelf).position  # the index has applied the slots below
        self._names: list[int] = []  # of applied batches, in order
        self._slots: list[int] = []  # theirs
        self._described: dict[int, tuple[Place, bool]] = {}  # descriptor, whether it is coded

    def note_order(self, record: AppliedRecord) -> None:
        self._slots.extend(record.ones)

    def place(self, position: int) -> int:
        del position  # the one applied last
        return self._slots[len(self._names) - 1]

    def note_applied(self, position: int) -> None:
        entry = self._open[position]
        self._names.append(position)
        self._described[position] = entry.descriptor, entry.coded
        if self.place(position) < self._stored:
            del self._open[position]
        else:
            self._decided.append((self.place(position), position))

    def knows(self, position: int) -> bool:
        return position in self._described

    def replayed(
        self, record: PayRecord, blobs: Sequence[Place], values: int, frontier: int
    ) -> int:
        del frontier  # of slots, not of names
        return self.add(record, blobs, values)

    def replayed_applied(self, _record: AppliedRecord, _frontier: int) -> None:
        """Each batch is told of by `note_applied`."""

    def replay_ended(self, _frontier: int) -> None:
        """Nothing was left out."""

    def descriptor(self, position: int) -> bytes:
        known = self._described.get(position)
        if known is None:
            return super().descriptor(position)
        return self.reading.descriptor(position, known[0])

    def chunk(self, start: int, frontier: int) -> Chunk:
        batches: list[tuple[int, Payload]] = []
        names: list[int] = []
        size = 0
        for at in range(bisect_left(self._slots, start), len(self._names)):
            slot, name = self._slots[at], self._names[at]
            payload = self._payload_or_none(name) if size < CHUNK_BYTES_MAX else None
            if payload is None or len(batches) == CHUNK_BATCHES_MAX:
                return Chunk(start, slot, tuple(batches), frontier, tuple(names))
            batches.append((slot, payload))
            names.append(name)
            size += len(payload.descriptor)
        return Chunk(start, frontier, tuple(batches), frontier, tuple(names))

    def _payload_or_none(self, name: int) -> Payload | None:
        try:
            return Payload(self.descriptor(name), self._described[name][1])
        except Unreadable:
            return None


class Kit(NamedTuple):
    """What a driver makes its parts with."""

    library: type[Library]
    history: Callable[[int, int], History]  # of so many lanes, behind such a frontier
    recall: Callable[[History, Past], None]  # what the log still shows of slots below it
    replica: Callable[[Settings, float, History, Memory], Engine]
    forgets: bool  # history, and parts of the log
    shares_rounds: bool  # batches of several replicas in one round cost little more than one

    def bounded(self, limits: Limits) -> Limits:
        """The write path's bounds: without shared rounds waiting for others gains nothing."""
        return limits if self.shares_rounds else limits._replace(patience=Patience(share=0.0))


def _lanes_recall(history: History, past: Past) -> None:
    assert isinstance(history, Recovered)
    history.floor = past.floor
    history.ones.update(past.ones)


def _queue_history(total: int, _known: int) -> History:
    return QueueRecovered(total)


def _queue_recall(_history: History, _past: Past) -> None:
    """All of it was replayed."""


def _lanes(settings: Settings, now: float, past: History, memory: Memory) -> Engine:
    assert isinstance(past, Recovered)
    return Replica(settings, now, past, memory)


def _queue(settings: Settings, now: float, past: History, memory: Memory) -> Engine:
    assert isinstance(past, QueueRecovered)
    assert memory.kept, "this engine cannot recover"
    return QueueReplica(settings, now, past)


KITS = {
    LANES: Kit(Library, Recovered, _lanes_recall, _lanes, forgets=True, shares_rounds=True),
    QUEUE: Kit(
        QueueLibrary, _queue_history, _queue_recall, _queue, forgets=False, shares_rounds=False
    ),
}

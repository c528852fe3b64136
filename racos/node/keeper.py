"""Everything about what the log has to keep: one object between the driver and those who know.

Which parts of batches are needed (`library`), where a start begins to read (`retention`), what goes
(`cleaner`), and the state for those who are behind what is left (`transfer`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Protocol

from racos.core.config import Change, Config, Configs
from racos.core.effects import Chunk
from racos.core.engine import LANES
from racos.core.messages import AppliedRecord, PayRecord, Record, ReserveRecord
from racos.core.quorum import bits
from racos.mvcc.command import CodedValue
from racos.mvcc.shelf import Shelf
from racos.node import records
from racos.node.checkpoint import read_configs, write_configs
from racos.node.cleaner import Cleaner, Space, SpaceStatistics
from racos.node.engines import KITS, Kit
from racos.node.fetching import AtOnce, Reader
from racos.node.retention import Retention, read_start
from racos.node.scrubber import Scrubber, Scrubbing
from racos.node.transfer import Receiver, Sender, Stage
from racos.node.wire import Behind, StateChunk, StateRequest
from racos.storage.log import Appended, Log, Place, Replayed

CLEANING_QUEUE_BYTES_MAX = 8 << 20  # above it nothing is rewritten until the disk has caught up


class Send(Protocol):
    def __call__(self, peer: int, message: Chunk | Behind | StateRequest | StateChunk) -> None: ...


class Keeper:
    """One per driver. The driver tells it of every record, decision and step of the index."""

    __slots__ = (
        "_applied",
        "_changes",
        "_forgets",
        "_log",
        "_replayed",
        "_send",
        "_shelf",
        "_total",
        "cleaner",
        "configs",
        "is_cramped",
        "kit",
        "library",
        "on_logged",
        "receiver",
        "retention",
        "scrubber",
        "sender",
    )

    def __init__(
        self,
        total: int,
        log: Log,
        shelf: Shelf,
        send: Send,
        report: Callable[[str], None],
        *,
        configs: Callable[[Sequence[Config]], Configs] = lambda known: Configs(0, 0, known),
        kit: Kit | None = None,
        stage: Stage | None = None,
        space: Space | None = None,
        scrubbing: Scrubbing | None = None,
        reader: Reader | None = None,
        applied: int = 0,
        first_number: int = 0,
    ) -> None:
        self._total = total
        self._log = log
        self._shelf = shelf
        self._send = send
        self._changes: Counter[int] = Counter()  # references, since the last step
        self.configs = configs(read_configs(shelf))  # those that the index has
        self._replayed = False  # all of the log that a start reads
        self._applied = applied  # the index has applied everything below
        self.on_logged: Callable[[], None] = lambda: None  # a record without hurry is in the log
        self.is_cramped = False  # hardly any disk is left: write nothing that nobody waits for
        space = space or Space()
        self.kit = kit = kit or KITS[LANES]
        self._forgets = kit.forgets
        self.library = kit.library(log, total, shelf, report, space.grace_seconds)
        self.retention = Retention(total, read_start(shelf))
        self.cleaner = Cleaner(
            log,
            shelf,
            self.library,
            self.retention,
            self.append,
            self._reserve_again,
            report,
            space,
            reader,
        )
        self.scrubber = Scrubber(
            log, self.library, report, scrubbing or Scrubbing(), reader or AtOnce()
        )
        self.sender = Sender(log, shelf, self.library)
        self.receiver = Receiver(
            log,
            self.library,
            self.retention,
            stage if kit.forgets else None,
            send,
            self._append_descriptor,
            report,
            first_number,
        )

    # -- what happens ------------------------------------------------------------------------------

    def referred(self, value: CodedValue, change: int) -> None:
        """One version more (1) or less (-1) has this value."""
        self._changes[value.round * self._total + value.lane] += change

    def logged(self, record: Record, appended: Appended) -> None:
        """The log took a record of the core's."""
        if isinstance(record, PayRecord):
            self.library.add(record, appended.blobs, values_per_fragment(record))
        if self._forgets:
            self.retention.note(record, appended.header.segment, appended.sequence)

    def replayed(self, record: Record, entry: Replayed, values: int, frontier: int) -> None:
        """A record read back at start, when the index has applied everything below `frontier`."""
        if self._forgets:
            self.retention.note(record, entry.header_place.segment, entry.sequence)
        if isinstance(record, PayRecord):
            self.library.replayed(record, entry.blob_places, values, frontier)
        elif isinstance(record, AppliedRecord):
            self.library.replayed_applied(record, frontier)

    def replay_ended(self, frontier: int) -> None:
        """All of the log was read."""
        self.library.replay_ended(frontier)
        self.retention.durable(self._log.durable_sequence)
        self._replayed = True

    def append(self, record: PayRecord) -> int:
        """Keep fragments that promise nothing; returns the log's sequence. No hurry."""
        appended = self._append(record)
        self.library.add(record, appended.blobs, values_per_fragment(record))
        return appended.sequence

    def _append(self, record: PayRecord) -> Appended:
        kind, header, blobs = records.encode_kept(record)
        appended = self._log.append(kind, header, blobs)
        self.on_logged()
        return appended

    def _append_descriptor(self, record: PayRecord) -> Place:
        return self._append(record).blobs[0]

    def applied(self, end: int) -> None:
        """All below `end` is applied: before the index's step that holds what that did."""
        changes, self._changes = self._changes, Counter()
        self._applied = end
        self.library.settle(end, changes)
        if self._replayed and self._forgets:  # until then it is not known which segments are needed
            self.retention.advance(self._shelf, end, self._log.last_segment)

    def dropped(self) -> None:
        """Old versions were dropped: likewise."""
        changes, self._changes = self._changes, Counter()
        for other, change in changes.items():
            self.library.refer(other, change, self._applied - 1)

    def changed(self, change: Change, position: int) -> None:
        """A change of the configuration was decided in this slot: in the step that applies it, and
        at the latest in the next one. What is in force now is kept as well."""
        self.configs.forget_below(self._applied // self._total)
        self.configs.apply(change, position // self._total)
        write_configs(self._shelf, self.configs.known)
        self.library.dirty = True

    def durable(self, sequence: int) -> None:
        """The log is durable up to this record."""
        self.retention.durable(sequence)

    # -- others ------------------------------------------------------------------------------------

    def serve(self, peer: int, position: int, frontier: int) -> None:
        """A peer is stuck at a slot that is decided here: history, if it is remembered."""
        if position < self.library.past.floor:
            self._send(peer, Behind(self.library.past.floor))
            return
        chunk = self.library.chunk(position, frontier)
        if chunk.end > position:
            self._send(peer, chunk)

    def on_message(
        self, sender: int, message: Behind | StateRequest | StateChunk, frontier: int
    ) -> None:
        if isinstance(message, StateRequest):
            chunk = self.sender.answer(sender, message, frontier)
            if chunk is not None:
                self._send(sender, chunk)
        elif isinstance(message, StateChunk):
            self.receiver.take(sender, message)
        else:
            self.receiver.behind(sender, message, frontier)

    # -- time --------------------------------------------------------------------------------------

    def stuck(self, peer: int | None, applied: int) -> None:
        """What is to be applied next needs values that cannot be had: others may have forgotten
        them long ago. One that is ahead has the state behind that."""
        if peer is not None:
            self.receiver.behind(peer, Behind(1 << 62), applied)

    def tick(self, now: float, applied: int, *, between_batches: bool) -> None:
        """Time has passed. Unless a batch is half applied, what was written to the index beside
        batches becomes a step of its own."""
        self.library.now = now
        self.sender.tick(now)
        self.receiver.tick(now, applied)
        if not between_batches:
            return
        if self.library.dirty:
            self.library.dirty = False
            self._shelf.commit(self._log.last_sequence)
        self.scrubber.tick(now)
        idle = self._forgets and not (self.sender.active or self.receiver.active)
        if idle and self._log.queued_bytes < CLEANING_QUEUE_BYTES_MAX:
            self.cleaner.tick(now, may_copy=not self.is_cramped)
            if self._log.is_removing:
                self.on_logged()  # there may be nothing else to write

    def forget(self, everywhere: int) -> int:
        """Now and then: give up history that nobody needs, where all replicas are said to have
        applied what lies below `everywhere`. Returns the floor.
        """
        library, retention, last = self.library, self.retention, self._log.last_segment
        if not self._forgets:
            library.free(everywhere)
            return 0
        library.raise_floor(self.cleaner.floor(everywhere, self._applied))
        library.free(max(library.past.floor, everywhere))
        if retention.reserve_again(self._applied, last):
            self._reserve_again()
        if retention.advance(self._shelf, self._applied, last):
            library.dirty = True
        return library.past.floor

    def _reserve_again(self) -> int:
        """Write the reservation down once more, behind what is to go; its log sequence."""
        record = ReserveRecord(self.retention.reserved)
        kind, header, blobs = records.encode(record)
        appended = self._log.append(kind, header, blobs)
        self.retention.note(record, appended.header.segment, appended.sequence)
        self.on_logged()
        return appended.sequence

    def statistics(self) -> SpaceStatistics:
        return self.cleaner.statistics()

    def close(self) -> None:
        self.scrubber.close()
        self.sender.close()
        self.receiver.close()


def values_per_fragment(record: PayRecord) -> int:
    payload = record.payload
    for index in bits(record.held):
        return len(payload.fragments[index]) if payload.coded else 0
    return 0

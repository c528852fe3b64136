"""Reads what the log has at rest, again and again: damage is found while others can heal it.

One pass looks at all segments that were there when it began: each record against its checksum, each
fragment that is needed against its digest in the descriptor. In a segment in which any record is
damaged nothing but places is trusted: all that the index names in it is looked at by place. A
damaged fragment is dropped, and the healer makes it good; everything else is named.

Small steps, from the driver's tick: at most `bytes_per_second`, and about a quarter of a megabyte
between two looks at the allowance, which takes some tenths of a millisecond to check. What is not
in memory is read off the node's loop; only behind a damaged head the loop waits for the disk.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from functools import partial
from typing import NamedTuple, TypeVar

from google.protobuf.message import DecodeError

from racos.core.messages import PayRecord
from racos.erasure.verify import BadFragment, check_fragment
from racos.node import batch as batches
from racos.node import entries, records
from racos.node.fetching import Fetching, Reader
from racos.node.library import Library, Unreadable
from racos.storage.ahead import NotYet
from racos.storage.log import Log, Place, Scan
from racos.storage.record import body_crc
from racos.storage.scan import Stored

STEP_BYTES = 256 << 10
_RECORD_BYTES = 200  # what looking at a record costs at least, as bytes of the allowance

_T = TypeVar("_T")


class Scrubbing(NamedTuple):
    """Bounds of the background work."""

    bytes_per_second: int = 8 << 20  # 0: none
    pause_seconds: float = 600.0  # at least, from the end of a pass to the beginning of the next


class ScrubStatistics(NamedTuple):
    """Since the start."""

    passes: int  # completed
    progress: float  # of the present pass, 0 to 1; 1 between passes
    since_seconds: float  # the last pass ended; -1: none did
    read_bytes: int
    damaged_records: int  # found, in each pass again
    dropped_fragments: int


class Scrubber:
    """One per node. `report` is told in one line of each damaged record or fragment."""

    __slots__ = (
        "_all_bytes",
        "_allowance",
        "_damaged",
        "_done_bytes",
        "_dropped",
        "_ended_at",
        "_fetching",
        "_library",
        "_log",
        "_now",
        "_passes",
        "_read_bytes",
        "_report",
        "_work",
        "limits",
    )

    def __init__(
        self,
        log: Log,
        library: Library,
        report: Callable[[str], None],
        limits: Scrubbing,
        reader: Reader,
    ) -> None:
        self.limits = limits
        self._fetching = Fetching(reader)
        self._log = log
        self._library = library
        self._report = report
        self._now = 0.0
        self._allowance = 0.0  # bytes that may be read now; below 0 while a debt is paid
        self._work: Iterator[int] | None = None  # the present pass: bytes that each step cost
        self._ended_at: float | None = None  # of the last pass
        self._all_bytes = self._done_bytes = 0  # of the present pass
        self._passes = self._read_bytes = self._damaged = self._dropped = 0

    def tick(self, now: float) -> None:
        """Some work; call it when no batch is half applied."""
        rate = self.limits.bytes_per_second
        self._allowance = min(self._allowance + rate * (now - self._now), STEP_BYTES)
        self._now = now
        if not rate or not self._library.loaded:
            return
        if self._work is None and self._is_due():
            self._all_bytes = max(1, self._log.size_bytes)
            self._done_bytes = 0
            self._work = self._pass()
        while self._work is not None and self._allowance > 0 and not self._fetching.busy:
            self._step(self._work)

    def _is_due(self) -> bool:
        return self._ended_at is None or self._now - self._ended_at >= self.limits.pause_seconds

    def _step(self, work: Iterator[int]) -> None:
        cost = next(work, None)
        if cost is None:
            self._work = None
            self._passes += 1
            self._ended_at = self._now
            return
        self._allowance -= cost
        self._read_bytes += cost
        self._done_bytes += cost

    def close(self) -> None:
        self._work = None

    def statistics(self) -> ScrubStatistics:
        ended, running = self._ended_at, self._work is not None
        return ScrubStatistics(
            passes=self._passes,
            progress=min(1.0, self._done_bytes / self._all_bytes) if running else 1.0,
            since_seconds=-1.0 if ended is None else self._now - ended,
            read_bytes=self._read_bytes,
            damaged_records=self._damaged,
            dropped_fragments=self._dropped,
        )

    # -- one pass: generators that yield what they have read, in bytes -----------------------------

    def _pass(self) -> Iterator[int]:
        for number in self._log.segments:
            if number in self._log.segments and number <= self._log.durable_segment:
                try:
                    yield from self._segment(number)
                except OSError as error:  # the file, or a sector of it, is gone
                    self._damaged += 1
                    why = f"cannot be read: {error.strerror or error}"
                    self._report(f"scrub.damaged {self._log.name(number)}: {why}")

    def _segment(self, number: int) -> Iterator[int]:
        with closing(self._log.scan(number, ahead_bytes=STEP_BYTES, may_wait=False)) as scan:
            damaged = self._damaged
            if not (yield from self._read(scan, scan.header_intact)):
                self._name(scan, 0, "the segment's header is damaged")
            try:
                yield from self._records(scan)
            except OSError as error:
                self._name(scan, scan.offset, f"cannot be read: {error.strerror or error}")
            if self._damaged > damaged:
                yield from self._by_place(scan)

    def _read(self, scan: Scan, work: Callable[[], _T]) -> Generator[int, None, _T]:
        """What `work` reads, without waiting for the disk: that is done off this thread."""
        while True:
            try:
                return work()
            except NotYet:
                self._fetching.start(scan)
            yield 0

    def _records(self, scan: Scan) -> Iterator[int]:
        while True:
            stored = yield from self._read(scan, scan.next)
            if stored is not None:
                yield from self._record(scan, stored)
            elif (yield from self._read(scan, lambda: scan.ended)):
                return
            else:
                self._name(scan, scan.offset, f"record {scan.sequence} cannot be read")
                if not scan.skip():
                    return
                yield STEP_BYTES

    def _record(self, scan: Scan, stored: Stored) -> Iterator[int]:
        crc, offset, end = scan.salt, stored.body, stored.body + stored.head.body_length
        yield _RECORD_BYTES
        while offset < end:
            piece = yield from self._read(scan, partial(scan.piece, offset, end - offset))
            if not piece:
                break
            crc = body_crc(piece, crc)
            offset += len(piece)
            yield len(piece)
        if crc != stored.head.body_crc:
            self._name(scan, stored.body, f"record {stored.head.sequence} is damaged")
        elif stored.kind in (records.Kind.PAY, records.Kind.KEPT):
            yield from self._batch(scan, stored)

    def _batch(self, scan: Scan, stored: Stored) -> Iterator[int]:
        """The fragments of a sound record: are they what was agreed on?"""
        record, values = records.decode(stored.kind, stored.header)
        assert isinstance(record, PayRecord)
        position = self._library.position(record)
        if values and self._library.known(position) is not None:
            found = entries.joined(record.held, stored.blob_places, values)
            sealed = yield from self._read(scan, partial(scan.read, stored.blob_places[0]))
            try:
                descriptor = records.unseal(sealed)
            except records.BadDescriptor as error:
                self._name(scan, stored.blob_places[0].offset, f"slot={position}: {error}")
                return
            yield from self._fragments(scan, position, descriptor, found)

    def _by_place(self, scan: Scan) -> Iterator[int]:
        """All that the index names in a segment."""
        key: bytes | None = entries.PREFIX
        while key is not None:
            named, key = self._library.named(key)
            yield _RECORD_BYTES * len(named)
            for position, entry in named:
                parts = entry.fragments.items()
                here = {i: p for i, p in parts if p and p[0].segment == scan.number}
                if entry.descriptor.segment == scan.number or here:
                    yield from self._named(scan, position, entry.descriptor, here)

    def _named(
        self, scan: Scan, position: int, place: Place, here: dict[int, tuple[Place, ...]]
    ) -> Iterator[int]:
        try:
            descriptor = self._library.descriptor(position)
        except Unreadable:
            return  # the library has named it; its fragments cannot be told good from bad
        yield place.length
        yield from self._fragments(scan, position, descriptor, here)

    def _fragments(
        self, scan: Scan, position: int, descriptor: bytes, found: dict[int, tuple[Place, ...]]
    ) -> Iterator[int]:
        """Check those of them that are needed here; drop what is not what the descriptor says."""
        try:
            values = batches.coded_values(descriptor, *self._library.slot(position))
        except (DecodeError, ValueError) as error:
            self._name(scan, 0, f"slot={position}: its descriptor makes no sense: {error}")
            return
        for index, places in found.items():
            for place, value in zip(places, values, strict=False):
                yield place.length
                problem = yield from self._problem(scan, place, value.fragment_digests[index])
                entry = self._library.known(position)
                if entry is None or entry.fragments.get(index) != places:
                    break  # dead, moved or dropped meanwhile
                if problem is not None:
                    self._dropped += 1
                    self._tell(scan, place.offset, f"slot={position} fragment={index}: {problem}")
                    self._library.drop_fragment(position, index)
                    break

    def _problem(
        self, scan: Scan, place: Place, expected: bytes
    ) -> Generator[int, None, Exception | None]:
        """What is wrong with a fragment."""
        try:
            check_fragment((yield from self._read(scan, partial(scan.read, place))), expected)
        except (BadFragment, OSError) as problem:
            return problem
        return None

    def _name(self, scan: Scan, offset: int, what: str) -> None:
        self._damaged += 1
        self._tell(scan, offset, what)

    def _tell(self, scan: Scan, offset: int, what: str) -> None:
        self._report(f"scrub.damaged {self._log.name(scan.number)}: offset {offset}: {what}")

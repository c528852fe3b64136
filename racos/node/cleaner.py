"""Gives space back: removes segments in which nothing is needed, and rewrites those with little.

A segment goes when a start need not read it, when it holds no history from the floor on, and when
the index names nothing in it: all that as the index has it durably, since a start begins from that.
One in which less than a share is named is emptied first: what is named is copied to the log's end,
in slices, at most `bytes_per_second`, and the index names the copies from then on. They are as good
as the originals once the index is durable, and not before; so the segment goes then.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from racos.core.messages import Payload, PayRecord
from racos.core.quorum import bits
from racos.mvcc.shelf import Shelf
from racos.node import entries, records
from racos.node.fetching import AtOnce, Fetching, Reader
from racos.node.library import GRACE_SECONDS, Library
from racos.node.retention import Retention, write_start
from racos.storage.ahead import NotYet
from racos.storage.log import Log, Scan
from racos.storage.scan import Stored

_RECORD_BYTES = 200  # what looking at a record costs at least, as bytes of the allowance
# Copied in one go: each is written and synced before what clients write next. At the usual pace of
# the ticks this is as much as the usual rate allows.
_SLICE_BYTES_MAX = 192 << 10
_READ_BYTES = 256 << 10  # at once


class Space(NamedTuple):
    """Bounds of the background work."""

    bytes_per_second: int = 32 << 20  # copied
    live_share_max: float = 0.5  # a segment of which more is needed is left alone
    history_bytes: int = 256 << 20  # of log kept for replicas that are away
    grace_seconds: float = GRACE_SECONDS  # in which values nobody refers to are still served


class SpaceStatistics(NamedTuple):
    """Since the start, but for the first two."""

    live_bytes: int  # of the log, named by the index
    floor: int  # position below which history is forgotten
    removed_segments: int
    removed_bytes: int
    rewritten_segments: int
    copied_bytes: int
    damaged: int  # records found damaged while rewriting


class Cleaner:
    """One per node. `append` puts a record into the log and the library, and `reserve_again` the
    reservation into the log; both return its sequence."""

    __slots__ = (
        "_allowance",
        "_append",
        "_condemned",
        "_copied",
        "_damaged",
        "_emptying",
        "_fetching",
        "_given_up",
        "_library",
        "_log",
        "_now",
        "_record",
        "_removed_bytes",
        "_removed_segments",
        "_report",
        "_reserve_again",
        "_retention",
        "_rewritten",
        "_scan",
        "_shelf",
        "limits",
    )

    def __init__(
        self,
        log: Log,
        shelf: Shelf,
        library: Library,
        retention: Retention,
        append: Callable[[PayRecord], int],
        reserve_again: Callable[[], int],
        report: Callable[[str], None],
        limits: Space | None = None,
        reader: Reader | None = None,
    ) -> None:
        self._fetching = Fetching(reader or AtOnce())
        self.limits = limits or Space()
        self._log = log
        self._shelf = shelf
        self._library = library
        self._retention = retention
        self._append = append
        self._reserve_again = reserve_again
        self._report = report
        self._now = 0.0
        self._allowance = 0.0  # bytes that may be copied now
        self._scan: Scan | None = None  # of the segment that is being emptied
        self._record: Stored | None = None  # of it, which is being copied
        self._emptying = 0
        self._given_up: set[int] = set()  # segments that could not be emptied: damage in them
        self._condemned: dict[int, int] = {}  # segment -> log sequence when nothing was left in it
        self._removed_segments = self._removed_bytes = 0
        self._rewritten = self._copied = self._damaged = 0

    def floor(self, frontiers: int, own: int) -> int:
        """Position below which history may go: all replicas said that they are past it, or it takes
        more than `history_bytes` to keep it for one that is not.
        """
        kept = 0
        for number in reversed(self._log.segments):
            kept += self._log.segment_size(number)
            if kept > self.limits.history_bytes:
                return min(own, max(frontiers, self._retention.highest(number) + 1))
        return min(own, frontiers)

    def tick(self, now: float, *, may_copy: bool = True) -> None:
        """Some work; call it when the index has no open step."""
        earned = self.limits.bytes_per_second * (now - self._now)
        burst = min(_SLICE_BYTES_MAX, self.limits.bytes_per_second)
        self._allowance = min(self._allowance + earned, burst)
        self._now = now
        if not self._library.loaded:
            return
        self._remove()
        self._condemn()
        if not may_copy:
            return
        if self._scan is None:
            self._choose()
        while self._scan is not None and self._allowance > 0 and not self._fetching.busy:
            self._step(self._scan)

    def _below(self) -> int:
        """Segments before this one hold neither promises that a start needs, nor history."""
        floor = self._retention.first(self._library.past.floor, self._log.last_segment)
        return min(self._retention.start, floor, self._log.durable_segment)

    def _condemn(self) -> None:
        """Note segments in which nothing is left, in a step of the index with a record of its own:
        when that step is durable, so is all that emptied them."""
        library, below = self._library, self._below()
        empty = [
            number
            for number in self._log.segments
            if number < below
            and not library.live[number]
            and not library.serving[number]
            and number not in self._condemned
            and number != self._emptying
        ]
        if empty:
            sequence = self._reserve_again()
            write_start(self._shelf, self._retention.start)
            self._shelf.commit(sequence)
            self._condemned.update(dict.fromkeys(empty, sequence))

    def _remove(self) -> None:
        if not self._condemned or self._shelf.flushing:
            return
        durable = self._shelf.flushed_sequence
        going = [number for number, since in self._condemned.items() if since <= durable]
        if not going:
            if min(self._condemned.values()) <= self._log.durable_sequence:
                self._shelf.flush()
            return
        for number in going:
            del self._condemned[number]
            self._removed_bytes += self._log.segment_size(number)
        self._removed_segments += len(going)
        self._log.remove(going)
        self._retention.forget(self._below())

    def _choose(self) -> None:
        """The segment with the least in it, if that is little enough."""
        live, share = self._library.live, self.limits.live_share_max
        below = self._below()
        little = [
            (live[number] / size, number)
            for number in self._log.segments
            if number < below
            and 0 < live[number] < share * (size := self._log.segment_size(number))
            and number not in self._given_up
        ]
        if little:
            self._emptying = min(little)[1]
            self._scan = self._log.scan(self._emptying, ahead_bytes=_READ_BYTES, may_wait=False)

    def _step(self, scan: Scan) -> None:
        """One record; again from its beginning once what it takes is in memory."""
        self._allowance -= _RECORD_BYTES
        try:
            stored = self._record = self._record or scan.next()
            if stored is None or not self._library.live[self._emptying]:
                self._finish(scan)
            elif stored.kind in (records.Kind.PAY, records.Kind.KEPT):
                self._keep(scan, stored)
        except NotYet:
            self._fetching.start(scan)
        except OSError as error:
            self._report(f"log.unreadable {self._log.name(self._emptying)}: {error.strerror}")
            self._finish(scan)
        else:
            self._record = None

    def _finish(self, scan: Scan) -> None:
        scan.close()
        self._scan = self._record = None
        self._rewritten += 1
        if left := self._library.live[self._emptying]:
            self._given_up.add(self._emptying)
            self._report(f"log.damaged segment={self._emptying}: {left} bytes cannot be moved")
        self._emptying = 0

    def _keep(self, scan: Scan, stored: Stored) -> None:
        """Copy what the index still names in this record."""
        decoded, values = records.decode(stored.kind, stored.header)
        assert isinstance(decoded, PayRecord)
        position = self._library.position(decoded)
        entry = self._library.settled(position)
        if entry is None:
            return
        found = entries.joined(decoded.held, stored.blob_places, values) if values else {}
        wanted = {i: places for i, places in found.items() if entry.fragments.get(i) == places}
        if not wanted and entry.descriptor != stored.blob_places[0]:
            return
        if not scan.intact(stored):
            self._drop(position, sum([1 << index for index in wanted]))
            return
        read = scan.read
        fragments = {i: [read(place) for place in places] for i, places in wanted.items()}
        held = sum([1 << index for index in fragments])
        payload = Payload(records.unseal(read(stored.blob_places[0])), True, fragments)
        size = sum([len(part) for parts in fragments.values() for part in parts])
        self._allowance -= size
        self._copied += size
        self._append(decoded._replace(payload=payload, held=held, says_one=False))

    def _drop(self, position: int, mask: int) -> None:
        """Damaged: not copied, not served again; the healer replaces what it can."""
        self._damaged += 1
        self._report(f"log.damaged segment={self._emptying} slot={position}: not moved")
        for index in bits(mask):
            self._library.drop_fragment(position, index)

    def statistics(self) -> SpaceStatistics:
        return SpaceStatistics(
            live_bytes=self._library.live_bytes,
            floor=self._library.past.floor,
            removed_segments=self._removed_segments,
            removed_bytes=self._removed_bytes,
            rewritten_segments=self._rewritten,
            copied_bytes=self._copied,
            damaged=self._damaged,
        )

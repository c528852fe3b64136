"""Reads a whole log, changes nothing, and tells everything that is wrong with it.

A start (racos.storage.replay) stops at the first damage in what it has to read. This goes on behind
it, also through the segments that a start does not read, and says of each finding what it means.
What counts as durable, and so as damage when it cannot be read, is the same.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import NamedTuple

from racos.storage.disk import Disk
from racos.storage.identity import Identity
from racos.storage.mark import MARK_NAME, read_mark
from racos.storage.record import (
    SEGMENT_HEADER_BYTES,
    BadHeader,
    SegmentHeader,
    parse_segment_header,
)
from racos.storage.removed import REMOVED_NAME, Removed, Unreadable, read_removed
from racos.storage.scan import Scan, Stored
from racos.storage.segment import Damaged, segment_name
from racos.storage.vow import VOW_NAME, read_vow

__all__ = ["Finding", "Survey"]

_STOPS = "a start has to read it and stops here, or rebuilds this member from the others"
_VALUES = "it only keeps values: fragments in it come again from the other members"


class Finding(NamedTuple):
    """Something that is not as it should be, for a person."""

    path: str
    offset: int | None  # in that file
    what: str
    means: str
    is_damage: bool = True  # or only worth knowing

    def __str__(self) -> str:
        where = self.path if self.offset is None else f"{self.path}: offset {self.offset}"
        return f"{'' if self.is_damage else 'note: '}{where}: {self.what}; {self.means}"


class Survey:
    """One reading of a log, of which a start reads the segments from `start` on.

    `tell` gets each finding, `visit` each sound record with the scan that it can be read from,
    `read` the bytes read since it was called last.
    """

    def __init__(
        self,
        disk: Disk,
        owner: Identity | None,
        start: int,
        tell: Callable[[Finding], None],
        visit: Callable[[Scan, Stored], None],
        read: Callable[[int], None],
    ) -> None:
        self._disk = disk
        self._owner = owner
        self._start = start
        self._tell = tell
        self._visit = visit
        self._read = read
        self._durable = 0  # the highest sequence that is known to have been durable
        self.headers: dict[int, SegmentHeader] = {}
        self.records = 0  # sound ones
        self.last_sequence = 0
        self.is_whole = True  # no segment was ever removed

    def run(self) -> None:
        self._vow()
        removed = self._removed()
        numbers = self._numbers(removed)
        self._durable = self._mark()
        for number in numbers:
            header = self._header(number)
            if header is not None:
                self.headers[number] = header
        for number, header in self.headers.items():
            self._segment(header, is_last=number == numbers[-1])
        if not numbers and (self._durable or (removed is not None and removed.last)):
            self._damage(1, None, "log is missing, but records of it were synced", _STOPS)

    # -- the files ---------------------------------------------------------------------------------

    def _vow(self) -> None:
        path = self._disk.path(VOW_NAME)
        try:
            written = read_vow(self._disk)
        except Damaged:
            means = "a start cannot tell what was promised: it puts the log aside"
            self._tell(Finding(path, None, "the vow is damaged", means))
            return
        if written is not None and not written.kept:
            means = "it is silent until it has taken everything from the others"
            self._tell(Finding(path, None, "this member has no memory", means, is_damage=False))

    def _removed(self) -> Removed | None:
        try:
            removed = read_removed(self._disk)
        except Unreadable as error:
            means = "a start cannot tell removed segments from lost ones and stops here"
            self._tell(Finding(self._disk.path(REMOVED_NAME), None, str(error), means))
            self.is_whole = False
            return None
        self.is_whole = not removed.ranges
        return removed

    def _numbers(self, removed: Removed | None) -> list[int]:
        found = []
        for name in sorted(self._disk.list()):
            stem = name.removesuffix(".log")
            if stem == name:
                continue
            try:
                found.append(int(stem, 16))
            except ValueError:
                path = self._disk.path(name)
                self._tell(Finding(path, None, "is not a log segment", "a start stops here"))
        if removed is None:
            return found
        for number in [number for number in found if number in removed]:
            means = "a crash left it, the next start removes it"
            self._note(number, None, "was removed already", means)
        numbers = [number for number in found if number not in removed]
        for number in range(1, max([*numbers, removed.last])):
            if number not in removed and number not in numbers:
                self._damage(number, None, "log segment is missing", "a start stops here")
        return numbers

    def _mark(self) -> int:
        sequence = read_mark(self._disk)
        if not sequence and MARK_NAME in self._disk.list():
            path = self._disk.path(MARK_NAME)
            means = "it is only a proof of how far the log was synced, and is written again"
            self._tell(Finding(path, None, "cannot be read", means, is_damage=False))
        return sequence

    def _header(self, number: int) -> SegmentHeader | None:
        """A segment's header, if the segment can be read with it."""
        with closing(self._disk.open(segment_name(number))) as file:
            data = file.read(0, SEGMENT_HEADER_BYTES)
        try:
            header = parse_segment_header(data)
        except BadHeader as error:
            means = "nothing in this segment can be read, and a start stops here"
            self._damage(number, 0, str(error), means)
            return None
        owner = self._owner
        if owner is not None and header.cluster_id != owner.cluster_id:
            wrong = f"is of cluster {header.cluster_id:x}, not {owner.cluster_id:x}"
        elif owner is not None and header.member_id != owner.member_id:
            wrong = f"is of member {header.member_id:x}, not {owner.member_id:x}"
        elif header.number != number:
            wrong = f"is segment {header.number} under a wrong name"
        else:
            return header
        self._damage(number, 0, wrong, "it was not read, and a start stops here")
        return None

    # -- records -----------------------------------------------------------------------------------

    def _segment(self, header: SegmentHeader, *, is_last: bool) -> None:
        behind = self.headers.get(header.number + 1)
        last = None if behind is None else behind.first_sequence - 1
        with closing(Scan(self._disk.open(segment_name(header.number)), header, last)) as scan:
            try:
                while self._record(scan, header.number, is_last=is_last):
                    pass
            except OSError as error:  # a sector that is gone
                what = f"cannot be read: {error.strerror or error}"
                self._damage(header.number, scan.offset, what, self._meaning(header.number))
                return
            if not is_last and scan.ended and not scan.is_clean():
                what = "bytes behind the last record are not zero"
                self._note(header.number, scan.offset, what, "nothing was kept there")
        self.last_sequence = max(self.last_sequence, scan.sequence - 1)

    def _record(self, scan: Scan, number: int, *, is_last: bool) -> bool:
        """Look at the next record; whether to go on."""
        before = scan.offset
        stored = scan.next()
        if stored is None:
            return self._end(scan, number, is_last=is_last)
        self._durable = max(self._durable, stored.head.durable)
        if scan.intact(stored):
            self.records += 1
            self._visit(scan, stored)
        else:
            sequence = stored.head.sequence
            if is_last and not self._was_promised(scan, sequence):
                self._tail(number, before)
                return False
            what = f"record {sequence} ({stored.head.body_length} bytes) is damaged"
            self._damage(number, before, what, self._meaning(number))
        self._read(scan.offset - before)
        return True

    def _end(self, scan: Scan, number: int, *, is_last: bool) -> bool:
        """No record can be read here: the end, a tail that was never promised, or damage."""
        first, offset = scan.sequence, scan.offset
        if is_last and not self._was_promised(scan, first):
            if not scan.is_clean():
                self._tail(number, offset)
            return False
        if not is_last and scan.ended:
            return False
        more = scan.skip()
        lost = f"records {first} to {scan.sequence - 1}" if more else f"records from {first} on"
        self._damage(number, offset, f"{lost} cannot be read", self._meaning(number))
        self._read(scan.offset - offset)
        return more

    def _was_promised(self, scan: Scan, sequence: int) -> bool:
        """Whether a record of the last segment that cannot be read is known to have been synced."""
        return self._durable >= sequence or any(
            head.durable >= sequence for _, head in scan.heads()
        )

    # -- telling -----------------------------------------------------------------------------------

    def _meaning(self, number: int) -> str:
        return _STOPS if number >= self._start else _VALUES

    def _tail(self, number: int, offset: int) -> None:
        what = "an unfinished write, as a crash leaves it"
        self._note(number, offset, what, "nothing of it was promised, the next start cuts it")

    def _damage(self, number: int, offset: int | None, what: str, means: str) -> None:
        self._tell(Finding(self._disk.path(segment_name(number)), offset, what, means))

    def _note(self, number: int, offset: int | None, what: str, means: str) -> None:
        path = self._disk.path(segment_name(number))
        self._tell(Finding(path, offset, what, means, is_damage=False))

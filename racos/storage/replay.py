"""Reading a log back: every CRC checked, and damage told apart from a torn tail.

A crash may leave any part of what was written after the last sync. Those records were never
promised: the tail is cut. A record that was promised and cannot be read is damage, which must never
be cut: the replica stops and has to be repaired. What proves that record s was durable:

- a later segment exists, because a segment is created only after the one before it was synced;
- the mark file says so (written without sync after each sync, so it never claims too much);
- any later record with a valid head was queued when s was already known to be durable.

The limit: if power is lost before the mark reached the disk (the kernel writes it within about
30 s) and rot then hits the very last batch, nothing can tell it from a torn tail.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import NamedTuple

from racos.storage.disk import Disk, File
from racos.storage.record import (
    HEAD_BYTES,
    MAGIC,
    SEGMENT_HEADER_BYTES,
    Head,
    SegmentHeader,
    blob_lengths,
    body_crc,
    parse_head,
)
from racos.storage.segment import Damaged, LogError, Place, Window, segment_name

__all__ = ["Replayed", "Reader"]

_COPY_BYTES = 1 << 20


class Replayed(NamedTuple):
    """One record read back. Blobs were checked but are not kept: read them by place."""

    kind: int
    header: bytes
    sequence: int
    header_place: Place
    blob_places: tuple[Place, ...]


class Reader:
    """Reads segments in order, once; writes nothing before all of them were found sound.

    The headers are of consecutive segments, the log's last one among them.
    """

    def __init__(self, disk: Disk, headers: Sequence[SegmentHeader], mark_sequence: int) -> None:
        self._disk = disk
        self._headers = headers
        self._durable = mark_sequence  # highest sequence proven durable by evidence read so far
        self._unproven: deque[tuple[int, int]] = deque()  # (sequence, offset) in the last segment
        self.sequence = headers[0].first_sequence - 1  # of the last record read
        self.end = SEGMENT_HEADER_BYTES  # offset after it in the last segment
        self.sizes: dict[int, int] = {}  # used bytes of each segment, its header included

    @property
    def proven(self) -> int:
        """Up to which of the records read so far they are known to be durable."""
        return min(self._durable, self.sequence)

    def records(self) -> Iterator[Replayed]:
        """All records; then the tail is cut and the rest made durable. LogError on damage."""
        last = self._headers[-1]
        for index, header in enumerate(self._headers):
            if header.first_sequence != self.sequence + 1:
                raise self._damage(self._headers[index - 1], "a later segment exists")
            # A segment is created only after everything before it was synced.
            self._durable = max(self._durable, self.sequence)
            self._unproven.clear()
            self.end = SEGMENT_HEADER_BYTES
            file = self._disk.open(segment_name(header.number))
            with closing(file):
                window = Window(file)
                yield from self._segment(header, window)
                self.sizes[header.number] = self.end
                if header is last:
                    self._check_end(header, window)
                    self._settle(window, file)

    def _segment(self, header: SegmentHeader, window: Window) -> Iterator[Replayed]:
        while True:
            offset = self.end
            head = parse_head(window.get(offset, HEAD_BYTES), 0, header.salt)
            if head is None or head.sequence != self.sequence + 1:
                return
            body = offset + HEAD_BYTES
            crc = header.salt
            for chunk in window.chunks(body, head.body_length):
                crc = body_crc(chunk, crc)
            if crc != head.body_crc or body + head.body_length > window.size:
                return
            self.sequence = head.sequence
            self.end = body + head.body_length
            self._note(head, offset)
            yield self._replayed(head, header.number, window, body)

    def _replayed(self, head: Head, number: int, window: Window, body: int) -> Replayed:
        start = window.get(body, head.header_length + 4 * head.blob_count)
        lengths = blob_lengths(head, start)
        offset = self.end - sum(lengths)
        places = []
        for length in lengths:
            places.append(Place(number, offset, length))
            offset += length
        header_place = Place(number, body, head.header_length)
        header = bytes(start[: head.header_length])
        return Replayed(head.kind, header, head.sequence, header_place, tuple(places))

    def _note(self, head: Head, offset: int) -> None:
        """Keep count of what is proven durable, and where the first unproven record begins."""
        self._durable = max(self._durable, head.durable)
        self._unproven.append((head.sequence, offset))
        while self._unproven and self._unproven[0][0] <= self._durable:
            self._unproven.popleft()

    def _check_end(self, header: SegmentHeader, window: Window) -> None:
        """LogError if the record expected at the end was promised."""
        missing = self.sequence + 1
        if self._durable >= missing:
            raise self._damage(header, f"records up to {self._durable} were synced")
        for offset in window.find(MAGIC, self.end):
            head = parse_head(window.get(offset, HEAD_BYTES), 0, header.salt)
            if head is not None and head.durable >= missing:
                raise self._damage(header, f"offset {offset} shows that it was synced")

    def _settle(self, window: Window, file: File) -> None:
        """Cut the tail and make durable what was read.

        What was read may be in the kernel's cache only, even marked clean after a failed sync. So
        the records not proven durable are written again, as they are, before anyone relies on them.
        """
        if not window.is_zero(self.end):
            file.truncate(self.end)
        start = self._unproven[0][1] if self._unproven else self.end
        for offset in range(start, self.end, _COPY_BYTES):
            piece = file.read(offset, min(_COPY_BYTES, self.end - offset))
            file.write(piece, offset)
        file.sync()
        self._disk.sync_directory()

    def _damage(self, header: SegmentHeader, proof: str) -> LogError:
        path = self._disk.path(segment_name(header.number))
        return Damaged(
            f"{path}: damaged at offset {self.end}: record {self.sequence + 1} cannot be read, "
            f"but {proof}; nothing was changed"
        )

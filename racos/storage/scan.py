"""Walking through a complete segment without reading the values in it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from racos.storage.ahead import Ahead
from racos.storage.disk import File
from racos.storage.record import (
    HEAD_BYTES,
    MAGIC,
    SEGMENT_HEADER_BYTES,
    BadHeader,
    Head,
    SegmentHeader,
    blob_lengths,
    body_crc,
    parse_head,
    parse_segment_header,
)
from racos.storage.segment import Place, Window

__all__ = ["Scan", "Stored"]


class Stored(NamedTuple):
    """A record where it stands. Its head was checked; `Scan.intact` checks the rest."""

    kind: int
    header: bytes
    blob_places: tuple[Place, ...]
    head: Head
    body: int  # offset


class Scan:
    """Records of one segment, one at a time. A damaged head ends it like the segment's end; `ended`
    tells the two apart, and `skip` goes on behind it.

    With `may_wait` off every reading method raises NotYet (racos.storage.ahead) instead of waiting
    for the disk, and is called again once `file` has fetched what it wanted.
    """

    __slots__ = ("_header", "_last", "_window", "file", "offset", "sequence")

    def __init__(
        self,
        file: File,
        header: SegmentHeader,
        last: int | None = None,
        *,
        ahead_bytes: int = 0,
        may_wait: bool = True,
    ) -> None:
        """`last`: sequence of the segment's last record, where it is known; nothing behind it is
        looked at. `ahead_bytes`: read from the disk at once, if not the usual megabyte."""
        self.file = Ahead(file)
        self.file.may_wait = may_wait
        self._header = header
        self._last = last
        self._window = Window(self.file, ahead_bytes) if ahead_bytes else Window(self.file)
        self.sequence = header.first_sequence  # of the next record
        self.offset = SEGMENT_HEADER_BYTES  # likewise

    def next(self) -> Stored | None:
        """The next record; None at the end."""
        window, body = self._window, self.offset + HEAD_BYTES
        if self._last is not None and self.sequence > self._last:
            return None
        head = self._head(self.offset)
        if head is None or head.sequence != self.sequence:
            return None
        if body + head.body_length > window.size:
            return None
        start = window.get(body, head.header_length + 4 * head.blob_count)
        lengths = blob_lengths(head, start)
        self.offset = body + head.body_length
        self.sequence += 1
        offset = self.offset - sum(lengths)
        places = []
        for length in lengths:
            places.append(Place(self._header.number, offset, length))
            offset += length
        return Stored(head.kind, bytes(start[: head.header_length]), tuple(places), head, body)

    @property
    def ended(self) -> bool:
        """Whether `next` gave None because there is nothing more, as opposed to damage. Where the
        last record is not known, zeros count as the end."""
        if self._last is not None:
            return self.sequence > self._last
        return not any(self._window.get(self.offset, HEAD_BYTES))

    def skip(self) -> bool:
        """Go on at the next sound head behind a damaged one; whether there is any. Waits."""
        self.file.may_wait, before = True, self.file.may_wait
        try:
            return self._skip()
        finally:
            self.file.may_wait = before

    def _skip(self) -> bool:
        for offset, head in self.heads():
            fits = offset + HEAD_BYTES + head.body_length <= self._window.size
            if fits and (offset > self.offset or head.sequence > self.sequence):
                self.offset, self.sequence = offset, head.sequence
                return True
        return False

    def heads(self) -> Iterator[tuple[int, Head]]:
        """(offset, head) of all sound heads from here on, whatever lies between them."""
        for offset in self._window.find(MAGIC, self.offset):
            head = self._head(offset)
            if head is not None and head.sequence >= self.sequence:
                yield offset, head

    def is_clean(self) -> bool:
        """Whether there are only zeros from here on."""
        return self._window.is_zero(self.offset)

    def body(self, stored: Stored) -> Iterator[memoryview]:
        """The record's body in pieces of bounded size."""
        return self._window.chunks(stored.body, stored.head.body_length)

    def piece(self, offset: int, length: int) -> memoryview:
        """The bytes from an offset on, as many of them as are read at once."""
        return self._window.piece(offset, length)

    def header_intact(self) -> bool:
        """Whether the segment's header is on the disk as it is known here."""
        try:
            found = parse_segment_header(bytes(self._window.get(0, SEGMENT_HEADER_BYTES)))
        except BadHeader:
            return False
        return found == self._header

    def intact(self, stored: Stored) -> bool:
        """Whether the record's body is what was written. Reads all of it, in one piece."""
        body = self._window.get(stored.body, stored.head.body_length)
        return body_crc(body, self._header.salt) == stored.head.body_crc

    def read(self, place: Place) -> bytes:
        """A blob of this segment; fewer bytes only where the file ends."""
        return bytes(self._window.get(place.offset, place.length))

    @property
    def number(self) -> int:
        """The segment's."""
        return self._header.number

    @property
    def salt(self) -> int:
        """What the CRC of a body starts from."""
        return self._header.salt

    def close(self) -> None:
        self.file.close()

    def _head(self, offset: int) -> Head | None:
        return parse_head(self._window.get(offset, HEAD_BYTES), 0, self._header.salt)

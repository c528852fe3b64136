"""Walking through a complete segment without reading the values in it."""

from __future__ import annotations

from typing import NamedTuple

from racos.storage.disk import File
from racos.storage.record import (
    HEAD_BYTES,
    SEGMENT_HEADER_BYTES,
    Head,
    SegmentHeader,
    blob_lengths,
    body_crc,
    parse_head,
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
    """Records of one segment, one at a time. A damaged head ends it like the segment's end: who
    relies on having seen everything must know by other means what there is to see.
    """

    __slots__ = ("_file", "_header", "_sequence", "_window", "offset")

    def __init__(self, file: File, header: SegmentHeader) -> None:
        self._file = file
        self._header = header
        self._window = Window(file)
        self._sequence = header.first_sequence
        self.offset = SEGMENT_HEADER_BYTES  # of the next record

    def next(self) -> Stored | None:
        """The next record; None at the end."""
        window, body = self._window, self.offset + HEAD_BYTES
        head = parse_head(window.get(self.offset, HEAD_BYTES), 0, self._header.salt)
        if head is None or head.sequence != self._sequence:
            return None
        if body + head.body_length > window.size:
            return None
        start = window.get(body, head.header_length + 4 * head.blob_count)
        lengths = blob_lengths(head, start)
        self.offset = body + head.body_length
        self._sequence += 1
        offset = self.offset - sum(lengths)
        places = []
        for length in lengths:
            places.append(Place(self._header.number, offset, length))
            offset += length
        return Stored(head.kind, bytes(start[: head.header_length]), tuple(places), head, body)

    def intact(self, stored: Stored) -> bool:
        """Whether the record's body is what was written. Reads all of it."""
        crc = self._header.salt
        for chunk in self._window.chunks(stored.body, stored.head.body_length):
            crc = body_crc(chunk, crc)
        return crc == stored.head.body_crc

    def close(self) -> None:
        self._file.close()

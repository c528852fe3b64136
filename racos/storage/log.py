"""The replica's log: append-only, checksummed, in segments, with one sync for all that waits.

Records are appended in memory and get their place at once. `take` hands everything queued to a
batch; `Batch.run` writes and syncs it in any thread; `done`, on the owner's thread again, says up
to where the log is durable. One batch is in flight at a time: a slow disk makes batches larger.

A write or sync error is final: `Batch.run` raises, nothing of the batch may be relied on, and the
process must end. Never retry: the kernel may have dropped the pages and would call the retry a
success. The next start re-reads, checks and rewrites what it keeps.

Whole segments may be removed, in any order but never the last; the log then begins later, or has
gaps, and a replay begins behind them. Who removes one says by that that no replay needs it any more
and that nothing in it is referred to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from racos.storage.ballast import Ballast
from racos.storage.batch import Batch, Write
from racos.storage.disk import Buffer, Disk, File
from racos.storage.mark import Mark, read_mark
from racos.storage.record import (
    HEAD_BYTES,
    RECORD_BYTES_MAX,
    SEGMENT_HEADER_BYTES,
    BadHeader,
    OtherFormat,
    SegmentHeader,
    encode,
    parse_segment_header,
)
from racos.storage.removed import REMOVED_NAME, Removed, Unreadable, read_removed
from racos.storage.replay import Reader, Replayed
from racos.storage.scan import Scan
from racos.storage.segment import (
    Damaged,
    LogError,
    Place,
    create_segment,
    segment_name,
    segment_numbers,
)

__all__ = [
    "Appended",
    "Batch",
    "Damaged",
    "Log",
    "LogError",
    "Place",
    "Replayed",
    "Scan",
    "Statistics",
]

SEGMENT_BYTES = 64 << 20
_FILES_OPEN_MAX = 128


class Appended(NamedTuple):
    """Where an appended record will be."""

    sequence: int
    header: Place
    blobs: tuple[Place, ...]


class Statistics(NamedTuple):
    """What the log did since it was opened, and its size now."""

    appended_records: int
    synced_batches: int
    written_bytes: int  # of records; zeros written ahead are not counted
    queued_bytes: int
    size_bytes: int  # on the disk, once what is queued is there
    segments: int
    removed_segments: int


class Log:
    """One replica's log. All methods belong to one thread; only `Batch.run` may run elsewhere.

    Sequences count records from 1 without gaps; durable_sequence <= last_sequence.
    """

    def __init__(
        self,
        disk: Disk,
        segment_bytes: int,
        headers: list[SegmentHeader],
        removed: Removed,
        leftovers: list[int],
        ballast: Ballast | None,
    ) -> None:
        """Use `Log.open`."""
        self._ballast = ballast
        self._disk = disk
        self._segment_bytes = segment_bytes
        self._headers = {header.number: header for header in headers}
        self._removed = removed
        self._leftovers = leftovers  # segments that are removed, but for their files
        self._going: list[int] = []  # to be removed by the next batch
        self._gone = 0
        self._sizes: dict[int, int] = {}  # of segments but the last, in bytes
        self._header = headers[-1]
        self._files: dict[int, File] = {}  # the oldest opened is closed first
        self._writing = headers[-1].number  # segment that the batch in flight begins in
        self._mark: Mark | None = None  # open once the log may be appended to
        self._position = SEGMENT_HEADER_BYTES  # where the next record goes, in the last segment
        self._zeroed_to = 0
        self._queue: list[Write] = []
        # Buffers of records not durable yet, by (segment, offset): they are read from here.
        self._pending: dict[tuple[int, int], Buffer] = {}
        self._keys: list[tuple[int, int]] = []  # those of them that are queued
        self._flight_keys: list[tuple[int, int]] = []  # and those in flight
        self._flight: Batch | None = None
        self._replayed_sequence = 0
        self._batches = 0
        self._written_bytes = 0
        self.last_sequence = 0
        self.durable_sequence = 0
        self.queued_bytes = 0  # appended, not durable yet
        self.size_bytes = 0  # of all records, and of the segments' headers

    @classmethod
    def open(
        cls,
        disk: Disk,
        *,
        member_id: int,
        cluster_id: int,
        segment_bytes: int = SEGMENT_BYTES,
        ballast: Ballast | None = None,
    ) -> Log:
        """The log in this directory, made if there is none. Then call `replay`.

        Writes that find no space take it from `ballast`.

        LogError, with nothing overwritten, if it belongs to another member or cluster, has a newer
        format, or a segment is missing or its header damaged.
        """
        try:
            removed = read_removed(disk)
        except Unreadable as error:
            raise Damaged(f"{disk.path(REMOVED_NAME)}: {error}") from None
        numbers, leftovers = segment_numbers(disk, removed)
        headers = [_read_header(disk, number, member_id, cluster_id) for number in numbers]
        if not headers:
            if durable := read_mark(disk) or removed.last:
                path = disk.path(segment_name(removed.last + 1))
                raise Damaged(f"{path}: log is missing, but records up to {durable} were synced")
            headers.append(SegmentHeader(1, 1, member_id, cluster_id, _salt(disk)))
            create_segment(disk, headers[0]).close()
        return cls(disk, segment_bytes, headers, removed, leftovers, ballast)

    @property
    def segments(self) -> list[int]:
        """Numbers of the segments that are there, ascending."""
        return list(self._headers)

    @property
    def is_whole(self) -> bool:
        """Whether no segment was ever removed."""
        return not self._removed.ranges

    def replay(self, start: int = 1) -> Iterator[Replayed]:
        """The records of segment `start` and all later ones in order, once, after `open`.

        Exhaust it before appending. Streams: blobs are checked but not kept. Segments before
        `start` are not read: they only keep values. LogError on damage, with nothing overwritten,
        or if one of the segments is not there. A torn tail is cut durably before the iterator ends.
        """
        assert self._mark is None, "the log was replayed already"
        reader = Reader(self._disk, self._headers_from(start), read_mark(self._disk))
        for entry in reader.records():
            self.last_sequence = entry.sequence
            self.durable_sequence = reader.proven
            yield entry
        self._replayed_sequence = self.last_sequence = self.durable_sequence = reader.sequence
        self._position = reader.end
        self._sizes = {number: self._size_on_disk(number) for number in self._headers}
        self._sizes.update(reader.sizes)
        self.size_bytes = sum(self._sizes.values())
        for number in self._leftovers:
            self._disk.remove(segment_name(number))
        self._mark = Mark(self._disk)
        self._mark.write(self.durable_sequence)

    def _headers_from(self, start: int) -> list[SegmentHeader]:
        last = self._header.number
        for number in range(start, max(start, last) + 1):
            if number not in self._headers:
                path = self._disk.path(segment_name(number))
                why = "was removed" if number in self._removed else "is not there"
                raise Damaged(f"{path}: a start has to read this log segment, but it {why}")
        return [self._headers[number] for number in range(start, last + 1)]

    def _size_on_disk(self, number: int) -> int:
        file = self._disk.open(segment_name(number))
        size = file.size()
        file.close()
        return size

    def remove(self, numbers: Iterable[int]) -> None:
        """Remove segments with the next batch. All that is in them must be durable.

        Their records cannot be read from now on.
        """
        going = sorted(numbers)
        assert all(number < self._writing for number in going), "a segment that is written"
        for number in going:
            del self._headers[number]
            self.size_bytes -= self._sizes.pop(number)
            file = self._files.pop(number, None)
            if file is not None:
                file.close()
        self._going += going
        self._removed = self._removed.added(going)
        self._gone += len(going)

    @property
    def is_removing(self) -> bool:
        """Whether segments wait for the next batch to remove them."""
        return bool(self._going)

    def scan(self, number: int, *, ahead_bytes: int = 0, may_wait: bool = True) -> Scan:
        """The durable records of a segment; close it when done."""
        assert number <= self._writing, "a segment that is not there yet"
        behind = self._headers.get(number + 1)
        last = None if behind is None else behind.first_sequence - 1
        if number == self._writing:
            last = self.durable_sequence if last is None else min(last, self.durable_sequence)
        file = self._disk.open(segment_name(number))
        return Scan(file, self._headers[number], last, ahead_bytes=ahead_bytes, may_wait=may_wait)

    @property
    def last_segment(self) -> int:
        """Number of the segment that records are appended to."""
        return self._header.number

    @property
    def durable_segment(self) -> int:
        """Segments before this one are complete and durable."""
        return self._writing

    def segment_size(self, number: int) -> int:
        """Bytes that a segment has, its header included."""
        return self._sizes.get(number, self._position)

    def append(self, kind: int, header: bytes, blobs: Sequence[Buffer] = ()) -> Appended:
        """Queue a record. No I/O. `kind` is 0..65535.

        The buffers are kept, not copied: do not change them until the record is durable. Callers
        bound what waits by `queued_bytes`.
        """
        assert self._mark is not None, "replay the log before appending"
        sequence = self.last_sequence + 1
        known = self.durable_sequence
        start, size = encode(kind, header, blobs, sequence, known, self._header.salt)
        if size > RECORD_BYTES_MAX:
            raise ValueError(f"record of {size} bytes is over {RECORD_BYTES_MAX}")
        if self._position + size > self._segment_bytes and self._position > SEGMENT_HEADER_BYTES:
            self._rotate(sequence)
            start, size = encode(kind, header, blobs, sequence, known, self._header.salt)
        elif not self._queue:
            self._queue.append(Write(self._header, self._position, creates=False))
        write = self._queue[-1]
        write.buffers.append(start)
        write.buffers.extend(blobs)
        write.size += size
        appended = self._places(sequence, header, blobs, size)
        self._position += size
        self.last_sequence = sequence
        self.queued_bytes += size
        self.size_bytes += size
        return appended

    def take(self) -> Batch | None:
        """Everything queued, to be run; None if nothing is, or a batch is in flight."""
        if self._flight is not None or not (self._queue or self._going):
            return None
        going, self._going = self._going, []
        self._flight = Batch(
            self._disk,
            self._file(self._writing),
            self._queue,
            segment_bytes=self._segment_bytes,
            zeroed_to=self._zeroed_to,
            sequence=self.last_sequence,
            going=going,
            removed=self._removed,
            ballast=self._ballast,
        )
        self._queue = []
        self._keys, self._flight_keys = [], self._keys
        return self._flight

    def done(self, batch: Batch) -> int:
        """Take note that `batch` ran; returns the sequence up to which the log is durable."""
        assert batch is self._flight, "not the batch in flight"
        assert batch.ran, "the batch did not run to its end"
        assert self._mark is not None
        for number, file in batch.opened:
            self._writing = number
            self._keep_open(number, file)
        for key in self._flight_keys:
            del self._pending[key]
        self._flight_keys = []
        self._flight = None
        self._zeroed_to = batch.zeroed_to
        self._batches += 1
        self._written_bytes += batch.size
        self.queued_bytes -= batch.size
        self.durable_sequence = batch.sequence
        self._mark.write(batch.sequence)
        return batch.sequence

    def read(self, place: Place) -> bytes:
        """The bytes at `place`, from memory while they are not durable. Contents are not checked.

        LogError if the place is beyond the end of its segment.
        """
        buffer = self._pending.get((place.segment, place.offset))
        if buffer is not None or place.length == 0:
            return bytes(buffer or b"")[: place.length]
        if place.segment not in self._headers:
            path = self._disk.path(segment_name(place.segment))
            raise LogError(f"{path}: offset {place.offset} is in a segment that was removed")
        data = self._file(place.segment).read(place.offset, place.length)
        if len(data) != place.length:
            path = self._disk.path(segment_name(place.segment))
            raise LogError(f"{path}: {place.length} bytes at offset {place.offset} are not there")
        return data

    def read_now(self, place: Place) -> bytes | None:
        """As `read`; None if that would have to wait for the disk, or the file ends before."""
        buffer = self._pending.get((place.segment, place.offset))
        if buffer is not None or place.length == 0:
            return bytes(buffer or b"")[: place.length]
        if place.segment not in self._headers:
            return None
        data = self._file(place.segment).read_now(place.offset, place.length)
        return data if data is not None and len(data) == place.length else None

    def elsewhere(self, place: Place) -> Callable[[], bytes | None]:
        """Reads the bytes at `place`, which are durable, in any thread; None if that fails: the
        segment may have gone meanwhile."""
        disk, name = self._disk, segment_name(place.segment)

        def read() -> bytes | None:
            try:
                file = disk.open(name)
                try:
                    data = file.read(place.offset, place.length)
                finally:
                    file.close()
            except OSError:
                return None
            return data if len(data) == place.length else None

        return read

    def name(self, segment: int) -> str:
        """How to name a segment to a person."""
        return self._disk.path(segment_name(segment))

    def statistics(self) -> Statistics:
        return Statistics(
            appended_records=self.last_sequence - self._replayed_sequence,
            synced_batches=self._batches,
            written_bytes=self._written_bytes,
            queued_bytes=self.queued_bytes,
            size_bytes=self.size_bytes + max(0, self._zeroed_to - self._position),
            segments=len(self._headers),
            removed_segments=self._gone,
        )

    def close(self) -> None:
        """Close the files. What is queued is dropped: it was promised to nobody."""
        assert self._flight is None or self._flight.ran, "a batch is running"
        for file in self._files.values():
            file.close()
        self._files.clear()
        if self._mark is not None:
            self._mark.close()

    def _rotate(self, first_sequence: int) -> None:
        """Go on in a new segment; the batch that reaches it will make its file."""
        self._sizes[self._header.number] = self._position
        self._header = self._header._replace(
            number=self._header.number + 1,
            first_sequence=first_sequence,
            salt=_salt(self._disk),
        )
        self._headers[self._header.number] = self._header
        self._position = SEGMENT_HEADER_BYTES
        self.size_bytes += SEGMENT_HEADER_BYTES
        self._queue.append(Write(self._header, self._position, creates=True))

    def _places(self, sequence: int, header: bytes, blobs: Sequence[Buffer], size: int) -> Appended:
        """Where the record's parts will be; they can be read there at once."""
        segment = self._header.number
        header_place = Place(segment, self._position + HEAD_BYTES, len(header))
        self._hold(header_place, header)
        if not blobs:
            return Appended(sequence, header_place, ())
        offset = self._position + size - sum(map(len, blobs))
        places = []
        for blob in blobs:
            place = Place(segment, offset, len(blob))
            self._hold(place, blob)
            places.append(place)
            offset += place.length
        return Appended(sequence, header_place, tuple(places))

    def _hold(self, place: Place, buffer: Buffer) -> None:
        if place.length:  # an empty one shares its offset with what follows
            key = (place.segment, place.offset)
            self._pending[key] = buffer
            self._keys.append(key)

    def _file(self, number: int) -> File:
        file = self._files.get(number)
        if file is None:
            file = self._disk.open(segment_name(number))
            self._keep_open(number, file)
        return file

    def _keep_open(self, number: int, file: File) -> None:
        if len(self._files) >= _FILES_OPEN_MAX:
            # Never the one being written: a batch may be using it in another thread.
            oldest = next(key for key in self._files if key < self._writing)
            self._files.pop(oldest).close()
        self._files[number] = file


def _read_header(disk: Disk, number: int, member_id: int, cluster_id: int) -> SegmentHeader:
    """A segment's header, if it is ours; LogError otherwise."""
    name = segment_name(number)
    file = disk.open(name)
    data = file.read(0, SEGMENT_HEADER_BYTES)
    file.close()
    try:
        header = parse_segment_header(data)
    except OtherFormat as error:
        raise LogError(f"{disk.path(name)}: {error}") from None
    except BadHeader as error:
        raise Damaged(f"{disk.path(name)}: {error}") from None
    if header.cluster_id != cluster_id:
        reason = f"belongs to cluster {header.cluster_id:x}, not {cluster_id:x}"
    elif header.member_id != member_id:
        reason = f"belongs to member {header.member_id:x}, not {member_id:x}"
    elif header.number != number or (number == 1 and header.first_sequence != 1):
        reason = f"is segment {header.number} under a wrong name"
        raise Damaged(f"{disk.path(name)}: log {reason}")
    else:
        return header
    raise LogError(f"{disk.path(name)}: log {reason}")


def _salt(disk: Disk) -> int:
    return int.from_bytes(disk.random_bytes(4), "little")

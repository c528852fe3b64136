"""A group commit: everything queued at one moment, written and synced together.

Segments that are to go are removed here as well, so that all work on the disk is in one place and
in whatever thread that is done in.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from racos.storage.ballast import Ballast, insist
from racos.storage.disk import Buffer, Disk, File
from racos.storage.record import SegmentHeader
from racos.storage.removed import Removed, write_removed
from racos.storage.segment import create_segment, segment_name

__all__ = ["Batch", "Write"]

# Small batches find their place already written with zeros, so that a sync changes neither the
# file's size nor its extents (on ext4 that is 110 us against 200 us for 4 KiB).
AHEAD_BYTES = 64 << 10  # for larger batches they would be a large part of what the disk gets
_ZEROS = memoryview(bytes(AHEAD_BYTES))
# Pieces below this are joined before writing; larger ones go to the kernel without a copy.
_JOIN_BYTES_MAX = 16 << 10


class Write:
    """Bytes that go to one segment, contiguous from `offset`."""

    __slots__ = ("buffers", "creates", "header", "offset", "size")

    def __init__(self, header: SegmentHeader, offset: int, *, creates: bool) -> None:
        self.header = header
        self.offset = offset
        self.creates = creates  # whether the segment has to be made first
        self.size = 0  # bytes
        self.buffers: list[Buffer] = []


class Batch:
    """Records on their way to the disk. `run` once, in any thread, then give it to `Log.done`.

    `file` is the segment being written, which holds records or zeros up to `zeroed_to`; both move
    on while `run` works.
    """

    __slots__ = (
        "_ballast",
        "_disk",
        "_going",
        "_removed",
        "_segment_bytes",
        "_writes",
        "file",
        "opened",
        "ran",
        "sequence",
        "size",
        "zeroed_to",
    )

    def __init__(
        self,
        disk: Disk,
        file: File,
        writes: list[Write],
        *,
        segment_bytes: int,
        zeroed_to: int,
        sequence: int,
        going: Sequence[int] = (),
        removed: Removed = Removed(),  # noqa: B008 (a constant)
        ballast: Ballast | None = None,
    ) -> None:
        self._ballast = ballast
        self._disk = disk
        self._going = going  # segments to remove; `removed` lists them already
        self._removed = removed
        self._segment_bytes = segment_bytes
        self._writes = writes
        self.file = file
        self.zeroed_to = zeroed_to
        self.sequence = sequence  # of the last record
        self.size = sum(write.size for write in writes)  # bytes
        self.opened: list[tuple[int, File]] = []  # segments that `run` created
        self.ran = False

    def run(self) -> None:
        """Write and sync. OSError is final: end the process, never retry.

        But for want of space, as long as ballast can be given for it.
        """
        for write in self._writes:
            if write.creates:
                self._create(write.header)
            buffers = self._buffers(write)
            insist(partial(self.file.write_sync, buffers, write.offset), self._ballast, write.size)
        self._remove()
        self.ran = True

    def _create(self, header: SegmentHeader) -> None:
        # All of the segment before is durable here; replay takes that for granted.
        self.file = insist(partial(create_segment, self._disk, header), self._ballast, 0)
        self.zeroed_to = 0
        self.opened.append((header.number, self.file))

    def _remove(self) -> None:
        """A crash after the first step leaves files that the next start removes."""
        if not self._going:
            return
        insist(partial(write_removed, self._disk, self._removed), self._ballast, 0)
        for number in self._going:
            self._disk.remove(segment_name(number))

    def _buffers(self, write: Write) -> list[Buffer]:
        buffers = _joined(write.buffers)
        end = write.offset + write.size
        if end > self.zeroed_to and write.size <= AHEAD_BYTES:
            ahead = max(0, min(AHEAD_BYTES, self._segment_bytes - end))
            buffers.append(_ZEROS[:ahead])
            end += ahead
        self.zeroed_to = max(self.zeroed_to, end)
        return buffers


def _joined(buffers: list[Buffer]) -> list[Buffer]:
    """The same bytes in fewer pieces, without copying large ones."""
    joined: list[Buffer] = []
    small: list[Buffer] = []
    for buffer in buffers:
        if len(buffer) < _JOIN_BYTES_MAX:
            small.append(buffer)
            continue
        if small:
            joined.append(b"".join(small))
            small = []
        joined.append(buffer)
    if small:
        joined.append(b"".join(small))
    return joined

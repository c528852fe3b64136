"""The mark file: up to which record the log was synced; written after each sync, not synced itself.

It outlives a killed process and, once the kernel wrote it, a power loss. It may lag, never lead, so
it is only ever used as proof that a record which cannot be read had been promised.
"""

from __future__ import annotations

import struct

from crc32c import crc32c

from racos.storage.ballast import NO_SPACE
from racos.storage.disk import Disk, File

__all__ = ["MARK_NAME", "Mark", "read_mark"]

MARK_NAME = "durable.mark"
_LAYOUT = struct.Struct("<QI")  # sequence, CRC of it
_SEQUENCE = struct.Struct("<Q")


class Mark:
    """The mark file, open for writing; made if it is missing."""

    __slots__ = ("_file",)

    def __init__(self, disk: Disk) -> None:
        exists = MARK_NAME in disk.list()
        self._file: File = disk.open(MARK_NAME) if exists else disk.create(MARK_NAME)
        if not exists:
            disk.sync_directory()

    def write(self, sequence: int) -> None:
        packed = _SEQUENCE.pack(sequence)
        try:
            self._file.write(packed + crc32c(packed).to_bytes(4, "little"), 0)
        except OSError as error:
            _check_lack_of_space(error)

    def close(self) -> None:
        """Sync, too: after an orderly end the mark is exact."""
        try:
            self._file.sync()
        except OSError as error:
            _check_lack_of_space(error)
        self._file.close()


def _check_lack_of_space(error: OSError) -> None:
    """On a full disk the mark may lag; everything else is an error."""
    if error.errno not in NO_SPACE:
        raise error


def read_mark(disk: Disk) -> int:
    """The sequence in the mark file; 0 if there is none that can be trusted."""
    if MARK_NAME not in disk.list():
        return 0
    file = disk.open(MARK_NAME)
    data = file.read(0, _LAYOUT.size)
    file.close()
    if len(data) < _LAYOUT.size:
        return 0
    sequence, crc = _LAYOUT.unpack(data)
    return int(sequence) if crc32c(data[: _SEQUENCE.size]) == crc else 0

"""What a log's directory says of its own past: the file that tells an empty log from a lost one.

Written before the first segment. While it says "not kept", whatever the log holds is no proof of
what this replica may have promised before: it is silent (racos.core.vow).
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from crc32c import crc32c

from racos.storage.ballast import BALLAST_NAME
from racos.storage.disk import Disk
from racos.storage.segment import Damaged

__all__ = ["VOW_NAME", "VowFile", "Written", "open_vow", "read_vow", "write_vow"]

VOW_NAME = "vow"
_TEMPORARY = "vow.new"
_MAGIC = b"RACOSVOW"
_HEAD = struct.Struct("<8sI")  # magic, CRC of the rest
_BODY = struct.Struct("<Q??q")  # nonce, fresh, kept, upto; then the nonces met, 8 bytes each
_NONCE = struct.Struct("<Q")


class Written(NamedTuple):
    """See racos.core.vow.Memory: the same fields."""

    nonce: int  # 63 bits
    fresh: bool
    kept: bool
    upto: int
    met: tuple[int, ...] = ()


class VowFile:
    """The file in a directory, and what it says."""

    def __init__(self, disk: Disk, written: Written) -> None:
        self._disk = disk
        self.written = written

    def write(self, written: Written) -> None:
        """Replace it; durable on return. OSError if the disk fails."""
        write_vow(self._disk, written)
        self.written = written


def open_vow(disk: Disk, *, may_ask: bool, lost: bool = False) -> VowFile:
    """The vow in a log's directory; in an empty one it is made, before anything else.

    `may_ask`: there are so many others that they know what this one may have said. Without them
    nothing that was lost can be known: an empty directory is taken for a new one. `lost`: it is
    none, its log was moved away. Damaged if the file cannot be trusted.
    """
    written = read_vow(disk)
    if written is None:
        nonce = int.from_bytes(disk.random_bytes(8), "little") >> 1
        # A log without a vow is of a version that knew none: it was kept all the time.
        has_log = any(name not in (_TEMPORARY, BALLAST_NAME) for name in disk.list())
        kept = has_log or not may_ask
        written = Written(nonce, fresh=not kept and not lost, kept=kept, upto=-1)
        write_vow(disk, written)
    return VowFile(disk, written)


def read_vow(disk: Disk) -> Written | None:
    """What the file says; None if there is none. Damaged if it cannot be trusted."""
    if VOW_NAME not in disk.list():
        return None
    file = disk.open(VOW_NAME)
    data = file.read(0, file.size())
    file.close()
    body = data[_HEAD.size :]
    nonces = len(body) - _BODY.size
    if nonces < 0 or nonces % _NONCE.size or _HEAD.unpack_from(data) != (_MAGIC, crc32c(body)):
        raise Damaged(f"{disk.path(VOW_NAME)}: damaged")
    met = tuple(nonce for (nonce,) in _NONCE.iter_unpack(body[_BODY.size :]))
    nonce, fresh, kept, upto = _BODY.unpack_from(body)
    return Written(nonce, fresh, kept, upto, met)


def write_vow(disk: Disk, written: Written) -> None:
    """Replace the file; durable on return, and whole at every moment before."""
    nonce, fresh, kept, upto, met = written
    body = _BODY.pack(nonce, fresh, kept, upto) + b"".join(map(_NONCE.pack, met))
    if _TEMPORARY in disk.list():
        disk.remove(_TEMPORARY)  # left by a crash in this function
    file = disk.create(_TEMPORARY)
    file.write_sync([_HEAD.pack(_MAGIC, crc32c(body)) + body], 0)
    file.close()
    disk.rename(_TEMPORARY, VOW_NAME)
    disk.sync_directory()

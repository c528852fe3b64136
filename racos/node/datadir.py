"""A node's data directory: what is in it is opened here, and what is damaged is put aside.

A damaged log may have lost promises, so it is never mended in place. Log and index are moved into
`damaged-1`, `damaged-2` .., which nobody here ever removes, and the node begins without memory: it
is silent until it has taken what it needs from the others (racos.node.silence). That takes others:
a cluster of which no member may fail, and the queue engine, refuse to start instead.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final

from racos.core.engine import LANES
from racos.errors import ShelfError, ShelfFull
from racos.node.config import NodeConfig
from racos.node.identity import Identity
from racos.node.room import Room, Sizes
from racos.storage.ballast import BALLAST_NAME, Ballast
from racos.storage.disk import Disk, OsDisk
from racos.storage.index import DAMAGED, Index, erase
from racos.storage.log import Damaged, Log, LogError
from racos.storage.staging import INDEX_FOLDER, IndexPlace
from racos.storage.vow import VowFile, open_vow

__all__ = ["ASIDE", "LOG_FOLDER", "DataDir", "aside", "may_ask", "set_aside"]

log = logging.getLogger(__name__)

LOG_FOLDER: Final = "log"
ASIDE: Final = "damaged-"
ASIDE_MAX = 3  # then the operator has to look


class DataDir:
    """Log, index and vow, open or not. Hold the directory's lock."""

    log: Log
    vow: VowFile
    room: Room

    def __init__(
        self, config: NodeConfig, identity: Identity, disk: Callable[[Path], Disk]
    ) -> None:
        self._path = config.data_dir
        self._segment_bytes = config.segment_bytes
        self._disk = disk
        self._ids = {"member_id": identity.member_id, "cluster_id": identity.cluster_id}
        self._may_ask = may_ask(config)
        self._is_founder = config.initial_cluster_state == "new"
        self._log: Log | None = None
        self.index: Index | None = None
        self.place = IndexPlace(self._path, **self._ids)

    def open(self) -> Index:
        """Open everything; the index. LogError, ShelfError or OSError: see `mend`."""
        self.place.settle()
        disk = self._disk(self._path / LOG_FOLDER)
        if self._may_ask and self.place.path.exists() and not disk.list():
            raise Damaged(f"{self._path / LOG_FOLDER}: the log is gone, its index is here")
        if aside(self._path) and not self._may_ask and not disk.list():
            raise LogError(
                f"{disk.path('')}: there is no log, {aside(self._path)[-1]} has one that was put "
                "aside, and there are no others to recover from: put it back, or begin anew in "
                "another directory"
            )
        sizes = Sizes.of(disk.space().total)
        ballast = Ballast(disk, sizes.ballast)
        if disk.space().free < sizes.cramped:
            ballast.give(ballast.size_bytes)  # a start has to write a little, too
        lost = bool(aside(self._path)) or not self._is_founder
        self.vow = open_vow(disk, may_ask=self._may_ask, lost=lost)
        segment = min(self._segment_bytes, sizes.segment)
        self.log = Log.open(disk, **self._ids, segment_bytes=segment, ballast=ballast)
        self._log = self.log
        self.room = Room(disk.space, ballast, lambda: self.log.statistics().written_bytes)
        self.place.memtable_bytes = sizes.memtable
        self.index = self.place.open()
        self.index.may_flush = self.room.may_flush
        return self.index

    def mend(self, error: Exception) -> None:
        """What `open`, or a start on what it gave, failed with: make the next try worth it, or
        raise it again."""
        is_whole = self._log is not None and self._log.is_whole
        self.close()
        if isinstance(error, ShelfFull):
            raise error
        if isinstance(error, ShelfError) and is_whole:
            log.warning("index.rebuilt from the log, as it cannot be used: %s", error)
            erase(self.place.path)
        elif self._may_ask and (isinstance(error, Damaged) or self._is_damage(error)):
            place = set_aside(self._path, str(error))
            text = str(error).removesuffix("; nothing was changed")
            log.error("recover.begun %s; log and index are in %s now", text, place)
        else:
            raise error

    def _is_damage(self, error: Exception) -> bool:
        """Of an index; not what another start, or more room on the disk, would cure."""
        if not isinstance(error, ShelfError):
            return False
        return (self.place.path / DAMAGED).exists() or "Corruption" in str(error)

    def close(self) -> None:
        self.close_index()
        if self._log is not None:
            self._log.close()
            self._log = None

    def close_index(self) -> None:
        if self.index is not None:
            self.index.close()
            self.index = None

    def install(self) -> Index:
        """Close everything, and open it with the staged index in the present one's place."""
        self.close()
        self.place.install()
        return self.open()


def may_ask(config: NodeConfig) -> bool:
    """Whether there are so many others that they know what a member may have said."""
    return config.f > 0 and config.engine == LANES


def aside(path: Path) -> list[Path]:
    """What was put aside in a data directory, in order."""
    found = [each for each in path.glob(f"{ASIDE}*") if _number(each) > 0]
    return sorted(found, key=_number)


def _number(path: Path) -> int:
    digits = path.name.removeprefix(ASIDE)
    return int(digits) if digits.isdecimal() else 0


def set_aside(path: Path, why: str) -> Path:
    """Move log and index out of the way, because of `why`; where they are now. LogError if there is
    nothing to move, or too much was moved before.
    """
    if not (path / LOG_FOLDER).exists() and not (path / INDEX_FOLDER).exists():
        raise LogError(f"{why}; {path} has neither a log nor an index")
    there = aside(path)
    if len(there) >= ASIDE_MAX:
        raise LogError(f"{why}; {ASIDE_MAX} damaged logs are in {path} already: remove them first")
    place = path / f"{ASIDE}{_number(there[-1]) + 1 if there else 1}"
    place.mkdir(mode=0o700)
    # The log last: as long as it is there, a start finds the damage again.
    for name in (INDEX_FOLDER, LOG_FOLDER):
        if (path / name).exists():
            (path / name).rename(place / name)
            for folder in (place, path):
                OsDisk(folder).sync_directory()
    # It holds nothing, and the node that begins anew will want as much.
    (place / LOG_FOLDER / BALLAST_NAME).unlink(missing_ok=True)
    return place

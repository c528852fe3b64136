"""The place of a replica's index in its data directory, and how another one takes that place.

The new one is complete and durable as `index.new` before anything moves; then two renames. So
whatever a crash leaves tells what to do: with no `index`, the second rename is still to come.
"""

from __future__ import annotations

import os
from pathlib import Path

from racos.storage.index import MEMTABLE_BYTES, Index, erase

__all__ = ["INDEX_FOLDER", "IndexPlace"]

INDEX_FOLDER = "index"


class IndexPlace:
    """`index` in a data directory. The index in it is opened and closed by others."""

    def __init__(self, data_dir: Path, member_id: int, cluster_id: int) -> None:
        self._data_dir = data_dir
        self._member_id = member_id
        self._cluster_id = cluster_id
        self.memtable_bytes = MEMTABLE_BYTES  # of an index that is opened
        self.path = data_dir / INDEX_FOLDER
        self._new = data_dir / f"{INDEX_FOLDER}.new"
        self._old = data_dir / f"{INDEX_FOLDER}.old"

    def settle(self) -> None:
        """Finish, or undo, what a crash interrupted. Call it before the index is opened."""
        if self._old.exists() and not self.path.exists():
            (self._new if self._new.exists() else self._old).rename(self.path)
            self._sync()
        erase(self._new)
        erase(self._old)

    def open(self) -> Index:
        """The index, made if there is none. ShelfError if it cannot be used."""
        return self._open(self.path)

    def stage(self) -> Index:
        """An empty index beside it."""
        erase(self._new)
        return self._open(self._new)

    def _open(self, path: Path) -> Index:
        return Index(
            path,
            member_id=self._member_id,
            cluster_id=self._cluster_id,
            memtable_bytes=self.memtable_bytes,
        )

    def install(self) -> None:
        """Put the staged index, durable and closed, in the place of the present one, closed."""
        self.path.rename(self._old)
        self._sync()
        self._new.rename(self.path)
        self._sync()
        erase(self._old)

    def _sync(self) -> None:
        fd = os.open(self._data_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

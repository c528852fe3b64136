"""An index looked at without touching it, in the state that its files have.

Opening a database writes into its directory, even when it is opened for reading. So what is opened
is a directory of links to its files, elsewhere.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from rocksdict import AccessType, Rdict

from racos.errors import ShelfError
from racos.storage.index import DAMAGED, OWNER, index_options, owner_of

__all__ = ["FrozenIndex"]

_WRITTEN = "rocksdict-config.json"  # by the library, whenever it opens a database


class FrozenIndex:
    """What the files of an index hold. Every block is checked when it is read."""

    def __init__(self, directory: Path) -> None:
        """ShelfError if it cannot be opened, or a node has found it damaged."""
        self.directory = directory
        damaged = directory / DAMAGED
        if damaged.exists():
            raise ShelfError(f"{damaged}: a node found damage in it while it ran")
        self._links = Path(tempfile.mkdtemp(prefix="racos-fsck-"))
        try:
            for path in directory.iterdir():
                if path.name == _WRITTEN:
                    shutil.copyfile(path, self._links / path.name)
                else:
                    (self._links / path.name).symlink_to(path.absolute())
            self._db = Rdict(str(self._links), index_options(), access_type=AccessType.read_only())
        except Exception as error:  # the library has one type for all that goes wrong
            shutil.rmtree(self._links)
            raise ShelfError(f"{directory}: index cannot be opened: {self._text(error)}") from None

    def get(self, key: bytes) -> bytes | None:
        try:
            found: bytes | None = self._db.get(key)
        except Exception as error:  # as above
            raise ShelfError(f"{self.directory}: index is damaged: {self._text(error)}") from None
        return found

    def scan(self, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        """In order, start <= key < end."""
        entries = self._db.iter()
        try:
            entries.seek(start)
            while entries.valid() and (key := entries.key()) < end:
                yield key, entries.value()
                entries.next()
            entries.status()
        except Exception as error:  # as above
            raise ShelfError(f"{self.directory}: index is damaged: {self._text(error)}") from None

    def belongs_to(self, member_id: int, cluster_id: int) -> bool:
        """Whether it is that member's; one of which nothing was ever flushed can be anybody's."""
        return self.get(OWNER) in (None, owner_of(member_id, cluster_id))

    def close(self) -> None:
        self._db.close()
        shutil.rmtree(self._links)

    def _text(self, error: Exception) -> str:
        return str(error).replace(str(self._links), str(self.directory))

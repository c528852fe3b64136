"""The store as it is at one revision, for whoever reads all of it while writes go on.

A view is open for as long as its reader takes. Meanwhile compactions take effect at once, as far as
anyone can ask, but nothing is dropped until the last view is closed; so a view need not copy
anything, and can be read in small steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

from racos.mvcc.command import Event, KeyValue
from racos.mvcc.history import FIRST_WRITE, History
from racos.mvcc.keyindex import KeyIndex

__all__ = ["View", "kept"]


class View:
    """What a compaction at `compact_revision` keeps of the revisions up to `revision`."""

    __slots__ = ("_closed", "_history", "_index", "compact_revision", "first", "revision")

    def __init__(
        self,
        index: KeyIndex,
        history: History,
        revision: int,
        compact_revision: int,
        closed: Callable[[], None],
    ) -> None:
        """Use `Store.view`."""
        self.revision = revision
        self.compact_revision = compact_revision
        self.first = max(FIRST_WRITE, compact_revision)  # from here on `changes` may be asked
        self._index = index
        self._history = history
        self._closed: Callable[[], None] | None = closed

    def versions(self, above: bytes, keys_max: int) -> tuple[list[KeyValue], bytes | None]:
        """The versions of the next keys above that one, in key order, each key's oldest first.

        Also the last of those keys, to go on from; None when there are no more.
        """
        found: list[KeyValue] = []
        keys = 0
        for versions in islice(self._index.histories(above), keys_max):
            keys += 1
            above = versions[0].key
            found += kept(versions, self.revision, self.compact_revision)
        return found, above if keys == keys_max else None

    def version(self, key: bytes, revision: int) -> KeyValue:
        """The version of the key that this revision wrote, which `versions` has named."""
        kv = self._index.peek(key)
        if kv is None or kv.mod_revision != revision:
            kv = self._index.at(key, revision)
        assert kv is not None
        return kv

    def changes(self, revision: int) -> Sequence[Event]:
        """What a revision in [first, self.revision] did, in order."""
        assert self.first <= revision <= self.revision
        return self._history.events(revision, self.compact_revision)

    def close(self) -> None:
        """Let compactions drop what only this view could see. May be called again."""
        if self._closed is not None:
            closed, self._closed = self._closed, None
            closed()


def kept(versions: Iterable[KeyValue], revision: int, compact_revision: int) -> Iterator[KeyValue]:
    """One key's versions, oldest first, up to `revision` that a compaction keeps.

    That is each above it, and the newest at or below it, unless that is an older tombstone: all at
    the very revision stay, so that a watch from there on sees them (etcd's rule).
    """
    newest: KeyValue | None = None
    for kv in versions:
        if kv.mod_revision > revision:
            break
        if kv.mod_revision < compact_revision:
            newest = kv
            continue
        if newest is not None:
            if newest.version and kv.mod_revision > compact_revision:
                yield newest
            newest = None
        yield kv
    if newest is not None and newest.version:
        yield newest

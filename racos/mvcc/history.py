"""The changes of every revision that a watcher may still ask for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from racos.mvcc.command import Event, KeyValue
from racos.mvcc.errors import Compacted

# What one revision did, in the cheapest form that says it: most revisions create or change one key,
# and a store holds one entry for each. A bare KeyValue is a creation without a previous version.
Entry: TypeAlias = KeyValue | Event | tuple[Event, ...]

_FIRST_WRITE = 2  # revision 1 is the empty store


class History:
    """Entries of consecutive revisions, newest last, each with its previous versions.

    Previous values live in the entry itself, so an event never loses its prev_kv to a later lookup.
    """

    __slots__ = ("_entries", "_first", "trimmed")

    def __init__(self) -> None:
        self.trimmed = -1  # revision of the last compaction that dropped what it could
        self._first = _FIRST_WRITE  # revision of _entries[0]
        self._entries: list[Entry | None] = []  # None: given up by a compaction under way

    @property
    def first(self) -> int:
        """The oldest revision kept."""
        return self._first

    def append(self, entry: Entry) -> None:
        """Record the next revision."""
        self._entries.append(entry)

    def skip_to(self, revision: int) -> None:
        """Begin at `revision`, if nothing was recorded yet: what was before is not known here."""
        if not self._entries:
            self._first = max(self._first, revision)

    def extend_to(self, revision: int) -> None:
        """Record that nothing happened up to `revision`, as far as it is not recorded."""
        self._entries += [()] * (revision + 1 - self._first - len(self._entries))

    def join(self, revision: int, event: Event) -> None:
        """Add a change to the newest revision, or to a later one that becomes the newest."""
        self.extend_to(revision - 1)
        if self._first + len(self._entries) == revision:
            self._entries.append(event)
        else:
            self._entries[-1] = (*self.events(revision), event)

    def events(self, revision: int) -> Sequence[Event]:
        """The changes of one revision, in order; none for revisions before the first write."""
        if revision < _FIRST_WRITE:
            return ()
        entry = self._entries[revision - self._first] if revision >= self._first else None
        if entry is None:
            raise Compacted(f"revision {revision} has been compacted")
        if isinstance(entry, KeyValue):
            return (Event(False, entry, None),)
        if isinstance(entry, Event):
            return (entry,)
        return entry

    def changed_since(self, revision: int, changes_max: int) -> set[bytes] | None:
        """Keys changed above `revision`, or None where that takes a look at too many changes."""
        newest = self._first + len(self._entries) - 1
        if newest - revision > changes_max:
            return None
        changed: set[bytes] = set()
        for later in range(revision + 1, newest + 1):
            changed.update([event.kv.key for event in self.events(later)])
            if len(changed) > changes_max:
                return None
        return changed

    def give_up(self, revision: int) -> None:
        """Free one entry's memory; `trim` takes the empty places away."""
        self._entries[revision - self._first] = None

    def trim(self, revision: int) -> None:
        """Forget everything below `revision`, and the previous versions of `revision` itself.

        Those are older than the compaction, and whoever keeps the bytes of coded values may drop
        them.
        """
        self.trimmed = revision
        if revision < self._first:
            return
        del self._entries[: revision - self._first]
        self._first = revision
        kept = tuple(Event(event.is_delete, event.kv, None) for event in self.events(revision))
        self._entries[0] = kept[0] if len(kept) == 1 else kept

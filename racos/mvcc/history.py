"""The changes of every revision that a watcher may still ask for.

The newest ones are in memory as they were made, because that is what watchers follow; all are on
the shelf, as the names of the keys each revision changed. Their versions are the key index's.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from itertools import islice
from typing import TypeAlias

from racos.mvcc.command import Event, KeyValue
from racos.mvcc.encoding import (
    CHANGES,
    after,
    changes_key,
    decode_changes,
    encode_changes,
    encode_put,
    revision_of_changes,
)
from racos.mvcc.errors import Compacted
from racos.mvcc.keyindex import KeyIndex
from racos.mvcc.records import RECORD_OVERHEAD_BYTES
from racos.mvcc.shelf import Shelf

# What one revision did, in the cheapest form that says it: most revisions create or change one key.
# A bare KeyValue is a creation without a previous version.
Entry: TypeAlias = KeyValue | Event | tuple[Event, ...]

FIRST_WRITE = 2  # revision 1 is the empty store
RECENT_BYTES = 16 << 20
_CHUNK_REVISIONS_MAX = 1024  # in one entry on the shelf


class History:
    """Entries of consecutive revisions; `newest` is the last one."""

    __slots__ = (
        "_bytes",
        "_bytes_max",
        "_chunk",
        "_first_recent",
        "_index",
        "_recent",
        "_saved",
        "_shelf",
        "_sizes",
        "_written",
    )

    def __init__(
        self, shelf: Shelf, index: KeyIndex, newest: int, recent_bytes: int = RECENT_BYTES
    ) -> None:
        self._shelf = shelf
        self._index = index
        self._first_recent = newest + 1  # revision of _recent[0]
        self._recent: list[Entry] = []
        self._saved = newest  # the shelf has everything up to this revision
        # What was saved at a time, of that which is in memory: revisions, and about how many bytes.
        self._sizes: deque[tuple[int, int]] = deque()
        self._bytes = 0  # all of them
        self._written = index.written_bytes  # when something was saved last
        self._bytes_max = recent_bytes
        # The part of the shelf that was read last: its first revision, and the changes from there.
        self._chunk: tuple[int, list[list[tuple[bool, bytes]]]] = (0, [])

    @property
    def newest(self) -> int:
        return self._first_recent + len(self._recent) - 1

    def append(self, entry: Entry) -> None:
        """Record the next revision."""
        self._recent.append(entry)

    def skip_to(self, revision: int) -> None:
        """Go on at `revision`, if that is further than the next one; what was before is dropped."""
        if self.newest < revision - 1:
            self._recent = []
            self._sizes.clear()
            self._bytes = 0
            self._first_recent = revision
            self._saved = revision - 1

    def join(self, revision: int, event: Event) -> None:
        """Add a change to the newest revision, if it is not saved yet, or to a later one."""
        self.extend_to(revision)
        assert self._saved < revision == self.newest
        self._recent[-1] = (*_events(self._recent[-1]), event)

    def extend_to(self, revision: int) -> None:
        """Record that nothing happened up to `revision`, as far as it is not recorded."""
        self._recent += [()] * (revision - self.newest)

    def save(self) -> None:
        """Write what was appended since the last time to the shelf, and bound the memory."""
        while self._saved < self.newest:
            start = self._saved + 1
            first = start - self._first_recent
            entries = self._recent[first : first + _CHUNK_REVISIONS_MAX]
            data, changes = _encode(entries)
            self._shelf.put(changes_key(start), data)
            self._saved += len(entries)
            written, self._written = self._written, self._index.written_bytes
            size = self._written - written + changes * 2 * RECORD_OVERHEAD_BYTES
            self._sizes.append((len(entries), size))
            self._bytes += size
        while self._bytes > self._bytes_max:
            self._shorten()

    def events(self, revision: int, compact_revision: int) -> Sequence[Event]:
        """The changes of one revision, in order; none for revisions before the first write.

        At `compact_revision` they have no previous versions, which are older than the compaction.
        """
        if revision < FIRST_WRITE:
            return ()
        if revision < compact_revision:
            raise Compacted(f"revision {revision} has been compacted")
        if revision >= self._first_recent:
            events = _events(self._recent[revision - self._first_recent])
        else:
            events = self._read(revision)
        if revision == compact_revision:
            return tuple(Event(event.is_delete, event.kv, None) for event in events)
        return events

    def changed_since(self, revision: int, changes_max: int) -> set[bytes] | None:
        """Keys changed above `revision`, or None where that takes a look at too many changes."""
        newest = self.newest
        if newest - revision > changes_max:
            return None
        changed: set[bytes] = set()
        for later in range(revision + 1, newest + 1):
            if later >= self._first_recent:
                entry = self._recent[later - self._first_recent]
                changed.update([event.kv.key for event in _events(entry)])
            else:
                changed.update([key for _, key in self._names(later)])
            if len(changed) > changes_max:
                return None
        return changed

    def _read(self, revision: int) -> Sequence[Event]:
        """The events of a revision that is not in memory any more."""
        names = self._names(revision)
        count = Counter(key for _, key in names)
        pairs = {
            key: iter(self._index.changes(key, revision, number)) for key, number in count.items()
        }
        events = []
        for is_delete, key in names:
            kv, before = next(pairs[key])
            events.append(Event(is_delete, kv, before))
        return events

    def _names(self, revision: int) -> list[tuple[bool, bytes]]:
        """The keys that a revision on the shelf changed, in order."""
        first, chunk = self._chunk
        if not first <= revision < first + len(chunk):
            found = self._shelf.scan(CHANGES, changes_key(revision + 1), reverse=True)
            entry, data = next(found)
            first, chunk = revision_of_changes(entry), decode_changes(data)
            self._chunk = (first, chunk)
        return chunk[revision - first]

    def _shorten(self) -> None:
        """Forget at least the oldest quarter of what the shelf has as well."""
        gone, wanted = 0, self._bytes - self._bytes_max * 3 // 4
        while wanted > 0:
            revisions, size = self._sizes.popleft()
            gone += revisions
            wanted -= size
            self._bytes -= size
        del self._recent[:gone]
        self._first_recent += gone


def drop_changes(shelf: Shelf, below: int, entries_max: int) -> bool:
    """Delete names of changes below this revision, as far as whole entries go; whether it is done.

    An entry goes when the one behind it begins at or below the revision: so it stands for nothing
    that may still be asked.
    """
    before: bytes | None = None
    found = shelf.keys(CHANGES, after(CHANGES))
    for entry in islice(found, entries_max + 1):
        if revision_of_changes(entry) > below:
            return True
        if before is not None:
            shelf.delete(before)
        before = entry
    return next(found, None) is None


def _events(entry: Entry) -> Sequence[Event]:
    if isinstance(entry, KeyValue):
        return (Event(False, entry, None),)
    if isinstance(entry, Event):
        return (entry,)
    return entry


def _encode(entries: Sequence[Entry]) -> tuple[bytes, int]:
    """The names of what consecutive revisions changed, and how many changes there were."""
    parts: list[bytes] = []
    changes = len(entries)
    for entry in entries:
        if isinstance(entry, KeyValue):
            parts.append(encode_put(entry.key))
        elif isinstance(entry, Event):
            if entry.is_delete:
                parts.append(encode_changes([(True, entry.kv.key)]))
            else:
                parts.append(encode_put(entry.kv.key))
        else:
            changes += len(entry) - 1
            parts.append(encode_changes([(event.is_delete, event.kv.key) for event in entry]))
    return b"".join(parts), changes

"""Dropping versions below a revision, in bounded steps beside the traffic.

The rule that reads below the compaction revision fail holds from the moment the store's
compact_revision moves. What is dropped afterwards nobody can see, so replicas may drop it at
different times, and a crash in the middle only means beginning again.

One pass goes through the superseded versions in the shelf's order. A version below the revision may
go if its successor is not above it, and a tombstone below it if nothing follows; a version exactly
at the revision is kept, since its event may still be asked for. There are only as many superseded
versions as there were changes since the pass before, so that is what a pass costs.
"""

from __future__ import annotations

from itertools import islice

from racos.mvcc.command import CodedValue, KeyValue
from racos.mvcc.encoding import PAST, after, decode_record, key_of_past, split_past_key
from racos.mvcc.history import drop_changes
from racos.mvcc.keyindex import KeyIndex
from racos.mvcc.shelf import Shelf


class Compactor:
    """One pass for compaction to `revision`."""

    __slots__ = ("_cursor", "_index", "_shelf", "revision")

    def __init__(self, shelf: Shelf, index: KeyIndex, revision: int) -> None:
        self._shelf = shelf
        self._index = index
        self._cursor: bytes | None = PAST  # None: all versions were looked at
        self.revision = revision

    def step(self, versions_max: int) -> bool:
        """Look at so many versions; whether everything is done."""
        if self._cursor is not None:
            self._cursor = self._drop_versions(self._cursor, versions_max)
            return False
        return drop_changes(self._shelf, self.revision, versions_max)

    def _drop_versions(self, cursor: bytes, versions_max: int) -> bytes | None:
        """Handle the entries from `cursor` on; where to go on, None at the end."""
        found = list(islice(self._shelf.scan(cursor, after(PAST)), versions_max + 1))
        for place, (entry, data) in enumerate(found[:versions_max]):
            prefix, revision = split_past_key(entry)
            if revision >= self.revision:
                continue
            key = key_of_past(prefix)
            kv = decode_record(key, data)
            if place + 1 < len(found) and found[place + 1][0].startswith(prefix):
                _, replaced = split_past_key(found[place + 1][0])
            else:
                present = self._index.peek(key)
                replaced = present.mod_revision if present is not None else self.revision + 1
            if replaced <= self.revision or kv.version == 0:
                self._drop(entry, kv)
        return found[versions_max][0] if len(found) > versions_max else None

    def _drop(self, entry: bytes, kv: KeyValue) -> None:
        self._shelf.delete(entry)
        self._index.usage.drop(kv)
        if isinstance(kv.value, CodedValue):
            self._index.referred(kv.value, -1)

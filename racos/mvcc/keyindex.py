"""Which version of which key is visible at which revision.

Present versions (`records`) and superseded ones (the shelf's `v` entries) are apart, because most
keys have one version. A tombstone is a superseded version with `version == 0`: a dead key is one
with `v` entries, of which a tombstone is the last, and no record.

Entries that no read at or above the compaction revision can see may still be there, since
compaction takes its time (`compaction`); what is returned here never depends on that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from heapq import merge
from itertools import groupby
from operator import itemgetter

from racos.mvcc.command import CodedValue, Event, KeyValue
from racos.mvcc.encoding import (
    FINAL_NUMBER,
    LIVE,
    PAST,
    after,
    decode_record,
    encode_record,
    past_bound,
    past_entries,
    past_key,
    past_of,
)
from racos.mvcc.order import FROM_KEY, Order
from racos.mvcc.records import CACHE_BYTES, Records
from racos.mvcc.shelf import Shelf
from racos.mvcc.usage import Usage

_FEW = 8  # records that are fetched one by one rather than by a scan

Referred = Callable[[CodedValue, int], None]


class KeyIndex:
    """All versions of all keys that are still readable. Writes must come in revision order."""

    __slots__ = (
        "_changing",
        "_number",
        "_records",
        "_shelf",
        "get",
        "order",
        "peek",
        "referred",
        "usage",
    )

    def __init__(
        self,
        shelf: Shelf,
        referred: Referred,
        cache_bytes: int = CACHE_BYTES,
        usage: Usage | None = None,
    ) -> None:
        self.usage = usage or Usage()
        self._shelf = shelf
        self._records = Records(shelf, cache_bytes)
        self.order = Order(shelf)
        # The key's present version, None if it is not live; `peek` is for those who pass by once.
        self.get = self._records.get
        self.peek = self._records.peek
        self.referred = referred  # told of every version with a coded value that comes or goes
        self._changing = 0  # the revision that changed something last
        self._number = 0  # of its last change

    @property
    def written_bytes(self) -> int:
        """Of versions put, since the start."""
        return self._records.written_bytes

    def put(self, kv: KeyValue, previous: KeyValue | None) -> None:
        """Make `kv` its key's present version; `previous` is the one before, None if not live."""
        self._count(kv.mod_revision)
        value, usage = kv.value, self.usage
        if isinstance(value, CodedValue):
            self.referred(value, 1)
            usage.add(kv)
        else:  # what `add` does: this is the hot path
            usage.versions += 1
            usage.inline_bytes += len(kv.key) + len(value)
        if previous is None:
            self._records.put(kv)
            self.order.add(kv.key)
        else:
            self._supersede(previous)
            self._records.put(kv)

    def delete(self, key: bytes, range_end: bytes, revision: int) -> list[Event]:
        """Kill every live key of the range at `revision`; returns the events, in key order."""
        if not range_end:
            kv = self.get(key)
            if kv is None:
                return []
            self.order.remove(kv.key)
            return [self._kill(kv, revision)]
        start, stop = self.order.span(key, range_end)
        events = [self._kill(kv, revision) for kv in self.slice(start, stop)]
        self.order.remove_span(start, stop)
        return events

    def bury(self, tombstone: KeyValue) -> None:
        """Note a tombstone of a key that has no live version here."""
        assert not tombstone.version
        self._count(tombstone.mod_revision)
        self._keep_tombstone(tombstone)

    def at(self, key: bytes, revision: int) -> KeyValue | None:
        """The version visible at `revision` (not compacted); None if the key did not exist then."""
        kv = self.get(key)
        if kv is not None and kv.mod_revision <= revision:
            return kv
        found = self._shelf.scan(past_of(key), past_key(key, revision + 1, 0), reverse=True)
        for _, data in found:
            past = decode_record(key, data)
            return past if past.version else None
        return None

    def changes(
        self, key: bytes, revision: int, count: int
    ) -> list[tuple[KeyValue, KeyValue | None]]:
        """The `count` changes of the key at `revision`: each version, and the live one before."""
        present = self.get(key)
        found: list[KeyValue] = []
        if present is not None and present.mod_revision == revision:
            found.append(present)
        if not (found and count == 1 and found[0].version == 1):  # else nothing was before
            stop = past_key(key, revision + 1, 0)
            for _, data in self._shelf.scan(past_of(key), stop, reverse=True):
                found.append(decode_record(key, data))
                if found[-1].mod_revision < revision:
                    break
        found.reverse()
        if found and found[0].mod_revision == revision:
            found.insert(0, KeyValue(key, 0, 0, 0, b"", 0))  # nothing before
        pairs = zip(found[1:], found, strict=False)
        return [(kv, before if before.version else None) for kv, before in pairs]

    def slice(self, start: int, stop: int) -> list[KeyValue]:
        """Present versions of the live keys at positions [start, stop)."""
        return self.fetch(list(self.order.names(start, stop)))

    def fetch(self, names: Sequence[bytes]) -> list[KeyValue]:
        """Present versions of live keys, named in order, with few other live keys between them."""
        if len(names) <= _FEW:
            return [self._live(name) for name in names]
        cached = self._records.cached
        kvs = [cached(name) for name in names]
        missing = [index for index, kv in enumerate(kvs) if kv is None]
        if len(missing) <= _FEW:
            return [kv or self._live(name) for name, kv in zip(names, kvs, strict=True)]
        first, last = names[missing[0]], names[missing[-1]]
        found = dict(self._shelf.scan(LIVE + first, LIVE + last + b"\x00"))
        return [
            kv or decode_record(name, found[LIVE + name])
            for name, kv in zip(names, kvs, strict=True)
        ]

    def select(self, key: bytes, range_end: bytes) -> list[KeyValue]:
        """Present versions of all live keys of the range, in key order."""
        if not range_end:
            kv = self.get(key)
            return [] if kv is None else [kv]
        return self.slice(*self.order.span(key, range_end))

    def scan(self, key: bytes, range_end: bytes, revision: int) -> list[KeyValue]:
        """The range as it was at an old `revision`, in key order; O(versions in range)."""
        if not range_end:
            kv = self.at(key, revision)
            return [] if kv is None else [kv]
        if range_end != FROM_KEY and range_end <= key:
            return []
        live_end, past_end = after(LIVE), after(PAST)
        if range_end != FROM_KEY:
            live_end, past_end = LIVE + range_end, past_bound(range_end)
        then: dict[bytes, KeyValue] = {}
        for _, versions in past_entries(self._shelf.scan(past_bound(key), past_end)):
            for kv in versions:
                if kv.mod_revision <= revision:
                    then[kv.key] = kv
        for entry, data in self._shelf.scan(LIVE + key, live_end):
            kv = decode_record(entry[1:], data)
            if kv.mod_revision <= revision:
                then[kv.key] = kv
        return [then[name] for name in sorted(then) if then[name].version]

    def versions(self, compact_revision: int) -> Iterator[KeyValue]:
        """Every version that is readable at or above `compact_revision`: keys in order, each key's
        versions oldest first, tombstones among them."""
        for versions in self.histories(b""):
            yield from _readable(versions, compact_revision)

    def histories(self, above: bytes) -> Iterator[list[KeyValue]]:
        """For each key above that one, in order, all versions that are there, oldest first."""
        start = above + b"\x00"
        live = self._shelf.scan(LIVE + start, after(LIVE))
        past = past_entries(self._shelf.scan(past_bound(start), after(PAST)))
        present = ((entry[1:], [decode_record(entry[1:], data)]) for entry, data in live)
        merged = merge(past, present, key=itemgetter(0))  # of a key, the past comes first
        for _, groups in groupby(merged, key=itemgetter(0)):
            yield [kv for _, group in groups for kv in group]

    def _count(self, revision: int) -> None:
        """Number the changes of a revision."""
        if revision == self._changing:
            self._number += 1
        else:
            self._changing, self._number = revision, 0

    def _supersede(self, kv: KeyValue) -> None:
        """A present version becomes a past one, by the change that was just counted."""
        number = FINAL_NUMBER if kv.mod_revision < self._changing else 2 * self._number
        data = encode_record(kv)
        self._shelf.put(past_key(kv.key, kv.mod_revision, number), data)
        self._records.written_bytes += len(data)

    def _kill(self, kv: KeyValue, revision: int) -> Event:
        self._count(revision)
        self._supersede(kv)
        self._records.remove(kv.key)
        tombstone = KeyValue(kv.key, 0, revision, 0, b"", 0)
        self._keep_tombstone(tombstone)
        return Event(True, tombstone, kv)

    def _keep_tombstone(self, tombstone: KeyValue) -> None:
        entry = past_key(tombstone.key, tombstone.mod_revision, 2 * self._number + 1)
        self._shelf.put(entry, encode_record(tombstone))
        self.usage.add(tombstone)

    def _live(self, name: bytes) -> KeyValue:
        kv = self.get(name)
        assert kv is not None, "the order names live keys only"
        return kv


def _readable(versions: list[KeyValue], compact_revision: int) -> list[KeyValue]:
    """Without what compaction drops: the newest version at or below the compaction revision stays,
    unless it is a tombstone older than that."""
    first = 0
    for index, kv in enumerate(versions):
        if kv.mod_revision <= compact_revision:
            first = index
    if versions[first].version == 0 and versions[first].mod_revision < compact_revision:
        first += 1
    return versions[first:]

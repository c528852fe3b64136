"""Which version of which key is visible at which revision.

Three places, each paid for only by the keys that need it: `live` maps a key to its present version;
`past` keeps superseded versions and tombstones, and has no entry for a key with a single version;
two sorted lists keep the order of live keys (so a range counts itself in O(log n)) and of dead keys
(no live version, but history that compaction has not dropped).

A tombstone is a version with `version == 0`. Invariant: a key is in exactly one of the two lists,
or in none; a dead key's past is never empty and ends with a tombstone.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from operator import itemgetter

from sortedcontainers import SortedList  # type: ignore[import-untyped]

from racos.mvcc.command import Event, KeyValue

FROM_KEY = b"\x00"  # the range_end that means "no upper bound"

_mod_revision = itemgetter(KeyValue._fields.index("mod_revision"))


class Usage:
    """How much all versions held are, in bytes of keys and values as clients gave them."""

    __slots__ = ("coded_bytes", "inline_bytes", "versions")

    def __init__(self) -> None:
        self.versions = 0
        self.inline_bytes = 0  # of keys, and of values that are not coded
        self.coded_bytes = 0  # of values that are, each whole

    def add(self, kv: KeyValue) -> None:
        value = kv.value
        self.versions += 1
        if isinstance(value, bytes):
            self.inline_bytes += len(kv.key) + len(value)
        else:
            self.inline_bytes += len(kv.key)
            self.coded_bytes += value.length

    def drop(self, versions: Iterable[KeyValue]) -> None:
        for kv in versions:
            value = kv.value
            self.versions -= 1
            self.inline_bytes -= len(kv.key)
            if isinstance(value, bytes):
                self.inline_bytes -= len(value)
            else:
                self.coded_bytes -= value.length


class KeyIndex:
    """All versions of all keys that are still readable. Writes must come in revision order."""

    __slots__ = ("_dead", "_keys", "live", "past", "usage")

    def __init__(self) -> None:
        self.live: dict[bytes, KeyValue] = {}  # read by everyone, written only here
        self.past: dict[bytes, list[KeyValue]] = {}  # oldest first, the present version excluded
        self._keys = SortedList()
        self._dead = SortedList()
        self.usage = Usage()

    def put(self, kv: KeyValue, previous: KeyValue | None) -> None:
        """Make `kv` its key's present version; `previous` is the one before, None if not live."""
        key = kv.key
        self.live[key] = kv
        self.usage.add(kv)
        if previous is None:
            self._keys.add(key)
            if key in self.past:
                self._dead.remove(key)
            return
        past = self.past.get(key)
        if past is None:
            self.past[key] = [previous]
        else:
            past.append(previous)

    def delete(self, key: bytes, range_end: bytes, revision: int) -> list[Event]:
        """Kill every live key of the range at `revision`; returns the events, in key order."""
        events = [
            Event(True, KeyValue(kv.key, 0, revision, 0, b"", 0), kv)
            for kv in self.select(key, range_end)
        ]
        for event in events:
            name = event.kv.key
            self.usage.add(event.kv)
            versions = (self.live.pop(name), event.kv)
            past = self.past.get(name)
            if past is None:
                self.past[name] = [*versions]
            else:
                past += versions
        if len(events) == 1:  # cheaper than the slices, and what most deletes are
            self._keys.remove(events[0].kv.key)
            self._dead.add(events[0].kv.key)
        elif events:
            start, stop = self.span(key, range_end)
            del self._keys[start:stop]
            self._dead.update([event.kv.key for event in events])
        return events

    def bury(self, tombstone: KeyValue) -> None:
        """Note a tombstone whose key has no version below it here."""
        assert not tombstone.version
        assert tombstone.key not in self.live
        past = self.past.setdefault(tombstone.key, [])
        if not past:
            self._dead.add(tombstone.key)
        past.append(tombstone)
        self.usage.add(tombstone)

    def at(self, key: bytes, revision: int) -> KeyValue | None:
        """The version visible at `revision` (not compacted); None if the key did not exist then."""
        kv = self.live.get(key)
        if kv is not None and kv.mod_revision <= revision:
            return kv
        past = self.past.get(key)
        if past is None:
            return None
        place = bisect_right(past, revision, key=_mod_revision)
        if place == 0 or past[place - 1].version == 0:
            return None
        return past[place - 1]

    def span(self, key: bytes, range_end: bytes) -> tuple[int, int]:
        """Positions [start, stop) among the live keys of a range with an end; O(log n).

        An end below the key makes an empty range: start == stop.
        """
        start: int = self._keys.bisect_left(key)
        if range_end == FROM_KEY:
            return start, len(self._keys)
        return start, max(start, self._keys.bisect_left(range_end))

    def names(self, start: int, stop: int, backwards: bool) -> Iterator[bytes]:
        """Live keys at positions [start, stop), in order or from the end."""
        names: Iterator[bytes] = self._keys.islice(start, stop, backwards)
        return names

    def slice(self, start: int, stop: int) -> list[KeyValue]:
        """Present versions of the live keys at positions [start, stop)."""
        live = self.live
        return [live[key] for key in self._keys.islice(start, stop)]

    def select(self, key: bytes, range_end: bytes) -> list[KeyValue]:
        """Present versions of all live keys of the range, in key order."""
        if not range_end:
            kv = self.live.get(key)
            return [] if kv is None else [kv]
        return self.slice(*self.span(key, range_end))

    def scan(self, key: bytes, range_end: bytes, revision: int) -> list[KeyValue]:
        """The range as it was at an old `revision`, in key order; O(keys in range)."""
        if not range_end:
            kv = self.at(key, revision)
            return [] if kv is None else [kv]
        if range_end != FROM_KEY and range_end <= key:
            return []
        upper = None if range_end == FROM_KEY else range_end
        bounds = (key, upper, (True, False))
        names = list(self._keys.irange(*bounds))
        dead = list(self._dead.irange(*bounds))
        if dead:
            names += dead
            names.sort()  # two sorted runs: the sort is a linear merge
        return [kv for kv in (self.at(name, revision) for name in names) if kv is not None]

    def compact_key(self, key: bytes, revision: int) -> None:
        """Drop the key's versions that no read at or above `revision` can see.

        The newest version at or below `revision` stays, unless it is a tombstone older than
        `revision`.
        """
        past = self.past.get(key)
        if past is None:
            return
        kv = self.live.get(key)
        if kv is not None and kv.mod_revision <= revision:
            self.usage.drop(self.past.pop(key))
            return
        newest = bisect_right(past, revision, key=_mod_revision) - 1
        if newest < 0:
            return
        survivor = past[newest]
        first = newest
        if survivor.version == 0 and survivor.mod_revision < revision:
            first = newest + 1
        self.usage.drop(past[:first])
        del past[:first]
        if not past:
            del self.past[key]
            if kv is None:
                self._dead.remove(key)

    def names_after(self, key: bytes, keys_max: int) -> list[bytes]:
        """The next keys above `key` that have versions, dead ones among them, in order."""
        above = {"minimum": key, "inclusive": (False, False)}
        names = list(islice(self._keys.irange(**above), keys_max))
        names += islice(self._dead.irange(**above), keys_max)
        names.sort()
        return names[:keys_max]

    def versions(self, key: bytes) -> Sequence[KeyValue]:
        """All versions held of a key, oldest first."""
        kv = self.live.get(key)
        past = self.past.get(key, [])
        return past if kv is None else [*past, kv]

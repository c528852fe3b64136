"""Which watchers does a key concern? The answer costs the matches, not the watchers.

Watchers of one key sit in a dict. Watchers of a range are grouped by equal span; spans that end are
kept in an array ordered by start which carries, for each subtree of its implicit balanced tree, the
greatest end (an interval tree without nodes); spans without an end are ordered by start, and all up
to the key match. New spans wait in a short list, so that a rebuild serves many of them.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Iterator
from typing import Generic, TypeAlias, TypeVar

W = TypeVar("W")

# (first key, end): end None is the first key alone, b"" is no end at all.
Span: TypeAlias = tuple[bytes, bytes | None]

_FRESH_MIN = 32  # new spans looked through one by one before a rebuild


class WatcherIndex(Generic[W]):
    """Watchers by the span of keys they watch. A watcher is hashable and added once."""

    __slots__ = ("_keys", "_open", "_open_starts", "_spans")

    def __init__(self) -> None:
        self._keys: dict[bytes, dict[W, None]] = {}
        self._open: dict[bytes, dict[W, None]] = {}
        self._open_starts: list[bytes] = []
        self._spans: _SpanTree[W] = _SpanTree()

    def add(self, span: Span, watcher: W) -> None:
        start, end = span
        if end is None:
            self._keys.setdefault(start, {})[watcher] = None
        elif end:
            self._spans.add(start, end, watcher)
        else:
            if start not in self._open:
                self._open[start] = {}
                insort(self._open_starts, start)
            self._open[start][watcher] = None

    def discard(self, span: Span, watcher: W) -> None:
        """Remove a watcher; one that is not there is left alone."""
        start, end = span
        if end is None:
            _discard(self._keys, start, watcher)
        elif end:
            self._spans.discard(start, end, watcher)
        elif _discard(self._open, start, watcher):
            self._open_starts.remove(start)

    def matching(self, key: bytes) -> Iterator[W]:
        """Watchers whose span holds `key`. The index must not change while iterating."""
        if key in self._keys:
            yield from self._keys[key]
        for start in self._open_starts[: bisect_right(self._open_starts, key)]:
            yield from self._open[start]
        yield from self._spans.matching(key)


def _discard(groups: dict[bytes, dict[W, None]], name: bytes, watcher: W) -> bool:
    """Remove a watcher from a group; True when that was its last and the group is gone."""
    group = groups.get(name)
    if group is None or watcher not in group:
        return False
    del group[watcher]
    if group:
        return False
    del groups[name]
    return True


class _SpanTree(Generic[W]):
    """Spans with an end. Groups that ran empty stay in the tree until the next rebuild."""

    __slots__ = ("_empty", "_fresh", "_greatest_ends", "_groups", "_tree")

    def __init__(self) -> None:
        self._groups: dict[tuple[bytes, bytes], dict[W, None]] = {}
        self._fresh: list[tuple[bytes, bytes, dict[W, None]]] = []
        self._tree: list[tuple[bytes, bytes, dict[W, None]]] = []  # by start
        self._greatest_ends: list[bytes] = []  # of the subtree whose root is at that place
        self._empty = 0

    def add(self, start: bytes, end: bytes, watcher: W) -> None:
        group = self._groups.get((start, end))
        if group is None:
            group = self._groups[start, end] = {}
            self._fresh.append((start, end, group))
            if len(self._fresh) > _FRESH_MIN + len(self._tree) // 8:
                self._rebuild()
        group[watcher] = None

    def discard(self, start: bytes, end: bytes, watcher: W) -> None:
        group = self._groups.get((start, end))
        if group is None or watcher not in group:
            return
        del group[watcher]
        if not group:
            del self._groups[start, end]
            self._empty += 1
            if self._empty > _FRESH_MIN + len(self._groups):
                self._rebuild()

    def matching(self, key: bytes) -> Iterator[W]:
        for start, end, group in self._fresh:
            if start <= key < end:
                yield from group
        pending = [(0, len(self._tree))]
        while pending:
            low, high = pending.pop()
            if low >= high:
                continue
            middle = (low + high) // 2
            if self._greatest_ends[middle] <= key:
                continue
            pending.append((low, middle))
            start, end, group = self._tree[middle]
            if start <= key:
                if key < end:
                    yield from group
                pending.append((middle + 1, high))

    def _rebuild(self) -> None:
        self._tree = sorted(
            ((start, end, group) for (start, end), group in self._groups.items()),
            key=lambda item: item[0],
        )
        self._fresh.clear()
        self._empty = 0
        self._greatest_ends = [b""] * len(self._tree)
        self._measure(0, len(self._tree))

    def _measure(self, low: int, high: int) -> bytes:
        """Note the greatest end of each subtree; recursion depth is the logarithm of the size."""
        if low >= high:
            return b""
        middle = (low + high) // 2
        greatest = max(
            self._tree[middle][1], self._measure(low, middle), self._measure(middle + 1, high)
        )
        self._greatest_ends[middle] = greatest
        return greatest

"""The ordered map of bytes that the state machine keeps its state on, and the one in memory.

A replica's index (racos.storage.index) is such a map on disk; tests and the simulator use
`MemoryShelf`. Who writes here also says which record of the log each step rests on, so that the
disk never holds a step that a power cut could take away from the log.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from sortedcontainers import SortedDict  # type: ignore[import-untyped]

KEYS_END = b"\xff"  # above every key: none begins so


class Snapshot(Protocol):
    """All commits up to a moment, whatever is written afterwards. Close it: it holds space."""

    def get(self, key: bytes) -> bytes | None: ...

    def scan(self, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]: ...

    def close(self) -> None: ...


class Shelf(Protocol):
    """An ordered map with atomic steps.

    Every read sees every write made before it, committed or not. After a crash the map holds what
    it held after some commit: at least the last one that a finished flush covers, and none whose
    `sequence` was not passed to `durable`. Damage is an error that names the file
    (racos.errors.ShelfError), never wrong data.
    """

    def get(self, key: bytes) -> bytes | None: ...

    def many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """What `get` says of each; cheaper than as many calls."""

    def scan(
        self, start: bytes, end: bytes, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Entries with start <= key < end, in key order or from the end.

        Writes made while it runs may or may not be seen.
        """

    def keys(self, start: bytes, end: bytes) -> Iterator[bytes]:
        """The keys alone, in order, as `scan`; cheaper where values are large."""

    def put(self, key: bytes, value: bytes) -> None: ...

    def delete(self, key: bytes) -> None: ...

    def delete_range(self, start: bytes, end: bytes) -> None:
        """Delete start <= key < end; costs as much as deleting each."""

    def commit(self, sequence: int = 0) -> None:
        """Everything since the last commit is one step; all of it survives a crash, or nothing.

        The step waits in memory until the log's record `sequence` is durable.
        """

    def durable(self, sequence: int) -> None:
        """The log is durable up to this record: commits that rest on it may reach the disk."""

    def flush(self) -> None:
        """Begin to make durable all commits whose records are. Never blocks."""

    @property
    def flushing(self) -> bool:
        """Whether a flush is under way. Raises ShelfError if one failed, or damage was found."""

    @property
    def flushed_sequence(self) -> int:
        """Commits up to this sequence are durable here; 0 before the first flush since a start."""

    @property
    def unflushed_bytes(self) -> int:
        """Bytes committed since the last flush began."""

    def snapshot(self) -> Snapshot:
        """Everything committed so far, frozen."""

    def close(self) -> None: ...


class MemoryShelf:
    """A Shelf in memory. `crash` does what a power cut may do to one on disk."""

    def __init__(self) -> None:
        self._map: SortedDict[bytes, bytes] = SortedDict()
        # What each commit since the last flush replaced, and the open one's, to take them back.
        self._undo: list[tuple[int, dict[bytes, bytes | None]]] = []
        self._open: dict[bytes, bytes | None] = {}
        self._durable = 0
        self._flushed = 0
        self._unflushed_bytes = 0

    def get(self, key: bytes) -> bytes | None:
        value: bytes | None = self._map.get(key)
        return value

    def many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        return [self._map.get(key) for key in keys]

    def scan(
        self, start: bytes, end: bytes, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        keys = list(self._map.irange(start, end, (True, False), reverse))
        for key in keys:
            value = self._map.get(key)
            if value is not None:
                yield key, value

    def keys(self, start: bytes, end: bytes) -> Iterator[bytes]:
        return iter(list(self._map.irange(start, end, (True, False))))

    def put(self, key: bytes, value: bytes) -> None:
        if key not in self._open:
            self._open[key] = self._map.get(key)
        self._map[key] = value
        self._unflushed_bytes += len(key) + len(value)

    def delete(self, key: bytes) -> None:
        old = self._map.pop(key, None)
        self._open.setdefault(key, old)
        self._unflushed_bytes += len(key)

    def delete_range(self, start: bytes, end: bytes) -> None:
        for key, _ in self.scan(start, end):
            self.delete(key)

    def commit(self, sequence: int = 0) -> None:
        self._undo.append((sequence, self._open))
        self._open = {}

    def durable(self, sequence: int) -> None:
        self._durable = max(self._durable, sequence)

    def flush(self) -> None:
        covered = self._safe()
        if covered:
            self._flushed = max(self._flushed, self._undo[covered - 1][0])
            del self._undo[:covered]
        self._unflushed_bytes = 0

    @property
    def flushing(self) -> bool:
        return False

    @property
    def flushed_sequence(self) -> int:
        return self._flushed

    @property
    def unflushed_bytes(self) -> int:
        return self._unflushed_bytes

    def snapshot(self) -> MemorySnapshot:
        frozen = SortedDict(self._map)
        _take_back(frozen, self._open)
        return MemorySnapshot(frozen)

    def crash(self, pick: Callable[[int], int] = lambda _count: 0) -> None:
        """Lose some last commits, none that a flush covers. `pick(n)` returns how many of the last
        `n` commits survive that could have reached the disk, 0 <= picked <= n."""
        _take_back(self._map, self._open)
        self._open = {}
        kept = pick(self._safe())
        while len(self._undo) > kept:
            _take_back(self._map, self._undo.pop()[1])
        self._undo.clear()
        self._durable = 0
        self._unflushed_bytes = 0

    def close(self) -> None:
        """Nothing to close: what was committed stays."""

    def _safe(self) -> int:
        """How many of the commits in `_undo` rest on durable records only."""
        for index, (sequence, _) in enumerate(self._undo):
            if sequence > self._durable:
                return index
        return len(self._undo)


class MemorySnapshot:
    def __init__(self, frozen: SortedDict[bytes, bytes]) -> None:
        self._keys: list[bytes] = list(frozen)
        self._map: dict[bytes, bytes] = dict(frozen)

    def get(self, key: bytes) -> bytes | None:
        return self._map.get(key)

    def scan(self, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        for key in self._keys[bisect_left(self._keys, start) : bisect_left(self._keys, end)]:
            yield key, self._map[key]

    def close(self) -> None:
        """Nothing to give back."""


def _take_back(target: SortedDict[bytes, bytes], replaced: dict[bytes, bytes | None]) -> None:
    for key, old in replaced.items():
        if old is None:
            target.pop(key, None)
        else:
            target[key] = old

"""The live keys in order, in memory: exact counts of ranges in O(log n), pages by position.

After a start the keys come from the shelf piece by piece (`load`), while commands are applied.
Below `_loaded_to` the list is complete; a key above is on the shelf alone until the loading gets
there. A question about a range that is not loaded loads it first: answers are exact at any time.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from sortedcontainers import SortedList  # type: ignore[import-untyped]

from racos.mvcc.encoding import LIVE, after
from racos.mvcc.shelf import Shelf

FROM_KEY = b"\x00"  # the range_end that means "no upper bound"

_LOAD_PER_STEP = 4096


class Order:
    __slots__ = ("_keys", "_loaded_to", "_shelf")

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._keys = SortedList()
        self._loaded_to: bytes | None = b""  # None: everything
        self.load(1)

    @property
    def complete(self) -> bool:
        """Whether all live keys are loaded."""
        return self._loaded_to is None

    def load(self, keys_max: int) -> bool:
        """Load up to so many more keys; whether all are loaded now."""
        if self._loaded_to is None:
            return True
        found = self._shelf.keys(LIVE + self._loaded_to, after(LIVE))
        keys = [entry[1:] for entry in islice(found, keys_max)]
        self._keys.update(keys)
        self._loaded_to = keys[-1] + b"\x00" if len(keys) == keys_max else None
        return self._loaded_to is None

    def add(self, key: bytes) -> None:
        """A key came to life."""
        if self._loaded_to is None or key < self._loaded_to:
            self._keys.add(key)

    def remove(self, key: bytes) -> None:
        """A live key died."""
        if self._loaded_to is None or key < self._loaded_to:
            self._keys.remove(key)

    def remove_span(self, start: int, stop: int) -> None:
        """All keys at positions [start, stop) died."""
        del self._keys[start:stop]

    def span(self, key: bytes, range_end: bytes) -> tuple[int, int]:
        """Positions [start, stop) of a range with an end.

        An end below the key makes an empty range: start == stop.
        """
        if self._loaded_to is not None:
            self._load_to(range_end)
        start: int = self._keys.bisect_left(key)
        if range_end == FROM_KEY:
            return start, len(self._keys)
        return start, max(start, self._keys.bisect_left(range_end))

    def names(self, start: int, stop: int, backwards: bool = False) -> Iterator[bytes]:
        """Live keys at positions [start, stop), in order or from the end."""
        names: Iterator[bytes] = self._keys.islice(start, stop, backwards)
        return names

    def __len__(self) -> int:
        """How many keys are loaded."""
        return len(self._keys)

    def _load_to(self, range_end: bytes) -> None:
        while self._loaded_to is not None:
            if range_end != FROM_KEY and range_end <= self._loaded_to:
                return
            # As many as there are: the list takes so many at once, instead of one by one.
            self.load(max(_LOAD_PER_STEP, len(self._keys)))

"""Fragments that this replica's own log holds, without waiting for the disk on the node's thread.

What is in memory comes at once; what is not is read by others, and a slow disk holds up only those
who want it.
"""

from __future__ import annotations

from collections.abc import Callable

from racos.node.fetching import Reader
from racos.node.library import Library

Found = dict[int, bytes]  # by fragment index; not verified


class Parts:
    """One per node."""

    __slots__ = ("_library", "_reader")

    def __init__(self, library: Library, reader: Reader) -> None:
        self._library = library
        self._reader = reader

    def get(self, position: int, value_index: int, want: int, done: Callable[[Found], None]) -> int:
        """Call `done` with the wanted fragments of one coded value, at once or later; returns the
        bit set of those that it waits for.

        One that cannot be read counts as damaged: it is dropped, and healed like any other.
        """
        reading = self._library.reading
        found: Found = {}
        cold: dict[int, Callable[[], bytes | None]] = {}
        for index, place in self._library.places(position, value_index, want).items():
            data = reading.now(place)
            if data is None:
                cold[index] = reading.later(place)
            else:
                found[index] = data
        if not cold:
            done(found)
            return 0
        return self._fetch(position, value_index, found, cold, done)

    def _fetch(
        self,
        position: int,
        value_index: int,
        found: Found,
        cold: dict[int, Callable[[], bytes | None]],
        done: Callable[[Found], None],
    ) -> int:
        warm = self._library.descriptor_place(position)  # wanted next, to check them
        also = [self._library.reading.later(warm)] if warm is not None else []
        fetched: dict[int, bytes | None] = {}
        coming = sum([1 << index for index in cold])

        def work() -> None:
            fetched.update({index: read() for index, read in cold.items()})
            for read in also:
                read()

        def finish() -> None:
            nonlocal coming
            coming = 0
            for index, data in fetched.items():
                if data is None:  # moved meanwhile, or damaged: then it is named
                    found.update(self._library.fragments(position, value_index, 1 << index))
                else:
                    found[index] = data
            done(found)

        self._reader.start(work, finish)
        return coming

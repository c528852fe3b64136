"""A range as it was at a recent revision: the present one with the few changes since undone.

Clients page through a large range at the revision of their first page, while writes go on. Counting
and fetching such a page by a scan would cost O(range) each time; undoing d changes costs
O(d log d + page).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from heapq import merge
from itertools import islice

from racos.mvcc.command import KeyValue
from racos.mvcc.keyindex import KeyIndex
from racos.mvcc.order import FROM_KEY


class RewoundRange:
    """The keys of [key, range_end) visible at `revision`.

    `changed` must hold every key that changed above `revision`; it may hold others.
    """

    __slots__ = ("_gone", "_index", "_span", "_then", "count")

    def __init__(
        self,
        index: KeyIndex,
        key: bytes,
        range_end: bytes,
        revision: int,
        changed: Collection[bytes],
    ) -> None:
        touched = [name for name in changed if name >= key]
        if range_end != FROM_KEY:
            touched = [name for name in touched if name < range_end]
        touched.sort()
        self._index = index
        self._span = index.order.span(key, range_end)
        self._then = {name: index.at(name, revision) for name in touched}
        self._gone = [  # visible then, dead now; in key order
            name for name, kv in self._then.items() if kv is not None and index.get(name) is None
        ]
        born = sum(kv is None and index.get(name) is not None for name, kv in self._then.items())
        self.count = self._span[1] - self._span[0] - born + len(self._gone)

    def slice(self, start: int, stop: int) -> list[KeyValue]:
        """Positions [start, stop) in key order; they must begin or end where the range does."""
        assert start == 0 or stop == self.count
        backwards = start > 0
        gone = reversed(self._gone) if backwards else iter(self._gone)
        names = merge(self._index.order.names(*self._span, backwards), gone, reverse=backwards)
        wanted = list(islice(self._visible(names), stop - start))
        if backwards:
            wanted.reverse()
        then = self._then
        present = iter(self._index.fetch([name for name in wanted if name not in then]))
        kvs = (then[name] if name in then else next(present) for name in wanted)
        return [kv for kv in kvs if kv is not None]

    def _visible(self, names: Iterable[bytes]) -> Iterator[bytes]:
        then = self._then
        return (name for name in names if name not in then or then[name] is not None)

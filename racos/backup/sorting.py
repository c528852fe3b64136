"""Puts a view's versions into revision order, though they come by key.

Only names are kept: the revision, how long the entry will be, and the key, packed, so about 24
bytes and the key for each version; the versions themselves are looked up when their turn comes.
"""

from __future__ import annotations

from collections.abc import Iterator
from heapq import merge
from itertools import groupby
from operator import itemgetter
from struct import Struct
from typing import NamedTuple

from racos.mvcc.view import View

__all__ = ["Named", "Sorting"]

_RUN = 4096  # names sorted at a time, a few milliseconds
_HEAD = Struct("<QIHB")  # revision, size, length of key, whether it is a tombstone


class Named(NamedTuple):
    """One version by its name."""

    revision: int
    key: bytes
    size: int  # of its entry in the file
    is_tombstone: bool


class Sorting:
    """`add` all names in any order, `finish`, then iterate as often as wanted."""

    def __init__(self) -> None:
        self._runs: list[bytes] = []
        self._open: list[Named] = []

    def add(self, name: Named) -> None:
        self._open.append(name)
        if len(self._open) == _RUN:
            self.finish()

    def finish(self) -> None:
        """Close the run that is open."""
        self._open.sort(key=_revision_and_key)  # stable: changes of one key stay in order
        parts: list[bytes] = []
        for revision, key, size, is_tombstone in self._open:
            parts += (_HEAD.pack(revision, size, len(key), is_tombstone), key)
        self._runs.append(b"".join(parts))
        self._open = []

    def in_order(self, view: View) -> Iterator[tuple[int, Named]]:
        """(place within its revision, name) of every version.

        Which place a change had is known as far back as the history goes; before it, places are
        given by key order.
        """
        names = merge(*map(_unpack, self._runs), key=_revision_and_key)
        for revision, group in groupby(names, key=itemgetter(0)):
            together = list(group)
            if len(together) > 1 and revision >= view.first:
                together = _as_changed(together, view)
            yield from enumerate(together)


def _unpack(run: bytes) -> Iterator[Named]:
    at = 0
    while at < len(run):
        revision, size, length, is_tombstone = _HEAD.unpack_from(run, at)
        at += _HEAD.size
        yield Named(revision, run[at : at + length], size, bool(is_tombstone))
        at += length


def _revision_and_key(name: Named) -> tuple[int, bytes]:
    return name.revision, name.key


def _as_changed(together: list[Named], view: View) -> list[Named]:
    """One revision's names in the order of its changes."""
    by_key: dict[bytes, list[Named]] = {}
    for name in together:
        by_key.setdefault(name.key, []).append(name)
    return [by_key[event.kv.key].pop(0) for event in view.changes(together[0].revision)]

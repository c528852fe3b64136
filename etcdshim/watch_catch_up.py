"""Reads one bounded piece of history for the watchers of a stream that are behind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from etcdshim.backend import Backend
from etcdshim.limits import Limits
from etcdshim.watch_events import SharedEvent
from etcdshim.watch_hub import Watcher
from etcdshim.watch_index import WatcherIndex


class Piece(NamedTuple):
    """The events of each watcher up to and including revision `reached`."""

    events: dict[Watcher, list[SharedEvent]]
    reached: int


def read_history(
    backend: Backend, watchers: Sequence[Watcher], target: int, limits: Limits
) -> Piece:
    """One pass over the history from the least position on, for all `watchers` together.

    Ends at `target`, or earlier: after watch_catch_up_revisions, or once the events found come to
    watch_catch_up_bytes. A revision is never split. No position may be compacted.
    """
    first = min(watcher.position for watcher in watchers)
    last = min(first + limits.watch_catch_up_revisions - 1, target)
    index: WatcherIndex[Watcher] = WatcherIndex()
    for watcher in watchers:
        if watcher.position <= last:
            index.add(watcher.span, watcher)
    found: dict[Watcher, list[SharedEvent]] = {}
    size = 0
    for revision, events in backend.history(first, last):
        for event in events:
            shared: SharedEvent | None = None
            for watcher in index.matching(event.kv.key):
                if revision >= watcher.position and watcher.wants(event):
                    shared = shared or SharedEvent(event)
                    found.setdefault(watcher, []).append(shared)
                    size += shared.size
        if size >= limits.watch_catch_up_bytes:
            return Piece(found, revision)
    return Piece(found, last)

"""Dropping versions below a revision, in bounded steps.

The rule that reads below the compaction revision fail holds from the moment the store's
compact_revision moves; dropping the versions is invisible after that, so the steps may come at
leisure.

Only keys changed in [previous compaction, revision] can have anything to drop: a version becomes
droppable when a newer one at or below `revision` replaced it, or when it is a tombstone. The lower
end is included because a tombstone exactly at the previous compaction revision was kept then.
"""

from __future__ import annotations

from racos.mvcc.history import History
from racos.mvcc.keyindex import KeyIndex


class Compactor:
    """One compaction under way. Must be done before the next one to a higher revision begins."""

    __slots__ = ("_history", "_index", "_next", "_revision")

    def __init__(self, index: KeyIndex, history: History, revision: int) -> None:
        self._index = index
        self._history = history
        self._revision = revision
        self._next = history.first  # the revision whose changes come next

    def step(self, max_keys: int) -> bool:
        """Handle changes of at least `max_keys` keys; whether the compaction is done.

        A revision is never split, so one step may see more.
        """
        seen = 0
        while self._next <= self._revision:
            if seen >= max_keys:
                return False
            events = self._history.events(self._next)
            for event in events:
                self._index.compact_key(event.kv.key, self._revision)
            if self._next < self._revision:
                self._history.give_up(self._next)
            seen += len(events)
            self._next += 1
        self._history.trim(self._revision)
        return True

"""Which applied coded batches lack what this replica should hold, and which have more than that.

That is its own fragment. A replica without memory (`wide`) may have held, and said so, a share of
more: as long as not all others have theirs, it has to hold whatever that may have been.

Kept up to date batch by batch; nothing here is written down, since the index says it all again
after the next start, in slices (`Library.load`). A batch is named by its slot's position.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Container

from sortedcontainers import SortedSet  # type: ignore[import-untyped]

from racos.node.library import Library


class Holdings:
    """The books. Invariant: below `whole` the own fragment of every coded batch that something
    still refers to is durable.

    `missing`: not all that is needed is known to be durable. `surplus`: more fragments than the own
    one.
    """

    __slots__ = (
        "_applied_end",
        "_library",
        "_others_whole",
        "_own",
        "_records",
        "_wide",
        "missing",
        "surplus",
    )

    def __init__(self, lane: int, library: Library) -> None:
        self._own = self._wide = 1 << lane
        self._others_whole = 0  # below it all others held their own fragments at some time
        self._library = library
        self._applied_end = 0  # the durable log says that all below is decided and applied
        self._records: deque[tuple[int, int]] = deque()  # (log sequence, that end), ascending
        self.missing: SortedSet[int] = SortedSet()
        self.surplus: SortedSet[int] = SortedSet()

    def needed(self, position: int) -> int:
        """Bit set of the fragments that this replica should hold of a batch, and must not lose."""
        return self._own if position < self._others_whole else self._wide

    def note_others(self, whole: int) -> None:
        """All others hold their own fragments below this position."""
        self._others_whole = max(self._others_whole, whole)

    def widen(self, share: int) -> None:
        """From now on these fragments are needed of batches that not all others have whole."""
        self._wide = share

    def narrow(self, not_durable: Container[int]) -> None:
        """The own fragment is enough again; it is not durable yet of these batches."""
        self._wide = self._own
        held = [each for each in self.missing if self._library.held(each) & self._own]
        self.missing -= {position for position in held if position not in not_durable}

    def _lacks(self, position: int, held: int) -> bool:
        return bool(self.needed(position) & ~held)

    def applied(self, position: int) -> bool:
        """A batch was applied; whether something of it is missing.

        Whatever the log has of it stands before the record that calls it applied.
        """
        if not self._library.is_coded(position):
            return False
        held = self._library.held(position)
        if held & ~self._own:
            self.surplus.add(position)
        if not self._lacks(position, held):
            return False
        self.missing.add(position)
        return True

    def found_durable(self, position: int) -> bool:
        """Fragments that came late are durable now; whether more of the batch are missing."""
        if self._is_over(position):
            self.dead(position)
            return False
        held = self._library.held(position)
        if held & ~self._own:
            self.surplus.add(position)
        if self._lacks(position, held):  # or it was damaged meanwhile
            return position in self.missing
        self.missing.discard(position)
        return False

    def damaged(self, position: int) -> bool:
        """A fragment turned out to be damaged and was dropped; whether that leaves one missing."""
        held = self._library.held(position)
        if not held & ~self._own:
            self.surplus.discard(position)
        if self._is_over(position):
            self.dead(position)
            return False
        if not self._lacks(position, held):
            return False
        self.missing.add(position)
        return True

    def _is_over(self, position: int) -> bool:
        """Whether nobody needs it whole, though it may be served for a while."""
        library = self._library
        return not library.knows(position) or library.is_dead(position) or library.is_null(position)

    def loaded(self, position: int, held: int) -> bool:
        """The index was found to name this of a batch; whether something is missing."""
        if held & ~self._own:
            self.surplus.add(position)
        lacks = self._lacks(position, held)
        if lacks:
            self.missing.add(position)
        return lacks

    def wants(self, position: int) -> bool:
        """Whether a batch's own fragment, should it still come, is to be kept."""
        return position in self.missing and not self._library.held(position) & self._own

    def dead(self, position: int) -> None:
        """Nothing refers to the batch any more: nobody needs it whole."""
        self.missing.discard(position)
        self.surplus.discard(position)

    def appended_applied(self, sequence: int, end: int) -> None:
        """The log's record `sequence`, once durable, says that all below `end` is applied."""
        self._records.append((sequence, end))

    def durable(self, sequence: int) -> None:
        """The log is durable up to this record."""
        while self._records and self._records[0][0] <= sequence:
            self._applied_end = self._records.popleft()[1]

    def replayed(self, end: int) -> None:
        """The log was replayed: it calls everything below `end` applied."""
        self._applied_end = end

    @property
    def whole(self) -> int:
        """Position below which this replica durably holds its fragment of every coded batch.

        Only as far as the log durably calls batches applied: a replica that restarts does not
        vote about such a slot again, so nobody will need surplus fragments there for coverage.
        """
        return self.whole_but_for(())

    def whole_but_for(self, given_up: Container[int]) -> int:
        """As `whole`, if the batches at these positions, which nobody can heal, do not count."""
        if not self._library.loaded:
            return 0
        lacking = (position for position in self.missing if position not in given_up)
        return min(next(lacking, self._applied_end), self._applied_end)

"""The open slots: from the frontier (lowest slot not applied) to a bounded number of rounds above
it.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import takewhile
from typing import Final

from racos.core.lanes import Lane
from racos.core.slot import Slot

LINKS_REACH = 8  # windows above the lowest open round
FORGOTTEN: Final = -1  # decided, but this replica does not remember as what


class Window:
    """Slots by position, the lanes' links, and where the applied prefix ends.

    Invariant: every position below `frontier` is decided and handed out for applying, in order;
    `ones` are those of them, from the floor on, that carried a batch. What lies below the floor is
    forgotten: nobody is told a decision there, and who asks takes the whole state.
    """

    __slots__ = (
        "floor",
        "frontier",
        "highest_one",
        "lanes",
        "ones",
        "rounds_max",
        "slots",
        "total",
    )

    def __init__(self, total: int, rounds_max: int, frontier: int = 0) -> None:
        self.total = total
        self.rounds_max = rounds_max  # W
        self.frontier = frontier
        self.slots: dict[int, Slot] = {}
        self.lanes = [Lane(index) for index in range(total)]
        self.floor = 0
        self.ones: dict[int, None] = {}  # in ascending order
        self.highest_one = -1  # highest position said or known to be 1: the read barrier's answer

    @property
    def round(self) -> int:
        """The lowest round with an undecided slot."""
        return self.frontier // self.total

    def position(self, round_: int, lane: int) -> int:
        return round_ * self.total + lane

    def within(self, round_: int) -> bool:
        """Whether this replica may say anything about that round yet."""
        return round_ <= self.round + self.rounds_max

    def open(self, position: int, now: float) -> Slot:
        """The slot at a position at or above the frontier, made on first use."""
        slot = self.slots.get(position)
        if slot is None:
            slot = self.slots[position] = Slot(position, self.total, now)
            if self.lanes[slot.lane].skipped(slot.round):
                slot.decided = 0
        return slot

    def value_at(self, position: int) -> int | None:
        """What is decided there, None if nothing is known to be; FORGOTTEN below the floor."""
        if position < self.floor:
            return FORGOTTEN
        if position < self.frontier:
            return 1 if position in self.ones else 0
        slot = self.slots.get(position)
        if slot is not None and slot.decided is not None:
            return slot.decided
        round_, lane = divmod(position, self.total)
        return 0 if self.lanes[lane].skipped(round_) else None

    def link(self, lane: int, previous: int, upto: int) -> None:
        """Learn that a lane's owner passed over previous+1 .. upto: open slots there are null.

        What lies far beyond this replica's reach is dropped, lest a replica that is far behind
        gathers links without bound: it gets there by chunks of history, and by asking.
        """
        if previous >= self.round + LINKS_REACH * self.rounds_max:
            return
        if not self.lanes[lane].link(max(previous, self.round - 1), upto):
            return
        span = range(self.position(previous + 1, lane), self.position(upto, lane) + 1, self.total)
        slots = self.slots
        # One that is behind may have thousands of open slots, or be told of thousands of rounds.
        open_ = span if len(span) < len(slots) else [each for each in slots if each in span]
        for position in open_:
            slot = slots.get(position)
            if slot is not None and slot.decided is None:
                slot.decided = 0

    def forget_below(self, position: int) -> None:
        """Raise the floor, at most to the frontier; it never sinks."""
        self.floor = max(self.floor, min(position, self.frontier))
        for old in list(takewhile(self.floor.__gt__, self.ones)):
            del self.ones[old]

    def recall(self, ones: Iterable[int], highest_one: int, floor: int) -> None:
        """What was known before a restart of the slots below the frontier."""
        self.ones = dict.fromkeys(sorted(ones))
        self.highest_one = highest_one
        self.floor = floor

    def note_one(self, position: int) -> None:
        self.highest_one = max(self.highest_one, position)

    def advance(self, value: int) -> None:
        """Step over the slot at the frontier, decided as `value`."""
        position = self.frontier
        self.slots.pop(position, None)
        if value:
            self.ones[position] = None
            self.note_one(position)
        self.frontier = position + 1
        round_, lane = divmod(self.frontier, self.total)
        if lane == 0:
            for known in self.lanes:
                known.forget_below(round_)

"""The open slots: from the frontier (lowest slot not applied) to a bounded number of rounds above
it.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import takewhile
from typing import Final

from racos.core.config import Configs
from racos.core.lanes import Lane
from racos.core.slot import Slot

FORGOTTEN: Final = -1  # decided, but this replica does not remember as what
LINKS_REACH = 8  # windows above the lowest open round


class Window:
    """Slots by position, the lanes' links, and where the applied prefix ends.

    Invariant: every position below `frontier` is decided and handed out for applying, in order;
    `ones` are those of them, from the floor on, that carried a batch. What lies below the floor is
    forgotten: nobody is told a decision there, and who asks takes the whole state.
    """

    __slots__ = (
        "_keeps",
        "configs",
        "floor",
        "frontier",
        "highest_one",
        "lanes",
        "ones",
        "reach",
        "round",
        "rounds_max",
        "slots",
        "total",
    )

    def __init__(
        self, total: int, rounds_max: int, frontier: int = 0, configs: Configs | None = None
    ) -> None:
        self.total = total
        self.rounds_max = rounds_max  # W
        self.frontier = frontier
        self.configs = configs or Configs(0, rounds_max)
        self.slots: dict[int, Slot] = {}
        self.lanes = [Lane(index) for index in range(total)]
        self.floor = 0
        self.ones: dict[int, None] = {}  # in ascending order
        self.highest_one = -1  # highest position said or known to be 1: the read barrier's answer
        self._keeps = False  # a batch was passed, but is not handed out yet
        # Kept, not computed: asked dozens of times for each that is decided.
        self.round = frontier // total  # the lowest with an undecided slot
        # The highest round this replica may say anything about: W above the lowest round with a
        # slot that is undecided, or whose batch is not handed out: it may hold a change of the
        # configuration that this replica does not know yet.
        self.reach = self.round + rounds_max

    def within(self, round_: int) -> bool:
        """Whether this replica may say anything about that round yet."""
        return round_ <= self.reach

    def handed_out(self) -> None:
        """All batches below the frontier are with the driver, which tells what they change."""
        self._keeps = False
        self.reach = self.round + self.rounds_max

    def is_off(self, lane: int, round_: int) -> bool:
        """Whether the round is known to be one in which the lane is switched off."""
        configs = self.configs
        return not configs.plain and self.within(round_) and configs.is_off(lane, round_)

    def position(self, round_: int, lane: int) -> int:
        return round_ * self.total + lane

    def open(self, position: int) -> Slot:
        """The slot at a position at or above the frontier, made on first use."""
        slot = self.slots.get(position)
        if slot is None:
            slot = self.slots[position] = Slot(position, self.total)
            if self.lanes[slot.lane].skipped(slot.round) or self.is_off(slot.lane, slot.round):
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
        if self.lanes[lane].skipped(round_):
            return 0
        # `plain` spares a call for each slot there is, as long as no lane was ever off.
        return None if self.configs.plain or not self.is_off(lane, round_) else 0

    def open_round(self, lane: int, lowest: int) -> int | None:
        """The lowest round of a lane from `lowest` on that is open and that nobody has given up on,
        or one beyond the window; None if the lane is off from there on.
        """
        round_: int | None = max(lowest, self.round)
        while round_ is not None and round_ <= self.reach:
            if not self.configs.plain and self.is_off(lane, round_):
                round_ = self.configs.next_on(lane, round_)
                continue
            position = round_ * self.total + lane
            slot = self.slots.get(position)
            if slot is None and position >= self.frontier:
                return round_
            if slot is not None and slot.decided is None and not slot.phases[0].zeros:
                return round_
            round_ += 1
        return round_

    def highest_spoken(self) -> int:
        """The highest round that is decided here, or that this replica has spoken about."""
        spoken = (
            slot.round
            for slot in self.slots.values()
            if slot.promised_state >= 0 or slot.promised_vote >= 0
        )
        return max(self.round, max(spoken, default=-1))

    def link(self, lane: int, previous: int, upto: int) -> None:
        """Learn that a lane's owner passed over previous+1 .. upto: open slots there are null.

        What lies far beyond this replica's reach is dropped, lest a replica that is far behind
        gathers links without bound: it gets there by chunks of history, and by asking. Its own
        links are never that far away (lanes.REACH_WINDOWS).
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
            self._keeps = True
        self.frontier = position + 1
        round_, lane = divmod(self.frontier, self.total)
        if lane == 0:
            self.round = round_
            if not self._keeps:
                self.reach = round_ + self.rounds_max
            for known in self.lanes:
                known.forget_below(round_)
            if not self.configs.plain:
                self.configs.forget_below(round_)

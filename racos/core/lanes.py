"""Lanes: who may propose where, and which rounds their owners have passed over.

Each replica owns one lane; only it proposes there, at most one batch per round. Its messages are
chained: a Pay names the previous round it proposed in, a Skip the rounds it passed over. Every link
is a true statement by itself ("nothing of mine in previous+1 .. upto"), so links may be lost,
repeated, reordered and passed on by others, and a lost Pay is never mistaken for a skip.
"""

from __future__ import annotations

from bisect import bisect_left

from racos.core.messages import Skip

# No round is reserved further above the own lowest open one than so many windows: so no round that
# anybody uses, passes over or has seen is further above the highest open one of all, which is what
# a replica without memory goes by (racos.core.vow). Whoever is that far behind is waited for by
# nobody (peers.BEHIND_WINDOWS).
REACH_WINDOWS = 4


class Lane:
    """What is known of one lane's skipped rounds, at and above the frontier."""

    __slots__ = ("index", "links")

    def __init__(self, index: int) -> None:
        self.index = index
        self.links: list[tuple[int, int]] = []  # (previous, upto), disjoint, ascending

    def skipped(self, round_: int) -> bool:
        """Whether the owner promised that it has nothing in this round."""
        links = self.links
        if not links:
            return False
        index = bisect_left(links, (round_,))  # the first that begins at or above the round
        return index > 0 and round_ <= links[index - 1][1]

    def link(self, previous: int, upto: int) -> bool:
        """Learn that previous+1 .. upto are empty; False if that was known."""
        if upto <= previous:
            return False
        links = self.links
        first = bisect_left(links, (previous,))
        if first and links[first - 1][1] >= previous:
            first -= 1
        last = first
        while last < len(links) and links[last][0] <= upto:
            if links[last][0] <= previous and upto <= links[last][1]:
                return False
            last += 1
        if last > first:
            previous = min(previous, links[first][0])
            upto = max(upto, links[last - 1][1])
        links[first:last] = [(previous, upto)]
        return True

    def forget_below(self, round_: int) -> None:
        """Drop links that only speak of rounds below this one."""
        if self.links and self.links[0][1] < round_:
            self.links = [link for link in self.links if link[1] >= round_]

    def proofs(self) -> list[Skip]:
        """The links as messages, for a replica that is stuck."""
        return [Skip(self.index, previous, upto) for previous, upto in self.links]


class OwnLane:
    """The rounds this replica has used, skipped and reserved in its own lane.

    Invariant: every round used or skipped is <= reserved_durable at the time it is used, and after
    a restart the lane starts above what was reserved: a forgotten batch can never be replaced by
    another.
    """

    __slots__ = (
        "index",
        "last",
        "next",
        "reserve_block",
        "reserved",
        "reserved_durable",
        "void_upto",
    )

    def __init__(self, index: int, reserve_block: int, reserved: int = -1) -> None:
        self.index = index
        self.reserve_block = reserve_block
        self.void_upto = reserved  # rounds up to here may hide a forgotten batch or skip
        self.last = reserved  # previous end of the chain: last proposed round, or where it begins
        self.next = reserved + 1  # lowest round neither used nor skipped
        self.reserved = reserved  # written down, maybe not durable yet
        self.reserved_durable = reserved

    def wanted_reservation(self, highest: int, limit: int) -> int | None:
        """The round up to which a new reservation should be written down now, if it is time; never
        above `limit`.
        """
        target = max(self.next, highest)
        upto = min(target + self.reserve_block, limit)
        if self.reserved >= min(target + self.reserve_block // 2, upto):
            return None
        self.reserved = upto
        return upto

    def begin_above(self, round_: int) -> None:
        """Rounds up to here belong to an earlier life, of which nothing is known."""
        self.last = self.reserved = self.reserved_durable = round_
        self.next = round_ + 1

    def use(self, round_: int) -> int:
        """Propose in this round; returns the round the new link names as its previous one."""
        assert self.next <= round_ <= self.reserved_durable, (self.next, round_)
        previous, self.last, self.next = self.last, round_, round_ + 1
        return previous

    def skip_to(self, round_: int) -> Skip | None:
        """Pass over everything up to this round (as far as reserved); the link to tell others."""
        upto = min(round_, self.reserved_durable)
        if upto < self.next:
            return None
        self.next = upto + 1
        return Skip(self.index, self.last, upto)

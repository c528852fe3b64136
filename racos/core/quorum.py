"""Quorum arithmetic: how many must answer, and when enough fragments are durable (`cover`).

Sources: Rabia (SOSP 2021) for n-f, majority and f+1; Crossword and Rafture for the coverage rule
that keeps the code fixed and varies how many fragments each replica holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations


class Quorum:
    """The constants of one configuration of n voters, f tolerated crashes, and a code of any k of
    n.
    """

    __slots__ = ("_covered", "data", "everyone", "faults", "majority", "total")

    def __init__(self, total: int, faults: int, data: int) -> None:
        if not 1 <= total <= 9:
            raise ValueError(f"{total} voting replicas; 1 to 9 are supported")
        if not 0 <= faults <= (total - 1) // 2:
            raise ValueError(f"{faults} faults cannot be tolerated by {total} replicas")
        if not 1 <= data <= total - faults:
            raise ValueError(f"{data} data fragments do not fit {total} replicas, {faults} faults")
        self.total = total  # n
        self.faults = faults  # f
        self.data = data  # k
        self.majority = total // 2 + 1
        self.everyone = (1 << total) - 1  # bit set of all replicas
        self._covered: dict[tuple[int, ...], bool] = {}

    @property
    def answers(self) -> int:
        """n-f: how many answers one can wait for without depending on a crashed replica."""
        return self.total - self.faults

    def share(self, replica: int, width: int) -> int:
        """Bit set of the fragments {j, .., j+width-1} mod n that replica j gets at that width."""
        mask = 0
        for step in range(width):
            mask |= 1 << (replica + step) % self.total
        return mask

    def width_for(self, holders: int) -> int:
        """Smallest width with which that many holders cover a value: |H| + c >= k + f + 1."""
        return min(self.data, max(1, self.data + self.faults + 1 - holders))

    def cover(self, held: Iterable[int], *, coded: bool) -> bool:
        """Whether a batch survives any f further losses.

        `held` has one bit set of durable fragments per holder of the descriptor. A batch without
        coded values lies whole in its descriptor, so f+1 holders are enough. A coded one needs k
        distinct fragments left after the loss of any f holders.
        """
        masks = tuple(sorted(held))
        if len(masks) <= self.faults:
            return False
        if not coded:
            return True
        known = self._covered.get(masks)
        if known is None:
            known = self._covered[masks] = self._survives(masks)
        return known

    def _survives(self, masks: Sequence[int]) -> bool:
        for kept in combinations(masks, len(masks) - self.faults):
            union = 0
            for mask in kept:
                union |= mask
            if union.bit_count() < self.data:
                return False
        return True


def bits(mask: int) -> Iterable[int]:
    """The members of a bit set, ascending."""
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low

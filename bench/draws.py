"""Which key comes next: seeded draws from the distributions that YCSB names.

Zipfian draws invert the exact cumulative distribution; with the usual exponent of 0.99 a tenth of
10,000 keys gets about three quarters of the draws.
"""

from __future__ import annotations

import random
from bisect import bisect_left
from collections.abc import Callable
from itertools import accumulate
from typing import Final

UNIFORM: Final = "uniform"
ZIPFIAN: Final = "zipfian"
LATEST: Final = "latest"
DISTRIBUTIONS: Final = (UNIFORM, ZIPFIAN, LATEST)

EXPONENT: Final = 0.99  # YCSB's "zipfian constant"


class Zipf:
    """Ranks 0 to count - 1, rank r with a probability in proportion to (r + 1) ** -exponent."""

    def __init__(self, count: int, source: random.Random, exponent: float = EXPONENT) -> None:
        if count < 1:
            raise ValueError("need at least one rank to draw from")
        self._upto = list(accumulate((rank + 1) ** -exponent for rank in range(count)))
        self._source = source

    def draw(self) -> int:
        """The next rank; 0 is the most frequent one."""
        return bisect_left(self._upto, self._source.random() * self._upto[-1])


def drawer(distribution: str, count: int, source: random.Random) -> Callable[[], int]:
    """A function that draws an index below `count`; raises ValueError for an unknown name.

    `zipfian` spreads its favourites over the key space; `latest` gives how far back from the newest
    key to go, 0 being the newest itself.
    """
    if distribution == UNIFORM:
        return lambda: source.randrange(count)
    ranks = Zipf(count, source)
    if distribution == LATEST:
        return ranks.draw
    if distribution != ZIPFIAN:
        raise ValueError(f"unknown distribution {distribution!r}")
    place = list(range(count))
    source.shuffle(place)
    return lambda: place[ranks.draw()]

"""The common coin: one fair bit for each secret, slot and phase, the same wherever it is asked."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from racos.core.coin import coin

BITS = [1, 0, 1, 0, 1, 0, 0, 0, 1, 0, 0, 1, 0, 1, 1, 0]

VARIED: dict[str, Callable[[int], int]] = {
    "slot": lambda number: coin(b"secret", number, 0),
    "phase": lambda number: coin(b"secret", 0, number),
    "secret": lambda number: coin(b"secret %d" % number, 0, 0),
}


@pytest.mark.parametrize("varied", VARIED)
def test_each_of_what_it_depends_on_gives_another_fair_bit(varied: str) -> None:
    bits = [VARIED[varied](number) for number in range(2000)]
    assert 900 < sum(bits) < 1100
    # Neighbours, at an even or an odd place, differ half of the time.
    for first in (0, 1):
        pairs = zip(bits[first::2], bits[first + 1 :: 2], strict=False)
        assert 420 < sum(one ^ other for one, other in pairs) < 580


def test_asking_changes_nothing() -> None:
    first = [coin(b"secret", slot, phase) for slot in range(4) for phase in range(4)]
    again = [coin(b"secret", slot, phase) for slot in range(4) for phase in range(4)]
    # Replicas of different releases toss together: these bits may never change.
    assert first == again == BITS

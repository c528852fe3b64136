"""What counts as whole while a replica without memory makes its fragments again."""

from __future__ import annotations

from typing import cast

from racos.node.holdings import Holdings
from racos.node.library import Library


class Held:
    """A library of coded batches, by position: bit sets of fragments that the log has."""

    loaded = True

    def __init__(self, **held: int) -> None:
        self.fragments = {int(name[1:]): mask for name, mask in held.items()}
        self.over: set[int] = set()  # positions to which nothing refers any more

    def held(self, position: int) -> int:
        return self.fragments[position]

    def knows(self, position: int) -> bool:
        return position in self.fragments

    def is_dead(self, position: int) -> bool:
        return position in self.over

    def is_null(self, position: int) -> bool:
        del position
        return False

    def is_coded(self, position: int) -> bool:
        return position in self.fragments


def books(held: Held) -> Holdings:
    """Of replica 1, which may have held two fragments; all is durably applied."""
    holdings = Holdings(1, cast(Library, held))
    holdings.widen(0b110)
    for position in held.fragments:
        holdings.applied(position)
    holdings.appended_applied(1, 100)
    holdings.durable(1)
    return holdings


def test_a_share_counts_when_all_of_it_is_there() -> None:
    held = Held(p3=0b110, p5=0b010, p7=0b000)
    holdings = books(held)
    assert list(holdings.missing) == [5, 7]
    held.fragments[5] = 0b110
    assert not holdings.found_durable(5)
    assert holdings.whole == 7
    assert list(holdings.surplus) == [3, 5]


def test_below_what_all_others_hold_the_own_fragment_is_enough() -> None:
    holdings = books(Held(p3=0b010, p5=0b010))
    holdings.note_others(4)
    assert (holdings.needed(3), holdings.needed(5)) == (0b010, 0b110)
    assert not holdings.found_durable(3)
    assert holdings.whole == 5


def test_what_is_not_durable_yet_stays_missing_when_the_own_fragment_is_enough_again() -> None:
    held = Held(p3=0b000, p5=0b010, p7=0b000)
    holdings = books(held)
    held.fragments[3] = 0b110  # appended to the log, and not synced
    holdings.narrow({3})
    assert list(holdings.missing) == [3, 7]
    assert holdings.whole == 3
    assert not holdings.found_durable(3)
    assert holdings.whole == 7


def test_a_dead_batch_is_neither_healed_nor_pruned_whatever_is_still_found_of_it() -> None:
    held = Held(p3=0b000, p5=0b110)
    holdings = books(held)
    holdings.dead(3)
    holdings.dead(5)
    held.over = {3, 5}
    held.fragments[3] = 0b110  # what was being fetched when it died
    assert not holdings.found_durable(3)
    held.fragments[5] = 0b100
    assert not holdings.damaged(5)
    assert not holdings.missing
    assert not holdings.surplus
    assert holdings.whole == 100

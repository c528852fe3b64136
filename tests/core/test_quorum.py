"""Quorum arithmetic against brute force, for every configuration of up to 9 voters."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from itertools import combinations

import pytest

from racos.core.quorum import Quorum, bits

CONFIGURATIONS = [
    (total, faults, data)
    for total in range(1, 10)
    for faults in range((total - 1) // 2 + 1)
    for data in range(1, total - faults + 1)
]


def survives_any_losses(quorum: Quorum, masks: Sequence[int]) -> bool:
    """Cover said from the other end: no k-1 fragments are all that is left after f losses.

    What is left lies within a set of k-1 fragments only if all those who hold something outside
    of it are among the f lost.
    """
    for few in combinations(range(quorum.total), quorum.data - 1):
        inside = sum(1 << fragment for fragment in few)
        if sum(1 for mask in masks if mask & ~inside) <= quorum.faults:
            return False
    return True


def holder_sets(total: int) -> Iterator[tuple[int, ...]]:
    """Every set of holders for up to 6 replicas; above, one of each class equal by rotation."""
    seen: set[int] = set()
    for mask in range(1 << total):
        if total > 6:
            if mask in seen:
                continue
            whole = (1 << total) - 1
            seen |= {(mask << turn | mask >> (total - turn)) & whole for turn in range(total)}
        yield tuple(bits(mask))


@pytest.mark.parametrize(("total", "faults", "data"), CONFIGURATIONS)
def test_cover_of_equal_widths_is_what_brute_force_says(total: int, faults: int, data: int) -> None:
    quorum = Quorum(total, faults, data)
    for width in range(1, data + 1):
        for holders in holder_sets(total):
            masks = [quorum.share(holder, width) for holder in holders]
            covered = quorum.cover(masks, coded=True)
            assert covered == survives_any_losses(quorum, masks), (width, holders)
            if len(holders) > faults and len(holders) + width >= data + faults + 1:
                assert covered, "the closed formula must be enough"


@pytest.mark.parametrize(("total", "faults", "data"), CONFIGURATIONS)
def test_cover_of_any_fragments_is_what_brute_force_says(
    total: int, faults: int, data: int
) -> None:
    quorum = Quorum(total, faults, data)
    choose = random.Random(total * 100 + faults * 10 + data)
    for _ in range(60):
        masks = [choose.randrange(1 << total) for _ in range(choose.randint(0, total))]
        assert quorum.cover(masks, coded=True) == survives_any_losses(quorum, masks), masks


@pytest.mark.parametrize(("total", "faults", "data"), CONFIGURATIONS)
def test_the_closed_formula_is_exact_for_neighbours_in_a_row(
    total: int, faults: int, data: int
) -> None:
    """Neighbours overlap most: h of them at width c hold h+c-1 fragments, f losses cost f."""
    quorum = Quorum(total, faults, data)
    for width in range(1, data + 1):
        for count in range(1, total - width + 2):
            masks = [quorum.share(holder, width) for holder in range(count)]
            formula = count > faults and count + width >= data + faults + 1
            assert quorum.cover(masks, coded=True) == formula, (width, count)


@pytest.mark.parametrize(("total", "faults", "data"), CONFIGURATIONS)
def test_width_for_is_the_smallest_that_covers(total: int, faults: int, data: int) -> None:
    quorum = Quorum(total, faults, data)
    for count in range(faults + 1, total + 1):
        width = quorum.width_for(count)
        assert 1 <= width <= data
        for holders in combinations(range(total), count):
            masks = [quorum.share(holder, width) for holder in holders]
            assert quorum.cover(masks, coded=True)
        assert width == 1 or count + width - 1 < data + faults + 1


@pytest.mark.parametrize(("total", "faults", "data"), CONFIGURATIONS)
def test_an_inline_batch_needs_one_holder_more_than_may_be_lost(
    total: int, faults: int, data: int
) -> None:
    quorum = Quorum(total, faults, data)
    for count in range(total + 1):
        assert quorum.cover([1] * count, coded=False) == (count > faults)


@pytest.mark.parametrize(
    ("total", "faults", "data", "holders_by_width"),
    [
        (3, 1, 2, {1: 3, 2: 2}),
        (5, 2, 3, {1: 5, 2: 4, 3: 3}),
        (5, 1, 3, {1: 4, 2: 3, 3: 2}),
        (7, 3, 4, {1: 7, 2: 6, 3: 5, 4: 4}),
    ],
)
def test_holders_needed_in_the_usual_configurations(
    total: int, faults: int, data: int, holders_by_width: dict[int, int]
) -> None:
    """The table of docs/protocol.md."""
    quorum = Quorum(total, faults, data)
    for width, needed in holders_by_width.items():
        for count in range(total + 1):
            masks = [quorum.share(holder, width) for holder in range(count)]
            assert quorum.cover(masks, coded=True) == (count >= needed), (width, count)


def test_every_quorum_meets_every_sample() -> None:
    """What the proofs rest on: majorities meet, and f+1 equal votes meet any n-f votes."""
    for total, faults, data in CONFIGURATIONS:
        quorum = Quorum(total, faults, data)
        assert 2 * quorum.majority > total
        assert quorum.majority + quorum.answers > total
        assert faults + 1 + quorum.answers > total
        assert quorum.everyone.bit_count() == total


def test_shares_are_neighbours_that_wrap_around() -> None:
    quorum = Quorum(5, 2, 3)
    assert list(bits(quorum.share(1, 3))) == [1, 2, 3]
    assert list(bits(quorum.share(4, 2))) == [0, 4]
    union = 0
    for replica in range(5):
        union |= quorum.share(replica, 1)
    assert union == quorum.everyone


@pytest.mark.parametrize(
    ("total", "faults", "data", "message"),
    [
        (0, 0, 1, "1 to 9"),
        (10, 1, 2, "1 to 9"),
        (3, 2, 1, "2 faults cannot"),
        (4, 2, 1, "2 faults cannot"),
        (3, -1, 1, "-1 faults cannot"),
        (3, 1, 3, "3 data fragments"),
        (3, 1, 0, "0 data fragments"),
    ],
)
def test_impossible_configurations_are_refused(
    total: int, faults: int, data: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Quorum(total, faults, data)

"""Lanes: chain links in any order, reservations before use."""

from __future__ import annotations

import random
from itertools import pairwise, permutations

import pytest

from racos.core.lanes import Lane, OwnLane
from racos.core.messages import Skip


def test_links_in_any_order_merge_and_never_cover_a_proposed_round() -> None:
    """Rounds 0, 3 and 4 were proposed in; 1-2 and 5-7 were passed over, partly told twice."""
    links = [(0, 2), (4, 6), (4, 7), (5, 7), (3, 3)]
    for order in permutations(links):
        lane = Lane(0)
        for previous, upto in order:
            lane.link(previous, upto)
        assert [round_ for round_ in range(10) if lane.skipped(round_)] == [1, 2, 5, 6, 7]
        assert lane.links == [(0, 2), (4, 7)]


def test_a_link_is_news_once() -> None:
    lane = Lane(1)
    assert lane.link(-1, 3)
    assert not lane.link(-1, 3)
    assert not lane.link(0, 2)
    assert not lane.link(3, 3)
    assert lane.link(3, 4)
    assert lane.proofs() == [Skip(1, -1, 4)]


@pytest.mark.parametrize("seed", range(20))
def test_links_say_what_a_set_of_rounds_would_say(seed: int) -> None:
    draw = random.Random(seed)
    lane, rounds = Lane(0), set[int]()
    for _ in range(60):
        previous = draw.randrange(-1, 50)
        upto = previous + draw.randrange(-1, draw.choice((3, 20)))
        told = set(range(previous + 1, upto + 1))
        assert lane.link(previous, upto) == (not told <= rounds)
        rounds |= told
        assert {round_ for round_ in range(-1, 80) if lane.skipped(round_)} == rounds
        assert lane.links == sorted(lane.links)
        assert all(one[1] < other[0] for one, other in pairwise(lane.links))


def test_old_links_are_forgotten() -> None:
    lane = Lane(0)
    lane.link(-1, 3)
    lane.link(5, 9)
    lane.forget_below(3)
    assert lane.skipped(3)
    lane.forget_below(4)
    assert lane.links == [(5, 9)]


def test_nothing_is_used_or_skipped_before_its_reservation_is_durable() -> None:
    own = OwnLane(0, reserve_block=8)
    assert own.wanted_reservation(-1, 100) == 8
    assert own.wanted_reservation(-1, 100) is None
    assert own.skip_to(5) is None
    with pytest.raises(AssertionError):
        own.use(0)
    own.reserved_durable = 4
    assert own.use(0) == -1
    assert own.use(2) == 0
    assert own.skip_to(7) == Skip(0, 2, 4)
    assert own.skip_to(7) is None
    with pytest.raises(AssertionError):
        own.use(4)


def test_the_next_block_is_reserved_when_half_is_used() -> None:
    own = OwnLane(0, reserve_block=8)
    own.wanted_reservation(-1, 100)
    assert own.wanted_reservation(4, 100) is None
    assert own.wanted_reservation(5, 100) == 13


def test_a_restarted_lane_begins_above_its_reservation() -> None:
    own = OwnLane(2, reserve_block=8, reserved=12)
    assert own.void_upto == 12
    own.reserved_durable = 20
    with pytest.raises(AssertionError):
        own.use(12)
    assert own.use(13) == 12

"""The window: frontier, skipped slots, bounds."""

from __future__ import annotations

from racos.core.window import FORGOTTEN, LINKS_REACH, Window


def test_slots_of_passed_over_rounds_are_null_known_or_not() -> None:
    window = Window(3, rounds_max=4)
    early = window.open(1)
    window.link(1, -1, 2)
    assert early.decided == 0
    assert window.open(4).decided == 0
    assert window.value_at(7) == 0
    assert window.value_at(10) is None
    assert window.value_at(0) is None


def test_a_link_decides_nothing_again() -> None:
    window = Window(3, rounds_max=4)
    slot = window.open(1)
    slot.decided = 1
    window.link(1, -1, 2)
    assert slot.decided == 1


def test_the_frontier_leaves_values_behind_and_moves_the_bound() -> None:
    window = Window(2, rounds_max=4)
    window.open(0)
    assert window.within(4)
    assert not window.within(5)
    window.advance(1)
    window.advance(0)
    assert (window.frontier, window.round) == (2, 1)
    assert (window.value_at(0), window.value_at(1), window.value_at(2)) == (1, 0, None)
    assert window.slots == {}
    assert window.highest_one == 0
    assert not window.within(5), "the batch passed may change the configuration of round 5"
    window.handed_out()
    assert window.within(5)


def test_links_below_the_frontier_are_dropped_or_cut() -> None:
    window = Window(1, rounds_max=4, frontier=5)
    window.link(0, -1, 3)
    assert window.lanes[0].links == []
    window.link(0, -1, 7)
    assert window.lanes[0].links == [(4, 7)]
    for _ in range(3):
        window.advance(0)
    assert window.lanes[0].links == []


def test_the_highest_one_never_falls() -> None:
    window = Window(3, rounds_max=4)
    window.note_one(7)
    window.note_one(2)
    assert window.highest_one == 7


def test_what_lies_below_the_floor_is_forgotten() -> None:
    window = Window(2, rounds_max=4)
    for position in range(8):
        window.advance(position % 2)
    window.forget_below(5)
    assert [window.value_at(position) for position in range(4, 9)] == [FORGOTTEN, 1, 0, 1, None]
    assert list(window.ones) == [5, 7]
    window.forget_below(3)
    window.forget_below(100)
    assert window.floor == window.frontier == 8
    assert not window.ones
    window.advance(1)
    assert window.value_at(8) == 1


def test_links_far_beyond_reach_are_not_gathered() -> None:
    window = Window(3, rounds_max=4)
    for round_ in range(0, 200, 2):
        window.link(0, round_, round_ + 1)  # it proposed in every second round
    assert len(window.lanes[0].links) == 4 * LINKS_REACH // 2
    assert window.value_at(window.position(4 * LINKS_REACH - 1, 0)) == 0
    assert window.value_at(window.position(4 * LINKS_REACH + 1, 0)) is None


def test_a_link_over_many_rounds_and_one_over_few_reach_the_same_slots() -> None:
    for upto in (3, 10_000):
        window = Window(3, rounds_max=4)
        slots = [window.open(window.position(round_, lane)) for round_, lane in SOME]
        window.link(1, 0, upto)
        assert [slot.decided for slot in slots] == [None, None, 0, 0, None]


SOME = ((0, 1), (2, 0), (1, 1), (3, 1), (2, 2))

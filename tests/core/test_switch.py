"""Who proposes to switch a lane off or on, and when."""

from __future__ import annotations

import pytest

from racos.core.config import Change, Config, Configs
from racos.core.messages import Beat
from racos.core.quorum import Quorum
from racos.core.switch import AGAIN_TIMES, TAKE_OVER_SECONDS, Switch

TICK = 0.05
Q5 = Quorum(5, 2, 3)


class View:
    """One replica's switch, and time."""

    def __init__(self, me: int, quorum: Quorum = Q5, off: int = 0) -> None:
        self.configs = Configs(quorum.faults, 16, (Config(4, 0, off),))
        self.switch = Switch(me, quorum, self.configs, 1.0, 16)
        self.now = 0.0

    def wish_within(self, seconds: float, suspected: int = 0) -> tuple[float, Change] | None:
        """The first wish, and after how long."""
        for step in range(round(seconds / TICK) + 1):
            self.switch.tick(self.now, suspected)
            wish = self.switch.take_wish()
            self.now += TICK
            if wish is not None:
                return step * TICK, wish
        return None

    def apply(self, owner: int, change: Change) -> None:
        self.switch.applied(owner, change, self.configs.apply(change, 0), self.now)

    def hear_back(self, peer: int, round_: int = 10, own_round: int = 10) -> None:
        self.switch.heard(peer, Beat(round_, round_ * 5, 0, 4, back=True), own_round, self.now)


@pytest.mark.parametrize(("me", "turn"), [(0, 0), (1, 1), (3, 2), (4, 3)])
def test_a_lane_suspect_for_long_is_switched_off_by_one_after_the_other(me: int, turn: int) -> None:
    wished = View(me).wish_within(10, suspected=0b00100)
    assert wished is not None
    assert wished[1] == Change(2, False, 4)
    assert wished[0] == pytest.approx(1.0 + turn * TAKE_OVER_SECONDS, abs=2 * TICK)


def test_whoever_is_suspect_or_off_has_no_turn() -> None:
    wished = View(2, off=0b00001).wish_within(10, suspected=0b00010)
    assert wished is not None
    assert wished[0] == pytest.approx(1.0, abs=2 * TICK)


@pytest.mark.parametrize(
    ("view", "suspected"),
    [
        pytest.param(View(0), 0, id="nobody is suspect"),
        pytest.param(View(0), 0b11100, id="no quorum"),
        pytest.param(View(0, off=0b00001), 0b00100, id="the own lane is off"),
        pytest.param(View(0, off=0b00110), 0b01000, id="f lanes are off"),
        pytest.param(View(0, off=0b00100), 0b00100, id="it is off already"),
        pytest.param(View(0, Quorum(2, 0, 2)), 0b10, id="f is 0"),
    ],
)
def test_when_nothing_is_proposed(view: View, suspected: int) -> None:
    assert view.wish_within(5, suspected) is None


def test_suspicion_that_breaks_off_begins_anew() -> None:
    view = View(0)
    assert view.wish_within(0.9, 0b100) is None
    assert view.wish_within(TICK) is None
    assert view.wish_within(0.9, 0b100) is None


def test_there_is_one_wish_until_it_was_applied() -> None:
    view = View(0)
    first = view.wish_within(2, 0b11000)
    assert first is not None
    assert first[1] == Change(3, False, 4)
    assert view.wish_within(5, 0b11000) is None
    view.apply(1, Change(3, False, 4))
    assert view.wish_within(5, 0b11000) is None, "that was another's"
    view.apply(0, first[1])
    assert view.wish_within(TICK, 0b11000) == (0, Change(4, False, 5))


def test_an_owner_that_is_back_gets_its_lane_at_once() -> None:
    view = View(0, off=0b100)
    assert view.wish_within(1) is None
    view.hear_back(2)
    assert view.wish_within(1) == (0, Change(2, True, 4))


def test_the_next_one_takes_over_if_the_lane_does_not_come_on() -> None:
    view = View(3, off=0b00100)
    view.hear_back(2)
    wished = view.wish_within(5)
    assert wished is not None
    assert wished[0] == pytest.approx(2 * TAKE_OVER_SECONDS, abs=2 * TICK)


def test_an_owner_that_is_behind_waits_until_it_has_caught_up() -> None:
    view = View(0, off=0b100)
    view.hear_back(2, round_=5, own_round=10)
    assert view.wish_within(1) is None
    view.hear_back(2, round_=6, own_round=10)
    assert view.wish_within(1) == (0, Change(2, True, 4))


def test_an_owner_that_is_gone_again_or_does_not_ask_any_more_is_forgotten() -> None:
    for suspected in (0b100, 0):
        view = View(1, off=0b100)
        view.hear_back(2)
        view.switch.heard(2, Beat(10, 50, 0, 5), 10, view.now)
        assert view.wish_within(2, suspected) is None


def test_a_lane_that_came_on_stays_on_for_a_while() -> None:
    view = View(0, off=0b100)
    view.hear_back(2)
    wished = view.wish_within(1)
    assert wished is not None
    view.apply(0, wished[1])
    again = view.wish_within(10, 0b100)
    assert again is not None
    assert again[0] == pytest.approx(AGAIN_TIMES * 1.0, abs=2 * TICK)


def test_what_took_place_is_counted() -> None:
    view = View(0)
    view.apply(1, Change(2, False, 4))
    view.apply(1, Change(2, False, 4))
    view.apply(1, Change(2, True, 5))
    assert view.switch.statistics == {"lanes_off": 1, "lanes_on": 1}

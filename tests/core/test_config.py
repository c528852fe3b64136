"""Epochs as a function of the round: tables, and the window that keeps everybody to one answer."""

from __future__ import annotations

import pytest

from racos.core.config import Change, Config, Configs
from racos.core.effects import Chunk
from racos.core.messages import (
    AppliedRecord,
    Ask,
    Beat,
    Payload,
    PayRecord,
    Probe,
    ProbeReply,
    Skip,
    StateRecord,
)
from racos.core.quorum import Quorum
from racos.core.recovery import Recovered
from racos.core.replica import Replica, Settings
from racos.core.window import Window
from tests.core.lane_model import LaneModel, change_payload

OFF2, ON2 = Change(2, False, 0), Change(2, True, 1)


def switched(*changes: tuple[int, Change], faults: int = 1, delay: int = 4) -> Configs:
    """After these changes, each with the round of its slot."""
    configs = Configs(faults, delay)
    for round_, change in changes:
        assert configs.apply(change, round_) is not None
    return configs


@pytest.mark.parametrize(
    ("round_", "off"), [(0, 0), (7, 0), (8, 0b100), (19, 0b100), (24, 0b100), (25, 0), (10**9, 0)]
)
def test_a_change_holds_from_w_plus_one_rounds_after_its_slot(round_: int, off: int) -> None:
    configs = switched((3, OFF2), (20, ON2))
    assert configs.at(round_).off == off
    assert configs.is_off(2, round_) == bool(off)
    assert not configs.is_off(1, round_)


@pytest.mark.parametrize(
    ("before", "change", "acts"),
    [
        pytest.param([], Change(2, False, 0), True, id="off"),
        pytest.param([], Change(2, False, 1), False, id="follows an epoch that is not there"),
        pytest.param([], Change(2, True, 0), False, id="on already"),
        pytest.param([OFF2], Change(2, True, 1), True, id="on again"),
        pytest.param([OFF2], Change(2, False, 1), False, id="off already"),
        pytest.param([OFF2], Change(1, False, 0), False, id="another came before it"),
        pytest.param([OFF2], Change(1, False, 1), True, id="two of n=5"),
        pytest.param(
            [OFF2, Change(1, False, 1)], Change(0, False, 2), False, id="n-f lanes stay on"
        ),
        pytest.param(
            [OFF2, Change(1, False, 1)], Change(1, True, 2), True, id="on with f of them off"
        ),
    ],
)
def test_which_changes_act(before: list[Change], change: Change, acts: bool) -> None:
    configs = switched(*[(0, each) for each in before], faults=2)
    newest = configs.newest
    config = configs.apply(change, 7)
    assert (config is not None) == acts
    expected = Config(newest.epoch + 1, 12, newest.off ^ 1 << change.lane)
    assert configs.newest == (expected if acts else newest)


def test_no_lane_is_switched_off_where_no_replica_may_fail() -> None:
    assert Configs(0, 4).apply(Change(1, False, 0), 0) is None


@pytest.mark.parametrize(("round_", "found"), [(0, 0), (7, 7), (8, 25), (24, 25), (25, 25)])
def test_the_next_round_in_which_a_lane_is_on(round_: int, found: int) -> None:
    assert switched((3, OFF2), (20, ON2)).next_on(2, round_) == found


def test_a_lane_off_for_good_has_no_such_round() -> None:
    configs = switched((3, OFF2))
    assert (configs.next_on(2, 7), configs.next_on(2, 8), configs.next_on(0, 8)) == (7, None, 8)


def test_what_lies_below_the_frontier_is_forgotten_and_the_rest_is_not() -> None:
    configs = switched((3, OFF2), (20, ON2))
    configs.forget_below(8)
    assert ([config.first for config in configs.known], configs.plain) == ([8, 25], False)
    configs.forget_below(24)
    assert configs.at(24).off == 0b100
    configs.forget_below(25)
    assert (configs.known, configs.plain) == ((Config(2, 25, 0),), True)
    with pytest.raises(ValueError, match="round 24 is below"):
        configs.at(24)


def test_two_changes_of_one_round_hold_together() -> None:
    configs = switched((3, OFF2), (3, Change(0, False, 1)), faults=2)
    assert (configs.at(7).off, configs.at(8).off) == (0, 0b101)


def test_configs_and_the_model_of_the_schedules_agree() -> None:
    configs, model = Configs(2, 4), LaneModel(2, 4)
    for round_ in range(60):
        change = Change(
            round_ * 7 % 5, round_ * 5 % 3 == 0, configs.newest.epoch - (round_ % 4 == 0)
        )
        model_says = model.apply(round_, change_payload(change).descriptor)
        assert configs.apply(change, round_) == model_says, round_
    assert configs.newest.epoch > 10


# -- the window: nothing is taken for known that may still change ----------------------------------


def test_a_lane_that_may_come_on_beyond_the_window_is_not_taken_for_off() -> None:
    window = Window(3, 4, configs=switched((3, OFF2)))
    for _ in range(4 * 3):
        window.advance(0)
    assert window.value_at(window.position(8, 2)) == 0
    assert window.value_at(window.position(9, 2)) is None
    assert window.open(window.position(9, 2)).decided is None


def test_a_batch_passed_but_not_handed_out_keeps_the_window_where_it_was() -> None:
    window = Window(3, 4, configs=switched((0, OFF2)))
    window.advance(1)
    for _ in range(11):
        window.advance(0)
    assert (window.round, window.reach) == (4, 4)
    assert window.value_at(window.position(5, 2)) is None
    window.handed_out()
    assert window.reach == 8
    assert window.value_at(window.position(5, 2)) == 0


# -- a replica -------------------------------------------------------------------------------------

Q3 = Quorum(3, 1, 2)


def replica(lane: int, past: Recovered | None = None) -> Replica:
    made = Replica(Settings(Q3, lane, b"secret", rounds_max=4), 0.0, past)
    for peer in range(3):
        if peer != lane:
            made.peer_up(peer)
    made.persisted(made.take_effects().token)
    made.take_effects()
    return made


def switch(made: Replica, *changes: Change) -> None:
    """Each in a round of its own, proposed in lane 0 and decided."""
    for change in changes:
        round_ = made.window.round
        made.install(1, _history(made, round_, change))
        ((position, _),) = made.take_effects().applied
        assert made.change(position, change) is not None
        made.persisted(made.take_effects().token)


def _history(made: Replica, round_: int, change: Change) -> Chunk:
    start, end = made.window.frontier, (round_ + 1) * 3
    return Chunk(start, end, ((round_ * 3, change_payload(change)),), end)


def test_nothing_is_written_about_a_lane_that_is_off() -> None:
    made = replica(0)
    switch(made, OFF2)
    made.peer_down(2)
    made.receive(1, Skip(1, -1, 4))
    made.tick(0.3)
    made.receive(1, Skip(1, 4, 9))
    effects = made.take_effects()
    said = [record for record in effects.records if isinstance(record, StateRecord)]
    assert [(record.lane, record.first, record.last) for record in said] == [(2, 1, 4)]


def test_an_owner_whose_lane_is_off_proposes_above_it_once_it_is_on() -> None:
    made = replica(2)
    switch(made, OFF2)
    assert made.propose(Payload(b"below")) == 1 * 3 + 2, "its lane is on up to r4"
    made.receive(0, Beat(5, 3))
    made.persisted(made.take_effects().token)
    assert not made.can_propose()
    switch(made, ON2)
    assert made.propose(Payload(b"above")) == 6 * 3 + 2, "r1 and W + 1 rounds"


def test_a_restarted_replica_stands_in_the_epoch_its_log_tells_of() -> None:
    past = Recovered(3)
    past.add(PayRecord(0, 0, change_payload(OFF2), 1, True))
    past.add(AppliedRecord(0, 3, (0,)))
    past.changes.append((0, OFF2))
    made = replica(0, past)
    assert made.configs.newest == Config(1, 5, 0b100)
    assert made.window.value_at(5 * 3 + 2) == 0


def test_a_replica_may_start_from_epochs_that_a_checkpoint_kept() -> None:
    past = Recovered(3)
    past.frontier = 30 * 3
    past.configs = (Config(6, 20, 0b001),)
    past.changes = [(29 * 3 + 1, Change(0, True, 6))]
    made = replica(1, past)
    assert made.configs.known == (Config(6, 20, 0b001), Config(7, 34, 0))


def test_a_read_asks_as_many_as_ever_with_a_lane_off() -> None:
    made = replica(0)
    switch(made, OFF2)
    made.read(1)
    effects = made.take_effects()
    (probe,) = [message for _, message in effects.sends if isinstance(message, Probe)]
    assert effects.reads == []
    made.receive(1, ProbeReply(probe.number, -1))
    assert made.take_effects().reads == [1]


def test_one_that_hears_of_a_newer_epoch_asks_for_the_history() -> None:
    made = replica(0)
    made.tick(0.2)
    made.receive(1, Beat(7, 21, 0, 0))
    assert not [message for _, message in made.take_effects().sends if isinstance(message, Ask)]
    made.receive(1, Beat(7, 21, 0, 1))
    assert (1, Ask(1)) in made.take_effects().sends
    made.receive(1, Beat(7, 21, 0, 1))
    assert not [message for _, message in made.take_effects().sends if isinstance(message, Ask)]

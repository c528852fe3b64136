"""The simulated world's parts: time, clocks, disks, network, options."""

from __future__ import annotations

import random
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from racos.core.messages import UNSURE, Ask, State, Vote
from racos.mvcc.command import Put
from racos.mvcc.store import Store
from racos.node import wire
from racos.sim.adversary import Adversary
from racos.sim.campaign import (
    Failure,
    Totals,
    append_ledger,
    current_commit,
    percentile,
    ranges,
    run_many,
)
from racos.sim.checks.bounds import Bounds
from racos.sim.checks.state import Digests
from racos.sim.cli import run
from racos.sim.clock import Clock
from racos.sim.disk import Died, SimDisk
from racos.sim.events import Events
from racos.sim.network import Frame, Network
from racos.sim.options import FAULTS, Options, changed, draw
from racos.sim.violation import Violation
from racos.sim.world import Outcomes, World
from racos.storage.log import Log

FRAME, _ = wire.encode([State(0, 1, 1, 0, 1, 0)])


def test_events_run_by_time_and_then_by_age() -> None:
    events, seen = Events(), list[str]()
    events.after(2.0, seen.append, "late")
    events.after(1.0, seen.append, "first")
    events.after(1.0, seen.append, "second")
    assert events.run(1.5) == 2
    assert (seen, events.now) == (["first", "second"], 1.5)


def test_a_clock_keeps_its_time_when_its_rate_changes() -> None:
    events = Events()
    clock = Clock(events, 100.0)
    events.run(2.0)
    clock.set_rate(0.5)
    events.run(6.0)
    assert clock() == 104.0
    clock.jump(7.0)
    events.run(8.0)
    assert clock() == 8.0


# -- disk ----------------------------------------------------------------------------------------


def _log(disk: SimDisk) -> Log:
    log = Log.open(disk, member_id=1, cluster_id=1)
    list(log.replay())
    return log


def test_power_lost_in_the_middle_of_a_batch_leaves_a_log_that_opens() -> None:
    for seed in range(20):
        disk = SimDisk(random.Random(seed))
        log = _log(disk)
        log.append(1, b"kept")
        first = log.take()
        assert first is not None
        first.run()
        log.done(first)
        log.append(1, b"torn" * 1000)
        batch = log.take()
        assert batch is not None
        disk.steps_left = 1  # written, not synced
        with pytest.raises(Died):
            batch.run()
        disk.power_off()
        again = Log.open(disk, member_id=1, cluster_id=1)
        assert [entry.header for entry in again.replay()][:1] == [b"kept"]


def test_a_killed_process_leaves_what_it_wrote() -> None:
    disk = SimDisk(random.Random(1))
    log = _log(disk)
    log.append(1, b"written")
    batch = log.take()
    assert batch is not None
    disk.steps_left = 1
    with pytest.raises(Died):
        batch.run()
    disk.process_died()
    again = Log.open(disk, member_id=1, cluster_id=1)
    assert [entry.header for entry in again.replay()] == [b"written"]
    disk.power_off()  # what was replayed was made durable first
    last = Log.open(disk, member_id=1, cluster_id=1)
    assert [entry.header for entry in last.replay()] == [b"written"]


# -- network -------------------------------------------------------------------------------------


class Ends:
    """Two nodes that note what reaches them."""

    def __init__(self, **options: object) -> None:
        self.events = Events()
        self.got: list[tuple[int, int, Frame]] = []
        self.told: list[tuple[str, int, int]] = []
        settings = replace(Options(1, nodes=2, faults_max=0), **options)  # type: ignore[arg-type]
        self.network = Network(
            settings,
            self.events,
            lambda a, b, frame: self.got.append((a, b, frame)),
            lambda whom, about: self.told.append(("up", whom, about)),
            lambda whom, about: self.told.append(("down", whom, about)),
            lambda _lane: True,
        )
        self.run(0.01)

    def run(self, seconds: float) -> None:
        self.events.run(self.events.now + seconds)

    def send(self, count: int) -> None:
        for _ in range(count):
            self.network.send(0, 1, FRAME, ())


def test_a_connection_delivers_everything_in_order() -> None:
    ends = Ends()
    for number in range(50):
        ends.network.send(0, 1, *wire.encode([Ask(number)]))
    ends.run(1.0)
    assert [frame for _, _, frame in ends.got] == [(Ask(number),) for number in range(50)]


def test_a_dead_direction_holds_frames_back_until_it_is_healed() -> None:
    ends = Ends()
    ends.network.block(0, 1)
    ends.send(3)
    ends.network.send(1, 0, FRAME, ())
    ends.run(1.0)
    assert [(a, b) for a, b, _ in ends.got] == [(1, 0)]
    ends.network.unblock(0, 1)
    ends.run(1.0)
    assert len(ends.got) == 4


def test_a_reset_loses_what_was_under_way_and_tells_both() -> None:
    ends = Ends()
    ends.told.clear()
    ends.send(3)
    ends.network.reset(1, 0)
    assert not ends.network.send(0, 1, FRAME, ())
    ends.run(1.0)
    assert ends.got == []
    assert ends.told[:2] == [("down", 1, 0), ("down", 0, 1)]
    assert ("up", 0, 1) in ends.told


def test_datagrams_are_lost_and_repeated_as_often_as_asked() -> None:
    ends = Ends(faults=("loss", "duplicate"), loss=0.2, duplicate=0.5)
    ends.send(1000)
    ends.run(5.0)
    assert 150 < ends.network.lost < 250
    assert 1100 < len(ends.got) < 1300
    ends.network.calm_down()
    ends.got.clear()
    ends.send(100)
    ends.run(1.0)
    assert len(ends.got) == 100


def test_the_adversary_delays_what_would_make_a_majority() -> None:
    adversary = Adversary(random.Random(1), 5, 1.0, 0.1)
    delays = [adversary.lateness(0, 2, State(0, 5, 5, 1, value, 0)) for value in (1, 1, 0, 0)]
    assert [delay > 0.5 for delay in delays] == [False, True, False, False]
    votes = [adversary.lateness(0, lane, Vote(0, 5, 5, 1, 1)) > 0.5 for lane in range(4)]
    assert sorted(votes) == [False, False, True, True]
    assert adversary.lateness(0, 1, Vote(0, 5, 5, 1, UNSURE)) == 0.0


# -- options, campaign, command ------------------------------------------------------------------


def test_options_are_drawn_printed_and_changed() -> None:
    for seed in range(50):
        options = draw(seed)
        assert draw(seed) == options
        assert changed(Options(seed), options.text()) == options
        other = replace(options, faults=("power",), think=0.5, keys=1)
        assert changed(draw(seed), other.settings()) == other
    assert {fault for seed in range(50) for fault in draw(seed).faults} == set(FAULTS)
    assert {draw(seed).nodes for seed in range(60)} == {1, 2, 3, 4, 5, 7}


@pytest.mark.parametrize("wrong", ["nothing=1", "think", "faults=rain", "keys=many"])
def test_wrong_settings_are_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match=r"option|fault class|invalid literal"):
        changed(Options(0), wrong)
    assert run(["--seeds", "1", "--set", wrong]) == 2


@pytest.mark.slow
def test_a_campaign_adds_up_and_keeps_a_ledger(tmp_path: Path) -> None:
    settings = "calls=20,seconds=0.5,nodes=3,faults_max=1,data=2,faults=none"
    totals = run_many(range(3), settings=settings)
    assert totals.runs == 3
    assert not totals.failures
    totals.failures.append(Failure(draw(9), "P-1", "P-1: something", 1.0))
    ledger = tmp_path / "ledger.tsv"
    append_ledger(ledger, current_commit(), settings, Totals(stopped=True))
    append_ledger(ledger, "abc", settings, totals)
    head, good, bad = ledger.read_text().splitlines()
    columns = ["commit", "seeds", "minutes", "faults", "messages", "nodes", "result"]
    assert head.split("\t") == columns
    assert good.endswith("\tok (stopped)")
    assert bad.split("\t")[:2] == ["abc", "0..2"]
    assert bad.endswith(f"\t{totals.messages}\t3:3\tFAILED 9 (P-1)")
    assert any("delivered messages/s per core" in line for line in totals.lines())
    assert "seeds by number of nodes: 3:3" in totals.lines()


def test_a_campaign_that_is_stopped_tells_what_ran(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger, ran = tmp_path / "ledger.tsv", list[int]()

    def run_two(seed: int, settings: str) -> Outcomes:
        if len(ran) == 2:
            signal.raise_signal(signal.SIGTERM)
        ran.append(seed)
        return Outcomes(changed(draw(seed), settings), messages=5)

    monkeypatch.setattr("racos.sim.campaign.run_seed", run_two)
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGHUP)
    assert run(["--seeds", "9", "--start", "3", "--ledger", str(ledger)]) == 0
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGHUP)) == before
    assert "2 seeds in" in capsys.readouterr().out
    (line,) = ledger.read_text().splitlines()[1:]
    assert line.split("\t")[1] == "3..4"
    assert line.split("\t")[4] == "10"
    assert line.endswith("ok (stopped)")


def test_seeds_that_ran_are_listed_in_few_words() -> None:
    assert ranges([4, 1, 2, 3, 9, 11, 12]) == "1..4,9,11..12"
    assert ranges([]) == ""


def test_percentiles() -> None:
    assert percentile(Totals().phases, 0.99) == 0
    counts = Totals().phases
    counts.update({1: 99, 7: 1})
    assert (percentile(counts, 0.99), percentile(counts, 0.995)) == (1, 7)


def test_the_command_replays_a_seed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--seed", "7", "--set", "calls=10", "--trace"]) == 0
    out = capsys.readouterr().out
    assert "n0 applies r0.l0 (slot 0)" in out
    assert " STATE r0.l0 phase 0: 1" in out
    assert "seed 7 held" in out


# -- bounds and digests --------------------------------------------------------------------------


def _small_world() -> World:
    world = World(Options(0, seconds=0.5, calls=30, think=0.01))
    world.run()
    return world


def test_a_queue_over_its_limit_is_told() -> None:
    world = _small_world()
    machine = next(machine for machine in world.machines if machine.driver is not None)
    driver = machine.driver
    assert driver is not None
    bounds = Bounds()
    bounds.look(0, driver)
    driver._tokens = [(0, 0)] * 30_000
    with pytest.raises(Violation, match="P-13"):
        bounds.look(0, driver)


def test_two_replicas_with_unequal_states_are_told() -> None:
    digests = Digests()
    for lane, value in ((0, b"same"), (1, b"same"), (2, b"other")):
        store = Store()
        store.apply(Put(b"k", value))
        if value == b"other":
            with pytest.raises(Violation, match="P-8: n2 and n0"):
                digests.look(lane, store)
        else:
            digests.look(lane, store)
    assert digests.compared == 2

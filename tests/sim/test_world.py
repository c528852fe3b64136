"""Whole worlds: seeds that must hold, equal runs of equal seeds, and bugs that must be found."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import pytest

from racos.core.quorum import Quorum
from racos.core.replica import Replica
from racos.sim.campaign import Failure, Totals, run_one, run_seed
from racos.sim.checks.bounds import QUEUES
from racos.sim.options import FAULTS, Options, changed, draw
from racos.sim.shrink import shrink
from racos.sim.transitions import EXPECTED
from racos.sim.world import Outcomes, World

SEEDS = 60
SMALL = Options(0, seconds=1.0, calls=100, think=0.01)


def held(result: Outcomes | Failure) -> Outcomes:
    assert isinstance(result, Outcomes), result.report()
    return result


@pytest.fixture(scope="module")
def totals() -> Totals:
    """What the seeds of this module did, all together."""
    return Totals()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(SEEDS))
def test_seed(seed: int, totals: Totals) -> None:
    outcomes = held(run_seed(seed))
    totals.add(outcomes)


@pytest.mark.slow
def test_the_seeds_take_every_transition(totals: Totals) -> None:
    if totals.runs < SEEDS:
        pytest.skip("only some of the seeds ran")
    assert [name for name in EXPECTED if not totals.counts[name]] == []
    assert set(FAULTS) <= set(totals.faults)
    assert {queue.name for queue in QUEUES} == set(totals.highest)


@pytest.mark.slow
def test_equal_seeds_give_equal_runs() -> None:
    options = replace(SMALL, faults=("loss", "power", "pause", "duplicate"), fault_every=0.2)
    first, second = held(run_one(options)), held(run_one(options))
    assert first.trace == second.trace
    assert first == second
    other = held(run_one(replace(options, seed=1)))
    assert other.trace != first.trace


@pytest.mark.slow
@pytest.mark.process
def test_a_run_does_not_depend_on_the_process_that_runs_it() -> None:
    code = (
        "from racos.sim.campaign import run_seed\n"
        "print(run_seed(6, 'seconds=1').trace, run_seed(14, 'seconds=1').trace)\n"
    )
    traces = set()
    for salt in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": salt}
        command = [sys.executable, "-c", code]
        done = subprocess.run(
            command, capture_output=True, text=True, check=True, env=environment, timeout=60
        )
        traces.add(done.stdout)
    assert len(traces) == 1


def test_the_trace_can_be_read_and_changes_nothing() -> None:
    lines: list[str] = []
    options = replace(SMALL, calls=20)
    spoken = World(options, lines.append).run()
    assert any(" STATE r0." in line for line in lines)
    assert any(" applies r" in line for line in lines)
    assert spoken.batches == held(run_one(options)).batches


def test_no_faults_mean_fast_decisions_and_no_unknown_outcomes() -> None:
    outcomes = held(run_one(SMALL))
    # At the end one node may be switched off for good.
    assert outcomes.deaths <= 1
    assert outcomes.calls - outcomes.acknowledged == outcomes.unknown <= SMALL.clients
    assert outcomes.acknowledged > 90
    assert outcomes.counts["fast"] > 50
    assert set(outcomes.phases) == {1}


@pytest.mark.slow
def test_an_adversary_cannot_keep_votes_split_for_long() -> None:
    options = Options(
        3, nodes=5, faults_max=2, data=3, faults=("adversary",), think=0.005, suspect_after=0.1
    )
    outcomes = held(run_one(options))
    assert sum(outcomes.phases.values()) > 50
    assert any(phases > 1 for phases in outcomes.phases)
    assert max(outcomes.phases) <= 12


def test_a_broken_rule_is_found_and_shrunk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Quorum, "_survives", lambda _self, _masks: True)
    options = Options(
        4,
        seconds=1.5,
        calls=150,
        think=0.01,
        large=0.8,
        faults=("kill", "pause", "power"),
        fault_every=0.1,
    )
    failure = run_one(options)
    assert isinstance(failure, Failure)
    small = shrink(failure, attempts=6)
    assert small.invariant == failure.invariant
    assert len(small.options.faults) <= 2
    assert small.options != failure.options
    again = run_one(changed(draw(small.options.seed), small.options.settings()))
    assert isinstance(again, Failure)
    assert again.text == small.text


def test_a_promise_before_its_sync_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    take = Replica.take_effects

    def hasty(replica: Replica) -> object:
        effects = take(replica)
        replica.persisted(effects.token)
        return effects

    monkeypatch.setattr(Replica, "take_effects", hasty)
    failure = run_one(SMALL)
    assert isinstance(failure, Failure)
    assert failure.invariant == "P-5"

"""The simulator with the queue engine: seeds that must hold, and bugs that its checkers find."""

from __future__ import annotations

from dataclasses import replace

import pytest

from racos.core.engine import QUEUE
from racos.core.quorum import Quorum
from racos.queue import agreement
from racos.queue.replica import QueueReplica
from racos.sim.campaign import Failure, run_one, run_seed
from racos.sim.options import Options
from racos.sim.world import Outcomes

SMALL = Options(0, engine=QUEUE, data=1, seconds=1.0, calls=60, think=0.01)
# What fell to the network and to crashes while the engine was built.
SEEDS = (0, 6, 13, 16, 33)


def held(result: Outcomes | Failure) -> Outcomes:
    assert isinstance(result, Outcomes), result.report()
    return result


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_seed(seed: int) -> None:
    held(run_seed(seed, f"engine={QUEUE}"))


def test_the_engine_is_an_option_and_keeps_to_the_published_bound() -> None:
    assert "engine=queue" in replace(SMALL).text()
    with pytest.raises(ValueError, match="no engine 'raft'"):
        run_seed(0, "engine=raft")


@pytest.mark.slow
def test_without_faults_each_call_is_answered() -> None:
    outcomes = held(run_one(SMALL))
    assert outcomes.acknowledged > 50
    assert set(outcomes.phases) == {1}


@pytest.mark.slow
def test_a_promise_before_its_sync_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    take = QueueReplica.take_effects

    def hasty(replica: QueueReplica) -> object:
        effects = take(replica)
        replica.persisted(effects.token)
        return effects

    monkeypatch.setattr(QueueReplica, "take_effects", hasty)
    failure = run_one(SMALL)
    assert isinstance(failure, Failure)
    assert failure.invariant == "P-5"


@pytest.mark.slow
def test_a_majority_of_proposals_is_found_not_to_cover(monkeypatch: pytest.MonkeyPatch) -> None:
    """Defect D1, by a random network instead of its play."""

    def majority(quorum: Quorum, *, coded: bool) -> int:
        del coded
        return quorum.majority

    monkeypatch.setattr(agreement, "holders_needed", majority)
    hostile = replace(SMALL, nodes=5, data=3, faults=("adversary",), large=0.9, suspect_after=0.1)
    failure = run_one(hostile)
    assert isinstance(failure, Failure)
    assert failure.invariant == "P-7"

"""One slot explored layer by layer: all phases, any crashes, and the same as event by event."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations

import pytest

from racos.core.quorum import Quorum
from racos.sim.explore import Shape
from racos.sim.explore_layers import Layered, Log
from racos.sim.explore_rules import NOTHING
from racos.sim.forgetful import Forgetful
from racos.sim.local import Durable
from tests.sim.breaks import BREAKS, CODED, INLINE


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shape", "fewest"),
    [
        (INLINE, 200),
        (CODED, 500),
        (INLINE._replace(quorum=Quorum(4, 1, 3)), 400),
    ],
    ids=["n3 inline", "n3 coded", "n4 inline"],
)
def test_all_phases_under_any_crashes(shape: Shape, fewest: int) -> None:
    layered = Layered(shape)
    outcome = layered.run()
    assert outcome.broken is None, outcome.trace
    assert outcome.complete
    assert outcome.states > fewest
    assert all(outcome.decided)
    assert {layer.place.first for layer in layered.parents} == {True, False}


def test_without_a_batch_only_null_is_decided() -> None:
    outcome = Layered(INLINE._replace(proposes=False)).run()
    assert (outcome.broken, outcome.complete) == (None, True)
    assert outcome.decided[0] > 0 == outcome.decided[1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("owner", "name", "broken", "shape", "invariants"),
    [case[1:] for case in BREAKS],
    ids=[case[0] for case in BREAKS],
)
def test_a_broken_rule_is_found(
    monkeypatch: pytest.MonkeyPatch,
    owner: object,
    name: str,
    broken: Callable[..., object],
    shape: Shape,
    invariants: tuple[str, ...],
) -> None:
    monkeypatch.setattr(owner, name, broken)
    outcome = Layered(shape).run()
    assert outcome.broken is not None
    assert not outcome.complete
    assert outcome.broken.split(":")[0] in invariants, outcome.broken
    assert outcome.trace or invariants == ("P-5",)


def test_a_trace_tells_what_each_promise_rests_on(monkeypatch: pytest.MonkeyPatch) -> None:
    (owner, name, broken, shape) = next(case[1:5] for case in BREAKS if case[0] == "coin 1")
    monkeypatch.setattr(owner, name, broken)
    trace = Layered(shape).run().trace
    assert "0 votes ?, knowing 1 by {0}, 0 by {1}, not known to be covered" in trace
    assert trace[-1].endswith("votes 1, knowing 1 by {0,1}, not known to be covered")


@pytest.mark.slow
def test_the_logs_are_those_that_any_crashes_lead_to() -> None:
    """Sorting histories into layers loses none of them, and adds none."""
    shape = INLINE._replace(phases=1)
    layered, forgetful = Layered(shape), Forgetful(shape)
    assert layered.run().complete
    outcome = forgetful.run()
    assert outcome.complete, outcome.trace
    assert all(outcome.decided)
    histories = {tuple(map(_filled, logs)) for logs in layered.histories(phases=1)}
    assert len(histories) > 2_000
    assert histories == _logs_of(forgetful)


def _filled(log: Log) -> Log:
    return (*log, *(NOTHING,) * (4 - len(log)))


def _logs_of(forgetful: Forgetful) -> set[tuple[Log, ...]]:
    """What the logs hold in all states; under each name of the replicas."""
    found = set[tuple[Log, ...]]()
    for state in forgetful.parents:
        numbers = forgetful.unpack(state)[0]
        owner, *others = (_log(forgetful.locals[number].durable) for number in numbers)
        for order in permutations(others):
            found.add((owner, *(_named(log, name) for name, log in enumerate(order, start=1))))
    return found


def _log(durable: Durable) -> Log:
    return (durable.held, durable.states[0], durable.votes[0], durable.states[1])


def _named(log: Log, name: int) -> Log:
    """The same log at the replica of that name: an inline batch counts as its own fragment."""
    return (bool(log[0]) << name, *log[1:])

"""One slot explored: what holds in every state, and that rules broken on purpose are found."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations, product

import pytest

from racos.core import agreement
from racos.sim.explore import HEADER, Explorer, Outcome, Shape
from racos.sim.explore_cli import CONFIGURATIONS, run
from racos.sim.forgetful import Forgetful
from racos.sim.local import CRASH, RESTART, SYNC, Broken, Durable, Machine
from tests.sim.breaks import BREAKS, CODED, INLINE, N3, NARROW

QUICKLY_FOUND = ["fast", "f votes", "said early"]  # the rest by `test_explore_layers`


def holds(outcome: Outcome) -> bool:
    return outcome.broken is None and outcome.decided[0] > 0 and outcome.decided[1] > 0


@pytest.mark.slow
@pytest.mark.parametrize("shape", [INLINE._replace(crashes=1), CODED, NARROW._replace(crashes=1)])
def test_every_interleaving_up_to_a_bound(shape: Shape) -> None:
    outcome = Explorer(shape._replace(states_max=40_000)).run()
    assert outcome.broken is None, outcome.trace
    assert outcome.states >= 40_000


@pytest.mark.slow
def test_every_interleaving_of_one_phase_all_states() -> None:
    explorer, forgetful = (kind(INLINE._replace(phases=1)) for kind in (Explorer, Forgetful))
    outcome = explorer.run()
    assert holds(outcome), outcome.trace
    assert outcome.complete
    assert outcome.states > 100_000
    assert forgetful.run().complete
    assert histories(explorer) <= histories(forgetful)


def histories(explorer: Explorer) -> set[tuple[object, ...]]:
    """What the logs hold and what was decided, in all states; under each name of the replicas."""
    found = set[tuple[object, ...]]()
    for state in explorer.parents:
        numbers, _, decided, _ = explorer.unpack(state)
        owner, *others = (_without_names(explorer.locals[number].durable) for number in numbers)
        found.update((decided, owner, *order) for order in permutations(others))
    return found


def _without_names(log: Durable) -> Durable:
    return log._replace(held=log.held.bit_count())


def test_without_a_batch_only_null_is_decided() -> None:
    outcome = Explorer(INLINE._replace(proposes=False, crashes=1)).run()
    assert (outcome.broken, outcome.complete) == (None, True)
    assert outcome.decided[0] > 0 == outcome.decided[1]
    assert outcome.quiet > 0


def test_equal_explorations_are_equal() -> None:
    shape = INLINE._replace(states_max=3_000)
    first, second = (Explorer(shape).run()._replace(seconds=0.0) for _ in range(2))
    assert first == second


def test_the_command_prints_a_row_each_and_refuses_what_it_does_not_know(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["--states", "100", "--only", "n3 coded"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 + sum("n3 coded" in shape.name for _, shape in CONFIGURATIONS)
    assert lines[0] == HEADER
    assert all(line.endswith("bounded") for line in lines[1:-1])
    assert run(["--only", "no such"]) == 2
    assert "no configuration is called no such" in capsys.readouterr().err


# -- seeded breaks ---------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("owner", "name", "broken", "shape", "invariants"),
    [case[1:] for case in BREAKS if case[0] in QUICKLY_FOUND],
    ids=QUICKLY_FOUND,
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
    outcome = Forgetful(shape._replace(states_max=200_000)).run()
    assert outcome.broken is not None
    assert outcome.broken.split(":")[0] in invariants, outcome.broken
    assert outcome.trace or invariants == ("P-5",)


def test_a_slot_that_is_stuck_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agreement.Agreement, "say_zero", lambda _self, _slot: None)
    shape = INLINE._replace(proposes=False)
    for explorer in (Explorer(shape), Forgetful(shape)):
        outcome = explorer.run()
        assert outcome.broken is not None
        assert outcome.broken.startswith("stuck")


# -- the parts -------------------------------------------------------------------------------------


def test_a_crash_loses_what_was_not_synced_and_keeps_the_rest() -> None:
    machine = Machine(N3, coded=True)
    before = machine.start(0, proposes=True)
    assert machine.step(machine.step(before, CRASH, 0), RESTART, 0).durable == Durable()
    synced = machine.step(before, SYNC, 0)
    after = machine.step(machine.step(synced, CRASH, 0), RESTART, 0)
    assert after == synced._replace(whole=False)
    assert (after.durable.held, after.durable.states[0], after.promised_state) == (0b001, 1, 0)


def test_a_log_that_takes_a_promise_back_is_broken() -> None:
    machine = Machine(N3, coded=True)
    state = machine.start(0, proposes=True).pending[0][0]
    zero = Durable(states=(0, -1, -1))
    with pytest.raises(Broken, match="P-5"):
        zero.add(state)


def test_renaming_replicas_changes_nothing_for_an_inline_batch_and_much_for_a_coded_one() -> None:
    swapped = (0, 2, 1)
    differs = set()
    for masks in product(range(4), repeat=3):  # own fragment, next one
        held = {j: _turn(mask, j) for j, mask in enumerate(masks) if mask}
        other = {swapped[j]: _turn(mask, swapped[j]) for j, mask in enumerate(masks) if mask}
        for coded in (False, True):
            if N3.cover(held.values(), coded=coded) != N3.cover(other.values(), coded=coded):
                differs.add(coded)
    assert differs == {True}


def _turn(mask: int, steps: int) -> int:
    return (mask << steps | mask >> 3 - steps) & 7

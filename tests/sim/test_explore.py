"""One slot explored: what holds in every state, and that rules broken on purpose are found."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import permutations, product

import pytest

from racos.core import agreement
from racos.core.messages import Message, Record
from racos.core.outbox import ALL, Outbox
from racos.core.quorum import Quorum
from racos.sim.explore import HEADER, Explorer, Outcome, Shape
from racos.sim.explore_cli import CONFIGURATIONS, run
from racos.sim.forgetful import Forgetful
from racos.sim.local import CRASH, RESTART, SYNC, Broken, Durable, Machine
from tests.core import one_slot

N3 = Quorum(3, 1, 2)
INLINE = Shape("inline", N3, coded=False)
CODED = Shape("coded", N3, coded=True)
NARROW = Shape("coded, never widened", N3, coded=True, spread=False)

promise = Outbox.promise
cover = Quorum.cover


def holds(outcome: Outcome) -> bool:
    return outcome.broken is None and outcome.decided[0] > 0 and outcome.decided[1] > 0


@pytest.mark.slow
def test_an_inline_slot_under_any_number_of_crashes_all_states() -> None:
    outcome = Forgetful(INLINE).run()
    assert holds(outcome), outcome.trace
    assert outcome.complete
    assert outcome.states > 10_000


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
    assert run(["--states", "500", "--only", "n3 coded"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 + sum("n3 coded" in shape.name for _, shape in CONFIGURATIONS)
    assert lines[0] == HEADER
    assert all(line.endswith("bounded") for line in lines[1:-1])
    assert run(["--only", "no such"]) == 2
    assert "no configuration is called no such" in capsys.readouterr().err


# -- seeded breaks ---------------------------------------------------------------------------------


def said_at_once(self: Outbox, record: Record, message: Message) -> None:
    """The promise leaves before its record is durable."""
    promise(self, record, message)
    self.send(ALL, message)


def cover_of_one_loss_less(self: Quorum, held: Iterable[int], *, coded: bool) -> bool:
    """As if f-1 losses had to be survived."""
    return cover(Quorum(self.total, self.faults - 1, self.data), held, coded=coded)


BREAKS: list[tuple[str, type | object, str, Callable[..., object], Shape, tuple[str, ...]]] = [
    ("? without a 0", agreement, "vote", one_slot.unsure_without_a_zero, NARROW, ("P-1",)),
    ("vote 1 without cover", agreement, "vote", one_slot.vote_one_without_cover, CODED, ("P-7",)),
    ("coin 1", agreement, "next_state", one_slot.coin_one_without_cover, NARROW, ("P-7",)),
    ("fast", agreement, "decision", one_slot.fast_decision_of_a_quorum, INLINE, ("P-1",)),
    ("f votes", agreement, "decision", one_slot.decision_of_f_votes, INLINE, ("P-1", "P-7")),
    ("said early", Outbox, "promise", said_at_once, INLINE, ("P-5",)),
    ("cover", Quorum, "cover", cover_of_one_loss_less, CODED, ("P-7",)),
]


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

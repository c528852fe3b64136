"""Which transitions of a slot each suite takes: counted by the code itself, summed here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from racos.core.agreement import Agreement
from racos.core.quorum import Quorum
from racos.core.slot import Need
from racos.core.transitions import NAMES, state_taken, vote_taken
from racos.sim.campaign import run_seed
from racos.sim.explore import Shape
from racos.sim.explore_layers import Layered
from racos.sim.world import Outcomes
from tests.core import test_slot
from tests.core.schedules import run_and_settle
from tests.scenarios.script import Play

PLAYS = Path(__file__).parents[1] / "scenarios"
SCHEDULES = 12
SEEDS = 24

Counts = Counter[str]


@contextmanager
def counted() -> Iterator[Counts]:
    """What all replicas that are made meanwhile count; complete when it ends."""
    total, books = Counter[str](), list[dict[str, int]]()
    made = Agreement.__init__

    def init(self: Agreement, *arguments: Any, **named: Any) -> None:
        made(self, *arguments, **named)
        books.append(self.statistics)

    Agreement.__init__ = init  # type: ignore[method-assign]
    try:
        yield total
    finally:
        Agreement.__init__ = made  # type: ignore[method-assign]
        for book in books:
            total.update({name: count for name, count in book.items() if name in NAMES})


def play(name: str) -> Counts:
    with counted() as counts:
        Play().run((PLAYS / f"{name}.txt").read_text())
    return counts


def plays() -> dict[str, Counts]:
    """By play."""
    return {path.stem: play(path.stem) for path in sorted(PLAYS.glob("*.txt"))}


def tables() -> Counts:
    """The unit tables of the verdicts, which know no Agreement: named as it would."""
    counts = Counter[str]()
    for _, quorum, ones, zeros, _, _, covered, _, verdict in test_slot.VOTES_IN_PHASE_0:
        if not isinstance(verdict, Need):
            slot = test_slot.make(quorum, ones=ones, zeros=zeros, covered=covered)
            counts[vote_taken(slot, quorum, verdict)] += 1
        elif verdict is not Need.MORE:
            counts["waits_rest" if verdict is Need.REST else "waits_cover"] += 1
    for ones, zeros, verdict in test_slot.LATER_VOTES:
        if not isinstance(verdict, Need):
            slot = test_slot.make(test_slot.Q5, ones=ones, zeros=zeros, phase=1)
            counts[vote_taken(slot, test_slot.Q5, verdict)] += 1
    for _, vote_ones, vote_zeros, unsure, coin, _, _, state in test_slot.NEXT:
        if not isinstance(state, Need):
            slot = test_slot.make(
                test_slot.Q5, vote_ones=vote_ones, vote_zeros=vote_zeros, unsure=unsure
            )
            counts[state_taken(slot, coin, state)] += 1
    for rule, _, said, value in test_slot.DECISIONS:
        if value is not None:
            fast = rule.startswith("3") and "ones" in said
            counts["fast" if fast else ("voted_zero", "voted_one")[value]] += 1
    return counts


def exploration() -> Counts:
    """Every state of one slot of three replicas, inline and coded."""
    with counted() as counts:
        for coded in (False, True):
            Layered(Shape("n3", Quorum(3, 1, 2), coded=coded)).run()
    return counts


def schedules() -> Counts:
    with counted() as counts:
        for seed in range(SCHEDULES):
            run_and_settle(*((5, 2, 3) if seed % 2 else (3, 1, 2)), seed)
    return counts


def seeds() -> Counts:
    """The first seeds of `racos sim`, which the tests run too."""
    counts = Counter[str]()
    for seed in range(SEEDS):
        result = run_seed(seed)
        assert isinstance(result, Outcomes), result.report()
        counts.update({name: count for name, count in result.counts.items() if name in NAMES})
    return counts


SUITES: dict[str, Callable[[], Counts]] = {
    "tables": tables,
    "exploration": exploration,
    "schedules": schedules,
    "seeds": seeds,
}

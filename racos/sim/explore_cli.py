"""`racos explore`: every state of one slot, configuration by configuration."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated, Final

import typer

from racos.core.quorum import Quorum
from racos.sim.explore import HEADER, Explorer, Outcome, Shape
from racos.sim.explore_layers import Layered
from racos.sim.forgetful import Forgetful

N3: Final = Quorum(3, 1, 2)
N4: Final = Quorum(4, 1, 3)
N5: Final = Quorum(5, 2, 3)

# How the states are told apart (see the modules of these classes), and what is explored.
Search = type[Explorer] | type[Layered]
CONFIGURATIONS: Final[tuple[tuple[Search, Shape], ...]] = (
    (Layered, Shape("n3 no batch, all", N3, coded=False, proposes=False)),
    (Layered, Shape("n3 inline, all", N3, coded=False)),
    (Layered, Shape("n3 coded, all", N3, coded=True)),
    (Layered, Shape("n4 inline, all", N4, coded=False)),
    (Layered, Shape("n4 coded, all", N4, coded=True)),
    (Layered, Shape("n5 inline, all", N5, coded=False)),
    (Layered, Shape("n5 f=1 coded, all", Quorum(5, 1, 3), coded=True)),
    (Layered, Shape("n5 coded, all", N5, coded=True)),
    (Layered, Shape("n7 inline, all", Quorum(7, 3, 4), coded=False)),
    (Explorer, Shape("n3 no batch, 2 crashes", N3, coded=False, crashes=2, proposes=False)),
    (Explorer, Shape("n3 inline, p0", N3, coded=False, phases=1)),
    (Explorer, Shape("n3 inline, p0, 1 crash", N3, coded=False, crashes=1, phases=1)),
    (Explorer, Shape("n3 coded, p0", N3, coded=True, phases=1)),
    (Explorer, Shape("n3 inline", N3, coded=False)),
    (Explorer, Shape("n3 inline, 2 crashes", N3, coded=False, crashes=2)),
    (Explorer, Shape("n3 coded, 1 crash", N3, coded=True, crashes=1)),
    (Forgetful, Shape("n3 inline, any crashes", N3, coded=False)),
    (Forgetful, Shape("n3 coded p0, any crashes", N3, coded=True, phases=1)),
    (Forgetful, Shape("n3 coded, any crashes", N3, coded=True)),
    (Forgetful, Shape("n5 inline, any crashes", N5, coded=False)),
)

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


def run(argv: Sequence[str]) -> int:
    """Runs the command; the exit code: 0 if every invariant held, 1 if not, 2 for a wrong call."""
    try:
        app(list(argv), prog_name="racos explore")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


@app.command()
def explore(
    states: Annotated[
        int, typer.Option("--states", min=1, help="At most so many states per configuration.")
    ] = 1_000_000,
    minutes: Annotated[
        float, typer.Option("--minutes", min=0.0, help="At most so long per configuration.")
    ] = 10.0,
    only: Annotated[str, typer.Option("--only", help="Configurations whose name has this.")] = "",
) -> None:
    """One slot of a small cluster in every state that messages, crashes and coins can lead to.

    Prints a row per configuration: states, transitions, values of a single replica, depth (events
    from the start), quiet states, and whether all was explored or a bound was met.
    """
    chosen = [(kind, shape) for kind, shape in CONFIGURATIONS if only in shape.name]
    if not chosen:
        print(f"racos explore: no configuration is called {only}", file=sys.stderr)
        raise typer.Exit(2)
    print(HEADER, flush=True)
    outcomes = [_one(kind, shape._replace(states_max=states), minutes) for kind, shape in chosen]
    print(f"{sum(outcome.states for outcome in outcomes):,} states in all")
    raise typer.Exit(int(any(outcome.broken for outcome in outcomes)))


def _one(kind: Search, shape: Shape, minutes: float) -> Outcome:
    tell = _progress if sys.stderr.isatty() else None
    outcome = kind(shape).run(tell, seconds_max=60 * minutes)
    print(outcome.line(), flush=True)
    for line in outcome.trace:
        print(f"    {line}", flush=True)
    return outcome


def _progress(text: str) -> None:
    print(f"\r{text:<70}", end="", file=sys.stderr, flush=True)

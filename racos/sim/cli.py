"""`racos sim`: run seeds, replay one with its trace, shrink what fails."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from racos.sim.campaign import Failure, append_ledger, current_commit, run_many, run_one
from racos.sim.options import changed, draw
from racos.sim.shrink import shrink
from racos.sim.world import Outcomes

_FAILURES_MAX = 5  # then a campaign ends: more of the same teach little
_STOPPING = (signal.SIGTERM, signal.SIGHUP)  # besides SIGINT

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)

Seeds = Annotated[int, typer.Option("--seeds", min=1, help="How many seeds to run.")]
Start = Annotated[int, typer.Option("--start", min=0, help="The first seed.")]
Jobs = Annotated[int, typer.Option("--jobs", min=1, help="Processes at once.")]
Minutes = Annotated[float | None, typer.Option("--minutes", help="Stop after this time.")]
Seed = Annotated[int | None, typer.Option("--seed", help="Run this one seed alone.")]
Trace = Annotated[bool, typer.Option("--trace", help="With --seed: print what happens.")]
Settings = Annotated[
    str, typer.Option("--set", help="Change options: name=value,.. (faults=power+pause).")
]
Ledger = Annotated[Path | None, typer.Option("--ledger", help="Append the result to this file.")]
Shrink = Annotated[bool, typer.Option("--shrink/--no-shrink", help="Make failures smaller.")]


def run(argv: Sequence[str]) -> int:
    """Runs the command; the exit code: 0 if every run held, 1 if not, 2 for a wrong call."""
    try:
        app(list(argv), prog_name="racos sim")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except ValueError as error:
        print(f"racos sim: {error}", file=sys.stderr)
        return 2
    return 0


@app.command()
def sim(
    seeds: Seeds = 20,
    start: Start = 0,
    jobs: Jobs = 1,
    minutes: Minutes = None,
    seed: Seed = None,
    trace: Trace = False,
    settings: Settings = "",
    ledger: Ledger = None,
    smaller: Shrink = True,
) -> None:
    """Simulated clusters under faults, one per seed, checked for every promise Racos makes.

    Whole clusters run in one process on virtual time: the production code on simulated disks,
    network and clocks. Equal seeds give equal runs.
    """
    changed(draw(start), settings)  # a wrong setting is told before anything runs
    if seed is not None:
        raise typer.Exit(_one(seed, settings, print if trace else None, smaller=smaller))
    raise typer.Exit(_many(seeds, start, jobs, minutes, settings, ledger, smaller=smaller))


def _one(seed: int, settings: str, write: Callable[[str], None] | None, *, smaller: bool) -> int:
    result = run_one(changed(draw(seed), settings), write)
    if isinstance(result, Failure):
        print(result.report())
        if smaller and write is None:
            _shrink(result)
        return 1
    print(
        f"seed {seed} held: {result.messages} messages, {result.calls} calls, {result.deaths} "
        f"deaths in {result.virtual_seconds:.2f} virtual seconds; trace {result.trace}"
    )
    return 0


def _many(
    seeds: int,
    start: int,
    jobs: int,
    minutes: float | None,
    settings: str,
    ledger: Path | None,
    *,
    smaller: bool,
) -> int:
    failures = 0
    commit = current_commit()
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("seeds", total=seeds)

        def tell(result: Outcomes | Failure) -> None:
            nonlocal failures
            progress.advance(task)
            if isinstance(result, Failure):
                failures += 1
                print(result.report(), flush=True)

        wanted = (number for number in range(start, start + seeds) if failures < _FAILURES_MAX)
        with _stopped_gently():
            totals = run_many(wanted, settings=settings, jobs=jobs, minutes=minutes, tell=tell)
    for line in totals.lines():
        print(line)
    if ledger is not None:
        append_ledger(ledger, commit, settings, totals)
    if totals.failures and smaller and not totals.stopped:
        _shrink(totals.failures[0])
    return int(bool(totals.failures))


@contextmanager
def _stopped_gently() -> Iterator[None]:
    """A campaign that is told to end still says what it did, and writes its line."""

    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in _STOPPING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _shrink(failure: Failure) -> None:
    print("shrinking ..", flush=True)
    small = shrink(failure, tell=lambda smaller: print(f"  {smaller.options.text()}", flush=True))
    print(f"smallest found:\n{small.report()}")

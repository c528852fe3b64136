"""`python -m tests.mutants`: hold every seeded bug against the suites; fails if one survives."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from tempfile import TemporaryDirectory
from typing import NamedTuple

from tests.mutants.mutant import Mutant, load_all
from tests.mutants.suites import SUITES, SuiteError, passes, run_suite
from tests.mutants.workspace import DoesNotApply, Workspace


class Outcome(NamedTuple):
    mutant: Mutant
    caught_by: str | None
    suite: str
    seconds: float  # until it was caught, or all suites had passed


def judge(workspace: Workspace, mutant: Mutant, suites: Sequence[str], seconds: float) -> Outcome:
    """Run suites until one fails: those that are expected to first, the quicker ones first.

    DoesNotApply or SuiteError if that says nothing about the mutant.
    """
    begun = time.monotonic()
    order = sorted(suites, key=lambda name: name not in mutant.suites)
    with workspace.mutated(mutant):
        for name in order:
            caught_by = run_suite(workspace, name, seconds)
            if caught_by is not None:
                return Outcome(mutant, caught_by, name, time.monotonic() - begun)
    return Outcome(mutant, None, "", time.monotonic() - begun)


def judge_all(mutants: Sequence[Mutant], wanted: argparse.Namespace, folder: Path) -> list[Outcome]:
    """Judge them all, `wanted.jobs` at once; each row is printed when it is known."""
    free: SimpleQueue[Workspace] = SimpleQueue()  # bounded by its use: one per job
    for job in range(wanted.jobs):
        (folder / str(job)).mkdir()
        free.put(Workspace(folder / str(job)))

    def one(mutant: Mutant) -> Outcome:
        workspace = free.get()
        try:
            outcome = judge(workspace, mutant, wanted.suite or list(SUITES), wanted.deadline)
        finally:
            free.put(workspace)
        print(row(outcome), flush=True)
        return outcome

    print("| bug | caught by | suite | seconds |\n|---|---|---|---|", flush=True)
    with ThreadPoolExecutor(wanted.jobs) as pool:
        outcomes = list(pool.map(one, mutants))
    confirm(free.get(), outcomes, wanted.deadline)
    return outcomes


def row(outcome: Outcome) -> str:
    caught_by = (outcome.caught_by or "**nothing**").replace("|", "\\|")
    return f"| {outcome.mutant.name} | {caught_by} | {outcome.suite} | {outcome.seconds:.1f} |"


def confirm(workspace: Workspace, outcomes: Sequence[Outcome], seconds: float) -> None:
    """SuiteError if what caught a mutant fails on the sound tree as well."""
    caught_by = sorted({each.caught_by for each in outcomes if each.caught_by is not None})
    broken = [each for each in caught_by if not passes(workspace, each, seconds)]
    if broken:
        raise SuiteError("fails without any bug: " + ", ".join(broken))


def main(argv: Sequence[str] | None = None) -> int:
    """0: all caught; 1: some survived; 2: the outcome is worth nothing."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these (default: all)")
    parser.add_argument("--jobs", type=int, default=1, help="mutants at once")
    parser.add_argument("--suite", action="append", choices=SUITES, help="only these suites")
    parser.add_argument("--deadline", type=float, default=300.0, help="seconds for one suite")
    wanted = parser.parse_args(argv)
    begun = time.monotonic()
    try:
        with TemporaryDirectory(prefix="racos-mutants-") as folder:
            outcomes = judge_all(load_all(wanted.names), wanted, Path(folder))
    except (DoesNotApply, SuiteError, ValueError) as error:
        print(f"tests.mutants: {error}", file=sys.stderr)
        return 2
    survivors = [each.mutant.name for each in outcomes if each.caught_by is None]
    print(
        f"\n{len(outcomes) - len(survivors)} of {len(outcomes)} caught in "
        f"{time.monotonic() - begun:.0f} s" + (f"; survived: {survivors}" if survivors else "")
    )
    return int(bool(survivors))


if __name__ == "__main__":
    sys.exit(main())

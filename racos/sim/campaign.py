"""Many seeds: run them, add up what they did, shrink and tell of failures, keep the ledger.

The only part of the simulator that knows processes and the wall clock.
"""

from __future__ import annotations

import subprocess
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from racos.sim.options import Options, changed, draw
from racos.sim.violation import Violation
from racos.sim.world import Outcomes, World

LEDGER_HEAD = "commit\tseeds\tminutes\tfaults\tresult\n"


@dataclass(frozen=True, slots=True)
class Failure:
    """A run that ended with a violation, or with an error nobody expected."""

    options: Options
    invariant: str
    text: str
    at: float  # virtual seconds

    def command(self) -> str:
        """What runs it again."""
        settings = self.options.settings()
        changes = f" --set {settings}" if settings else ""
        return f"racos sim --seed {self.options.seed}{changes} --trace"

    def report(self) -> str:
        return (
            f"seed {self.options.seed} failed at {self.at:.6f}: {self.text}\n"
            f"  options: {self.options.text()}\n"
            f"  replay:  {self.command()}"
        )


def run_one(options: Options, write: Callable[[str], None] | None = None) -> Outcomes | Failure:
    """One world, to its end."""
    begun = time.process_time()
    world = World(options, write)
    try:
        outcomes = world.run()
        outcomes.cpu_seconds = time.process_time() - begun
        return outcomes
    except Violation as violation:
        return Failure(options, violation.invariant, str(violation), world.events.now)
    except Exception as error:  # a supervisor: whatever a run dies of is a finding
        where = traceback.format_exception(error)[-4:]
        name = f"exception {type(error).__name__}"
        return Failure(options, name, f"{name}: {''.join(where)}", world.events.now)


def run_seed(seed: int, settings: str = "") -> Outcomes | Failure:
    """The world of a seed, with `name=value,..` changed."""
    return run_one(changed(draw(seed), settings))


@dataclass(slots=True)
class Totals:
    """Sums over runs. `cpu_seconds` counts the runs alone, each on one core."""

    runs: int = 0
    failures: list[Failure] = field(default_factory=list)
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    virtual_seconds: float = 0.0
    messages: int = 0
    calls: int = 0
    acknowledged: int = 0
    unknown: int = 0
    batches: int = 0
    deaths: int = 0
    settled_after_max: float = 0.0
    phases: Counter[int] = field(default_factory=Counter)
    contested: Counter[int] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    shapes: Counter[int] = field(default_factory=Counter)  # runs by the number of nodes

    def add(self, result: Outcomes | Failure) -> None:
        self.runs += 1
        if isinstance(result, Failure):
            self.failures.append(result)
            self.shapes[result.options.nodes] += 1
            return
        self.shapes[result.nodes] += 1
        for name in (
            "cpu_seconds",
            "virtual_seconds",
            "messages",
            "calls",
            "acknowledged",
            "unknown",
            "batches",
            "deaths",
        ):
            setattr(self, name, getattr(self, name) + getattr(result, name))
        self.settled_after_max = max(self.settled_after_max, result.settled_after)
        self.phases.update(result.phases)
        self.contested.update(result.contested)
        self.counts.update(result.counts)

    def lines(self) -> Iterator[str]:
        """The summary, ready to print."""
        seconds, cpu = max(self.seconds, 1e-9), max(self.cpu_seconds, 1e-9)
        yield (
            f"{self.runs} seeds in {self.seconds:.1f} s: {self.runs / seconds:.2f} seeds/s, "
            f"{cpu / max(self.runs, 1):.3f} CPU seconds a seed, "
            f"{self.messages / cpu:,.0f} delivered messages/s per core, "
            f"{self.virtual_seconds / cpu:.1f} virtual seconds per CPU second"
        )
        yield f"seeds by number of nodes: {by_nodes(self.shapes)}"
        yield (
            f"calls {self.calls} (acknowledged {self.acknowledged}, unknown {self.unknown}), "
            f"batches {self.batches}, deaths {self.deaths}, "
            f"settled after at most {self.settled_after_max:.2f} s"
        )
        for what, phases in (("all", self.phases), ("contested", self.contested)):
            slots = sum(phases.values())
            if slots:
                mean = sum(number * count for number, count in phases.items()) / slots
                yield (
                    f"phases per slot ({what}): mean {mean:.3f}, p99 {percentile(phases, 0.99)}, "
                    f"max {max(phases)} over {slots} slots"
                )
        yield "  ".join(f"{name} {count}" for name, count in sorted(self.counts.items()))
        yield f"violations: {len(self.failures)}"


def by_nodes(shapes: Counter[int]) -> str:
    """How many runs had how many nodes, for a line: `3:120 5:98`."""
    return " ".join(f"{nodes}:{count}" for nodes, count in sorted(shapes.items()))


def percentile(counts: Counter[int], share: float) -> int:
    """The least value that this share of the counted ones does not exceed."""
    left = share * sum(counts.values())
    for value in sorted(counts):
        left -= counts[value]
        if left <= 0:
            return value
    return max(counts, default=0)


def run_many(
    seeds: Iterable[int],
    *,
    settings: str = "",
    jobs: int = 1,
    minutes: float | None = None,
    tell: Callable[[Outcomes | Failure], None] = lambda _result: None,
) -> Totals:
    """Run seeds until there are none left or the time is over; results are told as they come."""
    begun = time.perf_counter()
    end = begun + 60 * minutes if minutes is not None else float("inf")
    totals = Totals()
    source = iter(seeds)
    results = (
        _in_turn(source, settings, end) if jobs == 1 else _at_once(source, settings, end, jobs)
    )
    for result in results:
        totals.add(result)
        tell(result)
    totals.seconds = time.perf_counter() - begun
    return totals


def _in_turn(seeds: Iterator[int], settings: str, end: float) -> Iterator[Outcomes | Failure]:
    for seed in seeds:
        yield run_seed(seed, settings)
        if time.perf_counter() >= end:
            return


def _at_once(
    seeds: Iterator[int], settings: str, end: float, jobs: int
) -> Iterator[Outcomes | Failure]:
    running: set[Future[Outcomes | Failure]] = set()
    with ProcessPoolExecutor(jobs) as pool:
        while True:
            free = 2 * jobs - len(running) if time.perf_counter() < end else 0
            running |= {pool.submit(run_seed, seed, settings) for seed in islice(seeds, free)}
            if not running:
                return
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                yield future.result()


def append_ledger(path: Path, commit: str, seeds: str, settings: str, totals: Totals) -> None:
    """One line for one campaign: which code, which seeds, how long, what was on, what came out."""
    result = (
        "ok"
        if not totals.failures
        else "FAILED "
        + ", ".join(f"{failure.options.seed} ({failure.invariant})" for failure in totals.failures)
    )
    line = f"{commit}\t{seeds}\t{totals.seconds / 60:.1f}\t{settings or 'swarm'}\t{result}\n"
    fresh = not path.exists()
    with path.open("a", encoding="utf-8") as file:
        file.write((LEDGER_HEAD if fresh else "") + line)


def current_commit() -> str:
    """The tree's commit, with a + if something is changed; `unknown` outside a work tree."""
    command = ["git", "describe", "--always", "--exclude=*", "--dirty=+"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return done.stdout.strip()

"""Many seeds: run them, add up what they did, shrink and tell of failures, keep the ledger.

The only part of the simulator that knows processes and the wall clock.
"""

from __future__ import annotations

import signal
import subprocess
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from racos.sim.options import Options, changed, draw
from racos.sim.transitions import EXPECTED
from racos.sim.violation import Violation
from racos.sim.world import Outcomes, World

LEDGER_HEAD = "commit\tseeds\tminutes\tfaults\tmessages\tnodes\tresult\n"


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
    stopped: bool = False  # from outside, before the last seed
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
    faults: Counter[str] = field(default_factory=Counter)  # runs in which each class was on
    highest: dict[str, int] = field(default_factory=dict)  # lengths of queues at most
    seeds: set[int] = field(default_factory=set)  # that ran

    def add(self, result: Outcomes | Failure) -> None:
        self.runs += 1
        options = result.options
        self.seeds.add(options.seed)
        self.shapes[options.nodes] += 1
        self.faults.update(options.faults or ("none",))
        if isinstance(result, Failure):
            self.failures.append(result)
            return
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
        for name, size in result.highest.items():
            self.highest[name] = max(size, self.highest.get(name, 0))

    def lines(self) -> Iterator[str]:
        """The summary, ready to print."""
        seconds, cpu = max(self.seconds, 1e-9), max(self.cpu_seconds, 1e-9)
        yield (
            f"{self.runs} seeds in {self.seconds:.1f} s: {self.runs / seconds:.2f} seeds/s, "
            f"{cpu / max(self.runs, 1):.3f} CPU seconds a seed, "
            f"{self.messages / cpu:,.0f} delivered messages/s per core, "
            f"{self.virtual_seconds / cpu:.1f} virtual seconds per CPU second"
        )
        yield f"seeds by number of nodes: {_listed(self.shapes)}"
        yield f"seeds by fault classes that were on: {_listed(self.faults)}"
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
        yield "transitions, faults and checks:"
        yield from _columns(self.counts)
        yield "queues at their longest:"
        yield from _columns(self.highest)
        missing = [name for name in EXPECTED if not self.counts[name]]
        if missing:
            yield f"transitions never taken: {', '.join(missing)}"
        yield f"violations: {len(self.failures)}"


def _listed(counts: Mapping[Any, int]) -> str:
    """For a line: `3:120 5:98`."""
    return " ".join(f"{name}:{count}" for name, count in sorted(counts.items()))


def _columns(counts: Mapping[str, int]) -> Iterator[str]:
    """Lines of three names and numbers each."""
    shown = [f"  {name:<36} {count:>9}" for name, count in sorted(counts.items())]
    for first in range(0, len(shown), 3):
        yield "".join(shown[first : first + 3])


def ranges(numbers: Iterable[int]) -> str:
    """Numbers in as few words as can be: `0..17,19`."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and runs[-1][1] == number - 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ",".join(f"{first}..{last}" if first < last else f"{first}" for first, last in runs)


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
    """Run seeds until there are none left, the time is over, or KeyboardInterrupt; results are
    told as they come."""
    begun = time.perf_counter()
    end = begun + 60 * minutes if minutes is not None else float("inf")
    totals = Totals()
    source = iter(seeds)
    results = (
        _in_turn(source, settings, end) if jobs == 1 else _at_once(source, settings, end, jobs)
    )
    try:
        for result in results:
            totals.add(result)
            tell(result)
    except KeyboardInterrupt:
        totals.stopped = True
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
    # Workers leave signals to this process: a run under way ends, none begins any more.
    with ProcessPoolExecutor(jobs, initializer=_ignore_signals) as pool:
        while True:
            free = 2 * jobs - len(running) if time.perf_counter() < end else 0
            running |= {pool.submit(run_seed, seed, settings) for seed in islice(seeds, free)}
            if not running:
                return
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                yield future.result()


def _ignore_signals() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def append_ledger(path: Path, commit: str, settings: str, totals: Totals) -> None:
    """One line for one campaign: which code, which seeds, how long, what was on, what came out."""
    result = (
        "ok"
        if not totals.failures
        else "FAILED "
        + ", ".join(f"{failure.options.seed} ({failure.invariant})" for failure in totals.failures)
    )
    if totals.stopped:
        result += " (stopped)"
    what = (commit, ranges(totals.seeds), f"{totals.seconds / 60:.1f}", settings or "swarm")
    line = "\t".join((*what, f"{totals.messages}", _listed(totals.shapes), result)) + "\n"
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

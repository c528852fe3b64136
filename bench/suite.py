"""Sets of workloads that are measured in parts, one file each: stopped at any time, resumed later.

A part is a plan of its own. Its file is written when the part is complete, so that a run which is
cut off loses one part at most, and each part can be measured when the machine is quiet.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from bench.cases import GROWTH, Case
from bench.compare import Plan, Progress, compare
from bench.drive import BenchError
from bench.result import Comparison


class Part(NamedTuple):
    """Cases that are measured together. Times in seconds."""

    name: str
    cases: tuple[str, ...]
    shared: bool = True  # one cluster for all cases of a repetition
    seconds: float = 2.0
    warm_up: float = 0.6
    repetitions: int = 5
    windows: int = 1


def _levels(*keys: str) -> tuple[str, ...]:
    return tuple(f"{case},keys={each}" for each in keys for case in GROWTH)


FULL: Final = (
    Part("puts-small", ("put:256:1", "put:256:100", "put:256:400", "put:4k:100")),
    Part("puts-large", ("put:64k:32", "put:256k:16", "put:1m:16")),
    Part("gets", ("get:256:100", "get-serializable:256:100")),
    Part("get-cold", ("get-cold:1m:16",)),
    Part("ycsb", ("ycsb-a:1k:100", "ycsb-b:1k:100", "ycsb-a:64k:32", "ycsb-b:64k:32")),
    Part("kill", ("put:256:50,kill=1",), shared=False, seconds=5.0),
    Part(
        "down",
        tuple(f"{case},down={down}" for down in (1, 2) for case in ("put:256:100", "put:64k:32")),
        shared=False,
    ),
    Part(
        "growth", _levels("10k", "1m"),
        seconds=1.0, warm_up=0.3, repetitions=1, windows=5,
    ),
    Part("watchers", ("watch:256:3000,rate=2",), seconds=2.0, repetitions=3),
)  # fmt: skip
SERVICES: Final = (
    Part("watch", ("watch:256:100", "watch:256:1000", "watch:256:1000,rate=20")),
    Part("leases", ("lease-grant::100", "lease-keepalive::100"), shared=False),
    Part("kube", ("kube:1k:100",)),
    Part("scans", ("ycsb-e:1k:32",)),
    Part("open", ("put:256:400,rate=1000", "put:256:400,rate=4000", "get:256:400,rate=8000")),
)
SUITES: Final = {"full": FULL, "services": SERVICES}


def run_suite(
    name: str,
    directory: Path,
    chosen: Sequence[str],
    progress: Progress,
    *,
    seconds: float | None,
    repetitions: int | None,
    **options: Any,
) -> list[str]:
    """Measure the parts that the directory lacks; the names of those still lacking.

    `chosen` names parts, none means all. Raises BenchError with one clear line.
    """
    parts = {part.name: part for part in _suite(name)}
    unknown = [each for each in chosen if each not in parts]
    if unknown:
        raise BenchError(f"{unknown[0]!r} is no part of {name}: those are {', '.join(parts)}")
    directory.mkdir(parents=True, exist_ok=True)
    nodes = options["nodes"]
    _check_directory(directory, nodes)
    for part in parts.values():
        path = _path(directory, part)
        if path.exists() or (chosen and part.name not in chosen):
            continue
        plan = Plan(
            cases=cases_of(part, nodes),
            shared=part.shared,
            windows=part.windows,
            warm_up=part.warm_up,
            seconds=seconds or part.seconds,
            repetitions=repetitions or part.repetitions,
            **options,
        )
        _write(path, compare(plan, progress))
    return [part.name for part in parts.values() if not _path(directory, part).exists()]


def cases_of(part: Part, nodes: int) -> tuple[Case, ...]:
    """The part's cases that make sense with so many nodes."""
    cases = (Case.parse(text) for text in part.cases)
    return tuple(case for case in cases if not case.down or 2 * case.down < nodes)


def read_parts(directory: Path) -> dict[str, Comparison]:
    """The results in a directory, by the parts' names, in the order of the suites.

    Raises BenchError when a file is none of ours.
    """
    found = {}
    for parts in SUITES.values():
        for part in parts:
            path = _path(directory, part)
            if path.exists():
                found[part.name] = _read(path)
    return found


def _suite(name: str) -> tuple[Part, ...]:
    if name not in SUITES:
        raise BenchError(f"{name!r} is no suite: those are {', '.join(SUITES)}")
    return SUITES[name]


def _check_directory(directory: Path, nodes: int) -> None:
    """Results of clusters of another size must not come into one table."""
    for name, comparison in read_parts(directory).items():
        if comparison.workload["nodes"] != nodes:
            raise BenchError(
                f"{directory} holds {name} of {comparison.workload['nodes']} nodes, not {nodes}: "
                "choose another --out"
            )


def _path(directory: Path, part: Part) -> Path:
    return directory / f"{part.name}.json"


def _read(path: Path) -> Comparison:
    try:
        return Comparison.from_json(json.loads(path.read_text()))
    except (ValueError, KeyError, TypeError) as error:
        raise BenchError(f"{path} holds no results of this version: {error}") from error


def _write(path: Path, comparison: Comparison) -> None:
    """The file appears when it is whole."""
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_text(json.dumps(comparison.to_json()) + "\n")
    os.replace(unfinished, path)

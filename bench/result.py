"""The result of a comparison: single measurements, their summaries, and all of it as JSON."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from bench.cases import Case
from bench.recorder import Histogram, Timeline

SCHEMA = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One repetition on one system. Usage of servers is None when they are not ours to look at."""

    system: str
    version: str
    case: Case
    repetition: int
    seconds: float  # length of the measured window
    operations: int
    errors: dict[str, int]
    latency: Histogram
    timeline: Timeline
    client_cpu_s: float
    server_cpu_s: float | None
    disk_bytes: int | None  # written by all nodes together
    wire_bytes: int | None  # sent over TCP between nodes and with clients
    memory_empty: float | None = None  # bytes of each node, at its start
    memory_ready: float | None = None  # the same before the load: keys put, watches open
    memory_items: float = 0.0  # keys or watchers that each node holds in that memory
    figures: dict[str, float] = field(default_factory=dict)  # what the workload counts besides
    down: tuple[str, ...] = ()  # the nodes that were killed before the load
    killed: str | None = None  # the node that was killed within the window
    killed_at_s: float | None = None  # into the window

    def to_json(self) -> dict[str, Any]:
        """As a JSON object; units in the names."""
        data = {
            name: getattr(self, name)
            for name in self.__slots__
            if name not in ("case", "latency", "timeline")
        }
        data["case"] = asdict(self.case)
        data["latency"] = self.latency.to_json()
        data["timeline"] = self.timeline.to_json()
        return data

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Measurement:
        """The inverse of `to_json`."""
        fields = {
            **data,
            "case": Case(**data["case"]),
            "latency": Histogram.from_json(data["latency"]),
            "timeline": Timeline.from_json(data["timeline"]),
            "down": tuple(data["down"]),
        }
        return cls(**fields)


@dataclass(frozen=True)
class Summary:
    """The repetitions of one system in one case, taken together."""

    measurements: Sequence[Measurement]

    def __post_init__(self) -> None:
        if not self.measurements:
            raise ValueError("a summary needs a measurement")

    @property
    def system(self) -> str:
        return self.measurements[0].system

    @property
    def version(self) -> str:
        return self.measurements[0].version

    @property
    def case(self) -> Case:
        return self.measurements[0].case

    @cached_property
    def throughputs(self) -> list[float]:
        """Operations per second of each repetition."""
        return [each.operations / each.seconds for each in self.measurements]

    @property
    def throughput(self) -> float:
        """The median repetition's operations per second."""
        return statistics.median(self.throughputs)

    @cached_property
    def latency(self) -> Histogram:
        """Of all repetitions."""
        merged = Histogram()
        for each in self.measurements:
            merged.merge(each.latency)
        return merged

    @property
    def operations(self) -> int:
        return sum(each.operations for each in self.measurements)

    @property
    def client_us(self) -> float | None:
        """CPU of the load generator per operation, microseconds."""
        return _per(sum(each.client_cpu_s for each in self.measurements) * 1e6, self.operations)

    @property
    def server_us(self) -> float | None:
        """CPU of all nodes together per operation, microseconds."""
        total = _total(each.server_cpu_s for each in self.measurements)
        return None if total is None else _per(total * 1e6, self.operations)

    @property
    def cpu_us(self) -> float | None:
        """CPU of all nodes and the load generator together per operation, microseconds."""
        client, server = self.client_us, self.server_us
        return None if client is None or server is None else client + server

    @property
    def client_share(self) -> float | None:
        """The load generator's part of the CPU that it and the servers used."""
        client, server = self.client_us, self.server_us
        return None if client is None or server is None else client / (client + server)

    @property
    def disk_ratio(self) -> float | None:
        """Bytes written to disk by all nodes per byte of value that the operations write."""
        total = _total(each.disk_bytes for each in self.measurements)
        return None if total is None else _per(total, self.operations * self.case.written_bytes)

    @property
    def wire_ratio(self) -> float | None:
        """Bytes sent by nodes and clients per byte of value that the operations move."""
        total = _total(each.wire_bytes for each in self.measurements)
        return None if total is None else _per(total, self.operations * self.case.moved_bytes)

    @property
    def memory_per_item(self) -> float | None:
        """Bytes of each node's memory per key, or per watcher, that it holds."""
        found = [
            (each.memory_ready - each.memory_empty) / each.memory_items
            for each in self.measurements
            if each.memory_ready is not None and each.memory_empty is not None and each.memory_items
        ]
        return statistics.median(found) if found else None

    @property
    def figures(self) -> dict[str, float]:
        """What the workload counts besides, per second: the median repetition's."""
        names = dict.fromkeys(name for each in self.measurements for name in each.figures)
        return {
            name: statistics.median(
                each.figures.get(name, 0.0) / each.seconds for each in self.measurements
            )
            for name in names
        }

    @property
    def gaps(self) -> list[float]:
        """Seconds: the longest time without a success of each repetition."""
        return [each.timeline.longest_gap()[0] for each in self.measurements]

    @property
    def longest_gap(self) -> float:
        """Seconds; the worst of all repetitions."""
        return max(self.gaps)

    @property
    def errors(self) -> dict[str, int]:
        merged: Counter[str] = Counter()
        for each in self.measurements:
            merged.update(each.errors)
        return dict(merged)

    def to_json(self) -> dict[str, Any]:
        """The figures of the table, as a JSON object."""
        quantiles = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p999": 0.999}
        latency = {name: self.latency.quantile(at) * 1e3 for name, at in quantiles.items()}
        return {
            "system": self.system,
            "version": self.version,
            "case": asdict(self.case),
            "throughput_per_s": self.throughput,
            "throughputs_per_s": self.throughputs,
            "latency_ms": {**latency, "max": self.latency.maximum * 1e3},
            "server_cpu_us_per_op": self.server_us,
            "client_cpu_us_per_op": self.client_us,
            "client_share_of_cpu": self.client_share,
            "disk_bytes_per_value_byte": self.disk_ratio,
            "wire_bytes_per_value_byte": self.wire_ratio,
            "memory_bytes_per_item": self.memory_per_item,
            "figures_per_s": self.figures,
            "longest_gap_s": self.longest_gap,
            "errors": self.errors,
        }


@dataclass(frozen=True, slots=True)
class Machine:
    """What the figures were measured on."""

    cores: int
    cpu: str
    memory_bytes: int
    kernel: str
    python: str
    filesystem: str
    commit: str  # of the source tree, "+" appended when it has changes; empty when there is none

    @classmethod
    def here(cls, filesystem: str) -> Machine:
        """Facts of this machine."""
        return cls(
            cores=len(os.sched_getaffinity(0)),
            cpu=_cpu_model(),
            memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            kernel=platform.release(),
            python=platform.python_version(),
            filesystem=filesystem,
            commit=_commit(),
        )


@dataclass(slots=True)
class Comparison:
    """All measurements of one run, in the order in which they were made."""

    machine: Machine
    workload: dict[str, Any]  # the options of the run
    measurements: list[Measurement] = field(default_factory=list)

    def summaries(self) -> dict[Case, dict[str, Summary]]:
        """By case, then by system, in order of first appearance."""
        groups: dict[Case, dict[str, list[Measurement]]] = {}
        for each in self.measurements:
            groups.setdefault(each.case, {}).setdefault(each.system, []).append(each)
        return {
            case: {system: Summary(group) for system, group in systems.items()}
            for case, systems in groups.items()
        }

    def to_json(self) -> dict[str, Any]:
        """As one JSON object."""
        return {
            "schema": SCHEMA,
            "machine": asdict(self.machine),
            "workload": self.workload,
            "summaries": [
                summary.to_json()
                for systems in self.summaries().values()
                for summary in systems.values()
            ],
            "measurements": [each.to_json() for each in self.measurements],
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Comparison:
        """The inverse of `to_json`; raises ValueError for another version's results."""
        if data.get("schema") != SCHEMA:
            raise ValueError(f"results of schema {data.get('schema')}, this version reads {SCHEMA}")
        measurements = [Measurement.from_json(each) for each in data["measurements"]]
        return cls(Machine(**data["machine"]), data["workload"], measurements)


def _total(figures: Iterable[float | None]) -> float | None:
    total = 0.0
    for figure in figures:
        if figure is None:
            return None
        total += figure
    return total


def _per(amount: float, count: float) -> float | None:
    return amount / count if count else None


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty=+", "--abbrev=12"]
    root = Path(__file__).parent
    try:
        answer = subprocess.run(
            command, cwd=root, capture_output=True, text=True, timeout=10, check=False
        )
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return ""
    return answer.stdout.strip()

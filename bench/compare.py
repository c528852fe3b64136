"""Paired runs: the systems take turns under each load, so that a drifting machine is fair to both.

Each repetition starts a fresh cluster, warms it up, measures a window, and removes it all.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

from bench.cases import Case
from bench.drive import BenchError, Drive, Kill
from bench.probe import leader_position, member_status
from bench.result import Comparison, Machine, Measurement
from bench.systems import ETCD, RACOS, cluster_of, filesystem_of
from bench.worker import Spec
from cluster.supervisor import ClusterError, Supervisor

_KEYS: Final = 10_000
_KEY_SPACE_BYTES: Final = 64 * 2**20  # fewer keys for large values, lest filling them takes minutes


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to compare. Sizes in bytes, times in seconds."""

    cases: tuple[Case, ...]
    nodes: int = 3
    seconds: float = 5.0
    warm_up: float = 1.0
    repetitions: int = 3
    systems: tuple[str, ...] = (RACOS, ETCD)
    endpoints: tuple[str, ...] = ()  # load these, start nothing
    etcd: str | None = None
    data_dir: Path | None = None
    keys: int | None = None
    connections: int = 1
    processes: int = 1
    timeout: float | None = None
    kill_after: float | None = None
    writers: int | None = None  # how many nodes get clients; all of them
    seed: int = 1

    def __post_init__(self) -> None:
        if not self.cases:
            raise BenchError("nothing to compare: name a workload")
        if not 1 <= self.processes <= max(case.clients for case in self.cases):
            raise BenchError("need at least one client for each process")
        if self.seconds <= 0 or self.warm_up < 0 or self.repetitions < 1:
            raise BenchError("need a window longer than 0 s and at least one repetition")
        if self.kill_after is not None and not 0 < self.kill_after < self.seconds:
            raise BenchError(f"--kill-after must lie within the {self.seconds:g} s of the window")
        if self.kill_after is not None and self.endpoints:
            raise BenchError("--kill-after needs a cluster of its own: leave --endpoints away")

    def key_count(self, case: Case) -> int:
        """Keys in use; a multiple of the clients, so that each client has keys of its own."""
        wanted = self.keys or min(_KEYS, max(1, _KEY_SPACE_BYTES // max(1, case.size)))
        return -(-wanted // case.clients) * case.clients

    def order(self, repetition: int) -> tuple[str, ...]:
        """The systems' turns; every second repetition goes the other way round.

        So neither always has the other's aftermath on the disk.
        """
        return self.systems if repetition % 2 else self.systems[::-1]

    @property
    def call_timeout(self) -> float:
        """Seconds until a client gives a call up: few in a fault run, when others can be asked."""
        if self.timeout is not None:
            return self.timeout
        return 0.25 if self.kill_after is not None else 10.0

    def to_json(self) -> dict[str, Any]:
        """The options as a JSON object; paths of this machine left out."""
        data = asdict(self)
        del data["data_dir"], data["etcd"]
        return data


class Progress(Protocol):
    """Where a run reports how far it is."""

    def begin(self, title: str, seconds: float) -> None:
        """A measurement starts; it loads for so many seconds, warm-up included."""

    def note(self, text: str) -> None:
        """What is being done now."""

    def advance(self, seconds: float, rate: float) -> None:
        """So many seconds of load have passed; operations per second at present."""

    def end(self, rate: float) -> None:
        """The measurement is over, with so many operations per second."""


def compare(plan: Plan, progress: Progress) -> Comparison:
    """Carry a plan out. Raises BenchError with one clear line."""
    with data_dir(plan.data_dir) as directory:
        comparison = Comparison(Machine.here(filesystem_of(directory)), plan.to_json())
        for turn in _turns(plan):
            title = f"{turn.system}, {turn.case.full_text}, {turn.repetition}/{plan.repetitions}"
            progress.begin(title, plan.warm_up + plan.seconds)
            try:
                measurement = _take(plan, turn, directory, progress)
            except (ClusterError, OSError, TimeoutError) as error:
                raise BenchError(f"{turn.system}: {error}") from error
            comparison.measurements.append(measurement)
            progress.end(measurement.operations / measurement.seconds)
    return comparison


class _Turn(NamedTuple):
    """One measurement to take."""

    case: Case
    repetition: int
    system: str


def _turns(plan: Plan) -> Iterator[_Turn]:
    for case in plan.cases:
        for repetition in range(1, plan.repetitions + 1):
            for system in plan.order(repetition):
                yield _Turn(case, repetition, system)


def _take(plan: Plan, turn: _Turn, directory: Path, progress: Progress) -> Measurement:
    if plan.endpoints:
        return asyncio.run(_measure(plan, turn, plan.endpoints, None, progress))
    progress.note(f"starting {plan.nodes} nodes")
    home = directory / f"{turn.system}-{turn.repetition}"
    try:
        with cluster_of(turn.system, plan.nodes, home, plan.etcd) as cluster:
            endpoints = cluster.endpoints()[: plan.writers]
            return asyncio.run(_measure(plan, turn, endpoints, cluster, progress))
    finally:
        shutil.rmtree(home, ignore_errors=True)
        os.sync()  # what one system left in the page cache must not slow the next one's syncs


async def _measure(
    plan: Plan,
    turn: _Turn,
    endpoints: Sequence[str],
    cluster: Supervisor | None,
    progress: Progress,
) -> Measurement:
    version = (await member_status(endpoints[0])).version
    kill = None
    if plan.kill_after is not None and cluster is not None:
        # The leader, where there is one: the worst case for a system that has one.
        victim = cluster.names[await leader_position(endpoints)]
        kill = Kill(plan.kill_after, victim, cluster.kill)
    drive = Drive(
        specs=_specs(plan, turn.case, endpoints),
        warm_up=plan.warm_up,
        seconds=plan.seconds,
        server_pids=cluster.pids() if cluster is not None else [],
        server_ports=cluster.ports() if cluster is not None else [],
        kill=kill,
        progress=progress,
    )
    outcome = await drive.run()
    return Measurement(
        system=turn.system,
        version=version,
        case=turn.case,
        repetition=turn.repetition,
        seconds=plan.seconds,
        operations=outcome.latency.total,
        errors=outcome.errors,
        latency=outcome.latency,
        timeline=outcome.timeline,
        client_cpu_s=outcome.client_cpu_s,
        server_cpu_s=outcome.servers.cpu_s if cluster is not None else None,
        disk_bytes=outcome.servers.written_bytes if cluster is not None else None,
        wire_bytes=outcome.wire_bytes if cluster is not None else None,
        killed=kill.name if kill else None,
        killed_at_s=outcome.killed_at_s,
    )


def _specs(plan: Plan, case: Case, endpoints: Sequence[str]) -> list[Spec]:
    """One spec per worker process; the clients are spread evenly."""
    specs = []
    first = 0
    workers = min(plan.processes, case.clients)
    for worker in range(workers):
        count = (case.clients + worker) // workers
        specs.append(
            Spec(
                case=case,
                endpoints=list(endpoints),
                clients=count,
                first=first,
                keys=plan.key_count(case),
                connections=plan.connections,
                timeout=plan.call_timeout,
                tolerant=plan.kill_after is not None,
                prefill=worker == 0 and case.needs_keys,
                seed=plan.seed,
            )
        )
        first += count
    return specs


@contextmanager
def data_dir(named: Path | None) -> Iterator[Path]:
    """The directory named, or a temporary one in the working directory."""
    if named is not None:
        named.mkdir(parents=True, exist_ok=True)
        yield named
        return
    with tempfile.TemporaryDirectory(prefix="racos-bench-", dir=Path.cwd()) as directory:
        yield Path(directory)

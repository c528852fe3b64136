"""Paired runs: the systems take turns under each load, so that a drifting machine is fair to both.

Each repetition starts a fresh cluster, warms it up, measures a window, and removes it all. Where
the cases share a cluster, it measures one case after the other in it: a store that grows is filled
further from case to case.
"""

from __future__ import annotations

import asyncio
import os
import random
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
from bench.procfs import resident_bytes
from bench.result import Comparison, Machine, Measurement
from bench.runner import Spec
from bench.systems import ETCD, RACOS, cluster_of, filesystem_of
from cluster.supervisor import ClusterError, Supervisor

_TOKENS: Final = 1 << 15


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
    connections: int = 1
    processes: int = 1
    timeout: float | None = None
    writers: int | None = None  # how many nodes get clients; all of them
    seed: int = 1
    shared: bool = False  # whether the cases of a repetition share one cluster
    windows: int = 1  # measurements of a case in a row, each a repetition of its own

    def __post_init__(self) -> None:
        if not self.cases:
            raise BenchError("nothing to compare: name a workload")
        if not 1 <= self.processes <= max(case.clients for case in self.cases):
            raise BenchError("need at least one client for each process")
        if self.seconds <= 0 or self.warm_up < 0 or self.repetitions < 1:
            raise BenchError("need a window longer than 0 s and at least one repetition")
        for case in self.cases:
            self._check(case)

    def _check(self, case: Case) -> None:
        if case.kill >= self.seconds:
            raise BenchError(f"the kill must lie within the {self.seconds:g} s of the window")
        if (case.kill or case.down) and self.endpoints:
            raise BenchError("to kill a node takes a cluster of its own: leave --endpoints away")
        if (case.kill or case.down) and (self.shared or self.windows > 1):
            raise BenchError("a case that kills a node cannot share its cluster")
        if case.down and 2 * (case.down + bool(case.kill)) >= self.nodes:
            raise BenchError(f"{case.down} of {self.nodes} nodes down leave no majority to load")
        others = len(self.endpoints) if self.endpoints else self.nodes - case.down
        if case.fills_one_node and 1 in (others, self.writers):
            raise BenchError(f"{case.workload} needs a second node, to read from")

    def order(self, repetition: int) -> tuple[str, ...]:
        """The systems' turns; every second repetition goes the other way round.

        So neither always has the other's aftermath on the disk.
        """
        return self.systems if repetition % 2 else self.systems[::-1]

    def call_timeout(self, case: Case) -> float:
        """Seconds until a client gives a call up: few in a fault run, when others can be asked."""
        if self.timeout is not None:
            return self.timeout
        return 0.25 if case.kill else 10.0

    def sessions(self) -> Iterator[Session]:
        """What is measured on a cluster of its own each, in order."""
        groups = [self.cases] if self.shared else [(case,) for case in self.cases]
        for cases in groups:
            for repetition in range(1, self.repetitions + 1):
                for system in self.order(repetition):
                    yield Session(cases, repetition, system)

    def to_json(self) -> dict[str, Any]:
        """The options as a JSON object; paths of this machine left out."""
        data = asdict(self)
        del data["data_dir"], data["etcd"]
        return data


class Session(NamedTuple):
    """Cases to measure on one cluster."""

    cases: tuple[Case, ...]
    repetition: int
    system: str


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
        for session in plan.sessions():
            try:
                for measurement in _measurements(plan, session, directory, progress):
                    comparison.measurements.append(measurement)
                    progress.end(measurement.operations / measurement.seconds)
            except (ClusterError, OSError, TimeoutError) as error:
                raise BenchError(f"{session.system}: {error}") from error
    return comparison


def _measurements(
    plan: Plan, session: Session, directory: Path, progress: Progress
) -> Iterator[Measurement]:
    """Of one session, as they are taken."""
    if plan.endpoints:
        yield from _take_turns(plan, session, None, progress)
        return
    home = directory / f"{session.system}-{session.repetition}"
    try:
        # The first case's line already shows how its cluster starts.
        _begin(plan, session, session.cases[0], progress)
        progress.note(f"starting {plan.nodes} nodes")
        with cluster_of(session.system, plan.nodes, home, plan.etcd) as cluster:
            yield from _take_turns(plan, session, cluster, progress)
    finally:
        shutil.rmtree(home, ignore_errors=True)
        os.sync()  # what one system left in the page cache must not slow the next one's syncs


def _begin(plan: Plan, session: Session, case: Case, progress: Progress) -> None:
    title = f"{session.system}, {case.full_text}, {session.repetition}/{plan.repetitions}"
    progress.begin(title, plan.warm_up + plan.seconds)


def _take_turns(
    plan: Plan, session: Session, cluster: Supervisor | None, progress: Progress
) -> Iterator[Measurement]:
    empty = None if cluster is None else resident_bytes(cluster.pids())
    filled = Filled()
    for place, case in enumerate(session.cases):
        for window in range(plan.windows):
            if place or window or cluster is None:
                _begin(plan, session, case, progress)
            turn = Turn(plan, session, case, cluster, filled.first_missing(case), empty, window)
            yield asyncio.run(_measure(turn, progress))
            filled.measured(case)


class Filled:
    """What the keys of a cluster hold: whether, and how far, a case has to fill them."""

    def __init__(self) -> None:
        self._size = -1
        self._keys = 0

    def first_missing(self, case: Case) -> int | None:
        """The first key to put before a case; None when it needs none."""
        if not case.needs_keys:
            return None
        if case.size != self._size or case.fills_one_node or not case.key_count:
            return 0
        return self._keys if self._keys < case.key_count else None

    def measured(self, case: Case) -> None:
        """A case has been carried out."""
        if case.changes_keys:
            self._size, self._keys = -1, 0
        elif case.needs_keys and not case.fills_leases:
            self._keys = max(case.key_count, self._keys if case.size == self._size else 0)
            self._size = case.size


class Turn(NamedTuple):
    """One measurement to take."""

    plan: Plan
    session: Session
    case: Case
    cluster: Supervisor | None
    fill_from: int | None
    memory_empty: float | None  # bytes of each node's, at its start
    window: int  # which measurement of the case in this cluster

    @property
    def repetition(self) -> int:
        """Over all clusters and windows, from 1."""
        return (self.session.repetition - 1) * self.plan.windows + self.window + 1


async def _measure(turn: Turn, progress: Progress) -> Measurement:
    plan, case, cluster = turn.plan, turn.case, turn.cluster
    endpoints = list(cluster.endpoints() if cluster is not None else plan.endpoints)
    downed: tuple[str, ...] = ()
    if cluster is not None and case.down:
        endpoints, downed = await _take_down(cluster, case.down)
    endpoints = endpoints[: plan.writers]
    version = (await member_status(endpoints[0])).version
    kill = None
    if cluster is not None and case.kill:
        # The leader, where there is one: the worst case for a system that has one.
        victim = endpoints[await leader_position(endpoints)]
        name = next(each for each in cluster.names if cluster.endpoint(each) == victim)
        kill = Kill(case.kill, name, cluster.kill)
    before = resident_bytes(cluster.pids()) if cluster is not None else None
    drive = Drive(
        specs=specs_of(turn, endpoints),
        warm_up=plan.warm_up,
        seconds=plan.seconds,
        server_pids=cluster.pids() if cluster is not None else [],
        server_ports=cluster.ports() if cluster is not None else [],
        kill=kill,
        progress=progress,
    )
    outcome = await drive.run()
    return Measurement(
        system=turn.session.system,
        version=version,
        case=case,
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
        # Watchers are all new; keys may be there from the cases before.
        memory_empty=before if case.counts_events else turn.memory_empty,
        memory_ready=outcome.memory_ready if cluster is not None else None,
        memory_items=case.items / (len(endpoints) if case.counts_events else 1),
        figures=outcome.figures,
        killed=kill.name if kill else None,
        killed_at_s=outcome.killed_at_s,
        down=downed,
    )


async def _take_down(cluster: Supervisor, count: int) -> tuple[list[str], tuple[str, ...]]:
    """Kill so many nodes that do not lead; the endpoints that are left, and who was killed.

    Not the leader: etcd would only elect another one, before the load begins.
    """
    endpoints = cluster.endpoints()
    leader = await leader_position(endpoints)
    others = [name for place, name in enumerate(cluster.names) if place != leader]
    victims = tuple(others[-count:])
    for name in victims:
        await asyncio.to_thread(cluster.kill, name)
    return [cluster.endpoint(name) for name in cluster.names if name not in victims], victims


def specs_of(turn: Turn, endpoints: Sequence[str]) -> list[Spec]:
    """One spec per worker process; the clients are spread evenly."""
    plan, case = turn.plan, turn.case
    specs = []
    first = 0
    workers = min(plan.processes, case.clients)
    token = random.SystemRandom().randrange(_TOKENS)
    for worker in range(workers):
        count = (case.clients + worker) // workers
        specs.append(
            Spec(
                case=case,
                endpoints=list(endpoints[1:] if case.fills_one_node else endpoints),
                clients=count,
                first=first,
                keys=case.key_count,
                connections=plan.connections,
                timeout=plan.call_timeout(case),
                tolerant=case.kill > 0,
                fill_from=turn.fill_from if worker == 0 else None,
                fill_endpoints=list(endpoints[:1] if case.fills_one_node else endpoints),
                seed=plan.seed,
                token=token,
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

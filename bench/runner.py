"""What a worker process runs: its share of a case's clients, watchers and watches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from bench.cases import Case
from bench.fanout import Fanout
from bench.kube import Kube
from bench.kubewatch import KubeWatches
from bench.load import Load, LoadResult, Window
from bench.workload import Values


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """What one worker shall do. Sizes in bytes, times in seconds."""

    case: Case
    endpoints: list[str]
    clients: int  # of this worker, out of all that the case has
    first: int  # number of its first client
    keys: int
    connections: int  # per endpoint
    timeout: float
    tolerant: bool
    fill_from: int | None  # the first key that this worker has to put before; None: none
    fill_endpoints: list[str]
    seed: int
    token: int  # the same for all workers of a run, another for each run


class Runner(Protocol):
    """Something that loads the servers."""

    @property
    def done(self) -> int:
        """Operations so far, for progress displays."""

    async def open(self) -> None:
        """Connect; raises LoadError."""

    async def run(self, window: Window) -> LoadResult:
        """Load until the window ends; raises LoadError at the first thing that is wrong."""

    def close(self) -> None:
        """Close the connections."""


def runner_of(spec: Spec, values: Values) -> Runner:
    """The runner that a spec asks for."""
    case = spec.case
    rate = case.rate * spec.clients / case.clients
    if case.counts_events:
        return Fanout(
            values,
            spec.endpoints,
            watchers=spec.clients,
            first=spec.first,
            connections=spec.connections,
            timeout=spec.timeout,
            rate=rate,
        )
    workload = case.workload_of(values, spec.keys, spec.seed, spec.token)
    load = Load(
        workload,
        spec.endpoints,
        clients=spec.clients,
        first=spec.first,
        clients_total=case.clients,
        connections=spec.connections,
        timeout=spec.timeout,
        tolerant=spec.tolerant,
        rate=rate,
        streams=case.uses_streams,
    )
    if isinstance(workload, Kube) and spec.first == 0:
        return _Watched(load, KubeWatches(workload, spec.endpoints, spec.timeout, load.fail))
    return load


class _Watched:
    """A load whose writes are watched; one process's watches see those of all."""

    def __init__(self, load: Load, watches: KubeWatches) -> None:
        self._load = load
        self._watches = watches

    @property
    def done(self) -> int:
        return self._load.done

    async def open(self) -> None:
        await self._load.open()
        await self._watches.open()

    async def run(self, window: Window) -> LoadResult:
        self._watches.measure(window)
        result = await self._load.run(window)
        figures = {**result.figures, **await self._watches.finish()}
        return result._replace(figures=figures)

    def close(self) -> None:
        self._watches.close()
        self._load.close()

"""One measurement: start workers, give them one window, watch the servers, collect the results."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Any, Final, NamedTuple, Protocol

from bench.procfs import Meter, Usage, resident_bytes
from bench.recorder import Histogram, Timeline
from bench.runner import Spec
from bench.wire import WireMeter
from bench.worker import encode

_READY_TIMEOUT_S: Final = 660.0  # filling the key space may take most of it
_GRACE_S: Final = 15.0  # beyond the window and one call's timeout
_LEAD_S: Final = 0.05  # from the order to the start of the load's clock
_SAMPLE_S: Final = 0.1
_LINE_MAX: Final = 64 * 2**20  # bytes; a result carries the time line of its window
# Freed buffers of large values stay in the worker's heap: else each costs page faults (measured:
# 1 MiB puts 1240 against 720 us of client CPU).
_MALLOC: Final = {
    "MALLOC_TRIM_THRESHOLD_": "536870912",
    "MALLOC_MMAP_THRESHOLD_": "536870912",
    "MALLOC_TOP_PAD_": "16777216",
}


class BenchError(Exception):
    """The run failed; one line that says why."""


class Kill(NamedTuple):
    """Kill a node so many seconds into the window."""

    after: float
    name: str
    kill: Callable[[str], None]


class Outcome(NamedTuple):
    latency: Histogram
    timeline: Timeline
    errors: dict[str, int]
    client_cpu_s: float
    servers: Usage  # within the window
    wire_bytes: int | None  # between nodes and with clients, within the window
    killed_at_s: float | None
    memory_ready: float | None  # bytes of each node, before the load: keys put, watches open
    figures: dict[str, float]  # what the workload counts besides, within the window


class Watcher(Protocol):
    """The part of a progress display that a drive uses."""

    def note(self, text: str) -> None: ...

    def advance(self, seconds: float, rate: float) -> None: ...


class Drive:
    """Drives one worker process per spec through one warm-up and one window."""

    def __init__(
        self,
        *,
        specs: Sequence[Spec],
        warm_up: float,
        seconds: float,
        server_pids: Sequence[int],
        server_ports: Sequence[int],
        kill: Kill | None,
        progress: Watcher,
    ) -> None:
        self._specs = specs
        self._warm_up = warm_up
        self._seconds = seconds
        self._server_pids = server_pids
        self._server_ports = server_ports
        self._kill = kill
        self._progress = progress
        self._done = [0] * len(specs)
        self._workers: list[Process] = []

    async def run(self) -> Outcome:
        """Raises BenchError when a worker reports an error, falls silent or dies."""
        try:
            return await self._run()
        finally:
            for worker in self._workers:
                with suppress(ProcessLookupError):
                    worker.kill()
                await worker.wait()

    async def _run(self) -> Outcome:
        filling = self._specs[0].fill_from is not None
        self._progress.note("putting the keys" if filling else "connecting")
        for index, spec in enumerate(self._specs):
            self._workers.append(await _spawn(spec))
            if filling and index == 0:
                # The first worker fills the key space; the others would only read half of it.
                await self._expect(0, "ready", _READY_TIMEOUT_S)
        for index in range(1 if filling else 0, len(self._specs)):
            await self._expect(index, "ready", _READY_TIMEOUT_S)
        memory = resident_bytes(self._server_pids)
        begin = monotonic() + _LEAD_S + self._warm_up
        end = begin + self._seconds
        for worker in self._workers:
            assert worker.stdin is not None
            worker.stdin.write(json.dumps({"begin": begin, "end": end}).encode() + b"\n")
        limit = self._warm_up + self._seconds + self._specs[0].timeout + _GRACE_S
        watch = asyncio.create_task(self._watch_servers(begin, end))
        kill = asyncio.create_task(self._kill_one(begin))
        tasks = [
            asyncio.create_task(self._expect(index, "result", limit))
            for index in range(len(self._workers))
        ]
        try:
            results = await asyncio.gather(*tasks)
            return self._merge(results, *await watch, await kill, memory)
        finally:
            for task in (*tasks, watch, kill):
                task.cancel()
            await asyncio.gather(*tasks, watch, kill, return_exceptions=True)

    async def _expect(self, index: int, event: str, timeout: float) -> dict[str, Any]:
        """The worker's next message of a kind; counts the progress on the way."""
        stream = self._workers[index].stdout
        assert stream is not None
        try:
            async with asyncio.timeout(timeout):
                while line := await stream.readline():
                    heard: dict[str, Any] = json.loads(line)
                    if heard["event"] == event:
                        return heard
                    if heard["event"] == "error":
                        raise BenchError(heard["text"])
                    if heard["event"] == "filling":
                        self._progress.note(f"putting the keys: {heard['share']:.0%}")
                    else:
                        self._done[index] = heard["done"]
        except TimeoutError as error:
            raise BenchError(f"the load generator said nothing for {timeout:g} s") from error
        code = await self._workers[index].wait()
        raise BenchError(f"the load generator ended with exit code {code}")

    async def _watch_servers(self, begin: float, end: float) -> tuple[Usage, int | None]:
        """Sample the servers within the window; show the rate all along."""
        start = monotonic()
        self._progress.note("warming up")
        await self._show_until(begin, start, ())
        self._progress.note("measuring")
        meter, wire = Meter(self._server_pids), WireMeter(self._server_ports)
        await self._show_until(end, start, (meter, wire))
        meter.sample()
        wire.sample()
        return meter.used(), wire.used()

    async def _show_until(
        self, until: float, start: float, meters: Sequence[Meter | WireMeter]
    ) -> None:
        before = (monotonic(), sum(self._done))
        rate = 0.0
        while (now := monotonic()) < until:
            for meter in meters:
                # Often, because a node that is killed takes its counters with it.
                meter.sample()
            done = sum(self._done)
            if now - before[0] >= 0.5:
                rate = (done - before[1]) / (now - before[0])
                before = (now, done)
            self._progress.advance(now - start, rate)
            await asyncio.sleep(min(_SAMPLE_S, until - now))

    async def _kill_one(self, begin: float) -> float | None:
        if self._kill is None:
            return None
        await asyncio.sleep(begin + self._kill.after - monotonic())
        killed_at = monotonic() - begin
        await asyncio.to_thread(self._kill.kill, self._kill.name)
        return killed_at

    def _merge(
        self,
        results: Sequence[dict[str, Any]],
        servers: Usage,
        wire_bytes: int | None,
        killed_at: float | None,
        memory: float | None,
    ) -> Outcome:
        latency, timeline = Histogram(), Timeline(self._seconds)
        errors: Counter[str] = Counter()
        figures: Counter[str] = Counter()
        for result in results:
            latency.merge(Histogram.from_json(result["latency"]))
            timeline.merge(Timeline.from_json(result["timeline"]))
            errors.update(result["errors"])
            figures.update(result["figures"])
        cpu = sum(result["cpu_s"] for result in results)
        return Outcome(
            latency, timeline, dict(errors), cpu, servers, wire_bytes, killed_at, memory,
            {name: float(figure) for name, figure in figures.items()},
        )  # fmt: skip


async def _spawn(spec: Spec) -> Process:
    root = str(Path(__file__).parent.parent)
    inherited = os.environ.get("PYTHONPATH")
    path = f"{root}{os.pathsep}{inherited}" if inherited else root
    worker = await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",
        "-m",
        "bench.worker",
        stdin=PIPE,
        stdout=PIPE,
        limit=_LINE_MAX,
        env={**os.environ, **_MALLOC, "PYTHONPATH": path},
    )
    assert worker.stdin is not None
    worker.stdin.write(encode(spec))
    return worker

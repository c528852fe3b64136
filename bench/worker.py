"""The load generator's own process, so that its CPU time is its own: `python -m bench.worker`.

Speaks lines of JSON: reads a `Spec`, answers `ready`; reads `begin` and `end` (monotonic seconds,
one clock for the whole machine), runs, reports progress, and ends with `result` or `error`.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
from dataclasses import asdict, dataclass
from time import monotonic
from typing import Any, Final

import uvloop

from bench.cases import Case
from bench.load import Load, LoadError, LoadResult, Window
from bench.workload import Puts, Values, Workload
from etcdshim.http2.frames import (
    ProtocolError,
)

_PREFILL_TIMEOUT_S: Final = 600.0
_PROGRESS_S: Final = 0.2
_PREFILL_CLIENTS: Final = 32


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
    prefill: bool
    seed: int


def send(event: str, **fields: Any) -> None:
    """One line to the parent."""
    sys.stdout.write(json.dumps({"event": event, **fields}) + "\n")
    sys.stdout.flush()


def encode(spec: Spec) -> bytes:
    """A Spec as the line that `main` reads."""
    return json.dumps(asdict(spec)).encode() + b"\n"


def decode(line: str) -> Spec:
    """The inverse of `encode`."""
    fields = json.loads(line)
    return Spec(**{**fields, "case": Case(**fields["case"])})


def main() -> int:
    """Read the spec from standard input, run, and report on standard output."""
    try:
        uvloop.run(_run(decode(sys.stdin.readline())))
    except (LoadError, ProtocolError) as error:
        send("error", text=str(error))
        return 1
    return 0


async def _run(spec: Spec) -> None:
    values = Values(spec.case.size, spec.seed)
    if spec.prefill:
        await _prefill(spec, Puts(values, spec.keys))
    load = Load(
        spec.case.workload_of(values, spec.keys, spec.seed),
        spec.endpoints,
        clients=spec.clients,
        first=spec.first,
        clients_total=spec.case.clients,
        connections=spec.connections,
        timeout=spec.timeout,
        tolerant=spec.tolerant,
    )
    await load.open()
    send("ready")
    # A thread for one line: standard input may be a file, which no event loop can watch.
    order = json.loads(await asyncio.to_thread(sys.stdin.readline))
    window = Window(order["begin"], order["end"])
    cpu = asyncio.create_task(_cpu_seconds(window))
    progress = asyncio.create_task(_report_progress(load))
    try:
        result = await load.run(window)
        send("result", cpu_s=await cpu, **_encode_result(result))
    finally:
        for task in (cpu, progress):
            task.cancel()
        await asyncio.gather(cpu, progress, return_exceptions=True)
        load.close()


async def _prefill(spec: Spec, puts: Workload) -> None:
    """Put every key once; the whole key space, whatever the share of this worker."""
    load = Load(
        puts,
        spec.endpoints,
        clients=min(max(spec.case.clients, _PREFILL_CLIENTS), spec.keys),
        connections=spec.connections,
        timeout=spec.timeout,
    )
    await load.open()
    now = monotonic()
    await load.run(Window(now, now + _PREFILL_TIMEOUT_S), count=spec.keys)
    load.close()
    if load.done < spec.keys:
        raise LoadError(f"only {load.done} of {spec.keys} keys could be put before the gets")


async def _cpu_seconds(window: Window) -> float:
    """CPU time that this process takes within the window."""
    await asyncio.sleep(window.begin - monotonic())
    before = resource.getrusage(resource.RUSAGE_SELF)
    await asyncio.sleep(window.end - monotonic())
    after = resource.getrusage(resource.RUSAGE_SELF)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


async def _report_progress(load: Load) -> None:
    while True:
        await asyncio.sleep(_PROGRESS_S)
        send("progress", done=load.done)


def _encode_result(result: LoadResult) -> dict[str, Any]:
    return {
        "operations": result.operations,
        "errors": result.errors,
        "latency": result.latency.to_json(),
        "timeline": result.timeline.to_json(),
        "successes": result.successes,
        "revision_highest": result.revision_highest,
    }


if __name__ == "__main__":
    sys.exit(main())

"""The load generator's own process, so that its CPU time is its own: `python -m bench.worker`.

Speaks lines of JSON: reads a `Spec`, answers `ready`; reads `begin` and `end` (monotonic seconds,
one clock for the whole machine), runs, reports progress, and ends with `result` or `error`.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
from dataclasses import asdict
from time import monotonic
from typing import Any, Final

import uvloop

from bench.cases import Case
from bench.load import Load, LoadError, LoadResult, Window
from bench.runner import Runner, Spec, runner_of
from bench.workload import Values
from etcdshim.http2.frames import ProtocolError

_FILL_TIMEOUT_S: Final = 600.0
_PROGRESS_S: Final = 0.2
_FILL_CLIENTS: Final = 32
_FILL_CALL_TIMEOUT_S: Final = 10.0


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
    if spec.fill_from is not None:
        await _fill(spec, values)
    runner = runner_of(spec, values)
    try:
        await runner.open()
        send("ready")
        # A thread for one line: standard input may be a file, which no event loop can watch.
        order = json.loads(await asyncio.to_thread(sys.stdin.readline))
        await _measure(runner, Window(order["begin"], order["end"]))
    finally:
        runner.close()


async def _measure(runner: Runner, window: Window) -> None:
    cpu = asyncio.create_task(_cpu_seconds(window))
    progress = asyncio.create_task(_report_progress(runner))
    try:
        result = await runner.run(window)
        send("result", cpu_s=await cpu, **_encode_result(result))
    finally:
        for task in (cpu, progress):
            task.cancel()
        await asyncio.gather(cpu, progress, return_exceptions=True)


async def _fill(spec: Spec, values: Values) -> None:
    """Put every key that is missing, whatever the share of this worker."""
    assert spec.fill_from is not None
    filling = spec.case.filling_of(values, spec.fill_from, spec.keys, spec.token)
    load = Load(
        filling,
        spec.fill_endpoints,
        clients=min(max(spec.case.clients, _FILL_CLIENTS), filling.operations),
        connections=spec.connections,
        timeout=max(spec.timeout, _FILL_CALL_TIMEOUT_S),
    )
    await load.open()
    telling = asyncio.create_task(_report_filling(load, filling.operations))
    now = monotonic()
    try:
        await load.run(Window(now, now + _FILL_TIMEOUT_S), count=filling.operations)
    finally:
        telling.cancel()
        await asyncio.gather(telling, return_exceptions=True)
        load.close()
    if load.done < filling.operations:
        raise LoadError(f"only {load.done} of {filling.operations} requests fitted into the time "
                        f"for putting the keys")  # fmt: skip


async def _cpu_seconds(window: Window) -> float:
    """CPU time that this process takes within the window."""
    await asyncio.sleep(window.begin - monotonic())
    before = resource.getrusage(resource.RUSAGE_SELF)
    await asyncio.sleep(window.end - monotonic())
    after = resource.getrusage(resource.RUSAGE_SELF)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


async def _report_filling(load: Load, operations: int) -> None:
    while True:
        await asyncio.sleep(_PROGRESS_S)
        send("filling", share=load.done / operations)


async def _report_progress(runner: Runner) -> None:
    while True:
        await asyncio.sleep(_PROGRESS_S)
        send("progress", done=runner.done)


def _encode_result(result: LoadResult) -> dict[str, Any]:
    return {
        "operations": result.operations,
        "errors": result.errors,
        "latency": result.latency.to_json(),
        "timeline": result.timeline.to_json(),
        "successes": result.successes,
        "revision_highest": result.revision_highest,
        "figures": result.figures,
    }


if __name__ == "__main__":
    sys.exit(main())

"""`python -m tests.micro`: what a put costs, by stage, in microseconds of CPU and in calls."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from tests.micro.count import CallCount
from tests.micro.rig import Rig
from tests.micro.sample import Sampling
from tests.micro.stages import STAGES

_CASES = ((1, 256, 1000), (30, 256, 300), (1, 65536, 300), (30, 65536, 25))  # batch, size, reads
_WARM = 10  # reads before those that are measured
_AT_ONCE = 25  # reads per piece of a measurement
_COUNTED = 20
_SETTLE_EVERY = 5  # reads: timers and lazy records are part of the cost


async def _measure(rig: Rig, batch: int, size: int, reads: int) -> tuple[Sampling, CallCount]:
    value = bytes(range(256)) * (size // 256)

    def request(number: int) -> bytes:
        # Every other put replaces a version.
        return rig.put(
            [b"%d/%d/%d/%d" % (batch, size, number // 2, i) for i in range(batch)], value
        )

    for number in range(_WARM):
        await rig.serve(request(number), batch)
    sampling, calls = Sampling(), CallCount()
    for start in range(_WARM, _WARM + reads, _AT_ONCE):  # the requests are made outside
        data = [request(number) for number in range(start, start + _AT_ONCE)]
        with sampling:
            for number, frames in enumerate(data):
                await rig.serve(frames, batch)
                if number % _SETTLE_EVERY == 0:
                    rig.settle()
    data = [request(_WARM + reads + number) for number in range(_COUNTED)]
    with calls:
        for frames in data:
            await rig.serve(frames, batch)
    return sampling, calls


async def _print() -> None:
    for batch, size, reads in _CASES:
        with tempfile.TemporaryDirectory() as folder:
            rig = Rig(Path(folder))
            sampling, calls = await _measure(rig, batch, size, reads)
            rig.close()
        puts = reads * batch
        times = sampling.microseconds(puts)
        print(f"\n{batch} puts of {size} B at a time, {puts} puts, three replicas together:")
        print(f"{'stage':20} {'us':>8} {'Python calls':>14} {'C calls':>9}")
        for stage in STAGES:
            python, c = (found[stage] / _COUNTED / batch for found in (calls.python, calls.c))
            print(f"{stage:20} {times.get(stage, 0.0):8.1f} {python:14.1f} {c:9.1f}")
        python, c = (found.total() / _COUNTED / batch for found in (calls.python, calls.c))
        print(f"{'all':20} {sum(times.values()):8.1f} {python:14.1f} {c:9.1f}")
        print(f"other threads: {sampling.other_seconds * 1e6 / puts:.1f} us")


if __name__ == "__main__":
    asyncio.run(_print())

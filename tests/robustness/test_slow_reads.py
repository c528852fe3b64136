"""Disks whose reads take long, while everything at rest is read: clients do not wait for that."""

from __future__ import annotations

import asyncio
import statistics
import time

import pytest

from cluster.supervisor import LocalCluster
from tests.robustness.client import Client
from tests.robustness.disks import Fault
from tests.robustness.faults import FaultyCluster, kill, restart
from tests.robustness.history import Outcome, new_value
from tests.robustness.load import PATIENCE
from tests.robustness.verify import endpoints

pytestmark = [pytest.mark.process, pytest.mark.slow]

READ_MS = 25
PUTS = 480  # 60 MiB a node: six seconds of reads, more than starting and measuring take
SIZE = 256 << 10
SECONDS = 1.2


async def fill(cluster: LocalCluster) -> None:
    """What is read at rest afterwards: some seconds of work for the scrubber."""

    async def one(client: Client, first: int) -> None:
        for number in range(first, PUTS, 8):
            operation = await client.put(f"f{number}", new_value(SIZE), PATIENCE)
            assert operation.outcome is Outcome.OK, operation.error

    name, endpoint = next(iter(endpoints(cluster).items()))
    async with Client(name, endpoint, []) as client:
        await asyncio.gather(*[one(client, first) for first in range(8)])


async def latencies(cluster: LocalCluster) -> list[float]:
    """Of one small put after the other, in milliseconds, while the nodes scrub."""
    took: list[float] = []
    name, endpoint = next(iter(endpoints(cluster).items()))
    async with Client(name, endpoint, []) as client:
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            begun = time.perf_counter()
            await client.put("k", b"x", PATIENCE)  # in place not even connections stand up
            took.append(1000 * (time.perf_counter() - begun))
    assert 0 < await asyncio.to_thread(scrubbed, cluster) < 1
    return took


def scrubbed(cluster: LocalCluster) -> float:
    """How far the first pass is."""
    return cluster.figure("n1", "racos_scrub_progress") or 0.0


async def test_one_slow_read_holds_up_nobody() -> None:
    """Read in place, as where a disk does not tell, and off the loop; one after the other."""
    with FaultyCluster(3, flags=["--scrub-rate=67108864"]) as cluster:
        await fill(cluster)
        found: dict[str, list[float]] = {}
        for kind in ("slow-in-place", "slow"):
            await kill(cluster, cluster.names)
            cluster.faults = dict.fromkeys(cluster.names, Fault(kind, READ_MS))
            await restart(cluster, cluster.names)
            found[kind] = await latencies(cluster)
    median = {kind: statistics.median(took) for kind, took in found.items()}
    for kind, took in found.items():
        worst = max(took)
        print(f"{kind}: {len(took)} puts, median {median[kind]:.1f} ms, worst {worst:.1f} ms")
    assert median["slow"] < READ_MS < median["slow-in-place"]

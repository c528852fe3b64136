"""A node that missed writes of large values gets its fragments back while the cluster runs."""

from __future__ import annotations

import asyncio
import random
import time

import grpc.aio
import pytest

from cluster.supervisor import LocalCluster
from etcdshim.pb import rpc_pb2
from tests.robustness.client import Client
from tests.robustness.faults import kill, restart

pytestmark = [pytest.mark.process, pytest.mark.slow]

SIZE = 64 << 10
CALL_SECONDS = 5.0
PUTS = 150  # while the node is down
HEALED_SECONDS = 10.0


async def test_after_kill_and_restart_no_fragment_stays_missing(three: LocalCluster) -> None:
    stop = asyncio.Event()
    async with Client("n1", three.endpoint("n1"), []) as client:
        load = asyncio.create_task(put_until(client, stop))
        await kill(three, ("n3",))
        while len(client.operations) < PUTS:
            assert not load.done()
            await asyncio.sleep(0.02)
        await restart(three, ("n3",))
        await asyncio.sleep(0.1)
        stop.set()
        acknowledged = await load
    await wait_for_figures(three, "racos_fragments_missing")
    await wait_for_figures(three, "racos_fragments_surplus")
    healed = await asyncio.to_thread(three.figure, "n3", "racos_fragments_healed_total")
    pruned = await asyncio.to_thread(three.figure, "n1", "racos_fragments_pruned_total")
    print(f"{len(acknowledged)} puts, {healed} batches healed on n3, {pruned} pruned on n1")
    assert healed
    assert pruned
    await kill(three, ("n1",))
    async with Client("n3", three.endpoint("n3"), []) as client:
        for number in acknowledged[:: len(acknowledged) // 20]:
            assert await read(client, number) == value(number)


def value(number: int) -> bytes:
    return random.Random(number).randbytes(SIZE)


async def put_until(client: Client, stop: asyncio.Event) -> list[int]:
    """Puts one after the other; returns the numbers of those that were acknowledged."""
    done: list[int] = []
    number = 0
    while not stop.is_set():
        operation = await client.put(f"k{number}", value(number), CALL_SECONDS)
        if not operation.error:
            done.append(number)
        number += 1
    return done


async def read(client: Client, number: int) -> bytes:
    """A linearizable read, again while the cluster notices the kill."""
    request = rpc_pb2.RangeRequest(key=b"k%d" % number)
    for _ in range(10):
        try:
            answer = await client.kv.Range(request, timeout=CALL_SECONDS)
        except grpc.aio.AioRpcError:
            continue
        return bytes(answer.kvs[0].value)
    raise AssertionError(f"k{number} is not readable")


async def wait_for_figures(cluster: LocalCluster, metric: str) -> None:
    """Waits until the figure is 0 on every node."""
    deadline = time.monotonic() + HEALED_SECONDS
    for name in cluster.names:
        while (figure := await asyncio.to_thread(cluster.figure, name, metric)) != 0:
            assert time.monotonic() < deadline, f"{name} still has {metric} {figure}"

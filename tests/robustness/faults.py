"""What is done to nodes, without holding up the clients that share this process."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence

from cluster.spec import NodeSpec
from cluster.supervisor import LocalCluster, State
from tests.robustness.client import Client
from tests.robustness.disks import Fault
from tests.robustness.history import Operation
from tests.robustness.load import GETS, key_of

_GONE_SECONDS = 10.0  # the kernel needs milliseconds
SEND_SECONDS = 0.02  # for requests to leave this process


async def kill(cluster: LocalCluster, names: Sequence[str]) -> None:
    """SIGKILL to all of them within a fraction of a millisecond; returns when they are gone."""
    for pid in [cluster.pid(name) for name in names]:
        os.kill(pid, signal.SIGKILL)
    await asyncio.to_thread(wait_gone, cluster, names)


def wait_gone(cluster: LocalCluster, names: Sequence[str], seconds: float = _GONE_SECONDS) -> None:
    """Waits, in a thread of its own, until nodes have ended."""
    deadline = time.monotonic() + seconds
    while any(cluster.state(name) is not State.GONE for name in names):
        assert time.monotonic() < deadline, f"{names} are still there after {seconds:.0f} s"
        time.sleep(_GONE_SECONDS / 1000)


async def stop(cluster: LocalCluster, name: str) -> None:
    """An orderly stop, which must succeed."""
    code = await asyncio.to_thread(cluster.stop, name)
    assert code == 0, f"{name} ended with {code}"


async def restart(cluster: LocalCluster, names: Sequence[str]) -> None:
    """Start nodes and wait until they are ready.

    Started by this thread, since they live as long as the thread that started them.
    """
    for name in names:
        cluster.start(name)
    await asyncio.to_thread(cluster.wait_ready, names=names)


async def freeze(cluster: LocalCluster, name: str, seconds: float) -> None:
    """SIGSTOP for so long."""
    cluster.pause(name)
    await asyncio.sleep(seconds)
    cluster.resume(name)


async def read_while_frozen(
    cluster: LocalCluster,
    name: str,
    seconds: float,
    operations: list[Operation],
    readers: int,
) -> None:
    """Stop a node for so long, and ask it for every key shortly before it may go on."""
    async with Client(name, cluster.endpoint(name), operations) as client:
        await client.get(key_of(0))  # the connection stands
        cluster.pause(name)
        await asyncio.sleep(seconds)
        async with asyncio.TaskGroup() as group:
            for number in range(GETS.keys * readers):
                group.create_task(client.get(key_of(number % GETS.keys)))
            await asyncio.sleep(SEND_SECONDS)
            cluster.resume(name)


class FaultyCluster(LocalCluster):
    """A cluster whose nodes have failing disks. `faults` may change between starts."""

    def __init__(
        self, n: int, faults: Mapping[str, Fault] | None = None, flags: Sequence[str] = ()
    ) -> None:
        super().__init__(n, flags=flags)
        self.faults: dict[str, Fault] = dict(faults or {})

    def command(self, node: NodeSpec) -> list[str]:
        """As a healthy node's, unless it has a fault."""
        fault = self.faults.get(node.name)
        if fault is None:
            return super().command(node)
        flags = self.spec.node_flags(node, self.data_path(node.name))
        return [sys.executable, "-P", "-m", "tests.robustness.faulty_node", str(fault), *flags]

"""What is done to nodes, without holding up the clients that share this process."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from cluster.supervisor import LocalCluster


async def kill(cluster: LocalCluster, names: Sequence[str]) -> None:
    """SIGKILL to all of them at once; returns when they are gone."""
    await asyncio.gather(*(asyncio.to_thread(cluster.kill, name) for name in names))


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

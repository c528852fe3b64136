"""A linearizable read misses nothing that was acknowledged, anywhere, before it began."""

from __future__ import annotations

import asyncio

import pytest

from cluster.supervisor import LocalCluster
from tests.robustness.client import Client
from tests.robustness.history import Operation
from tests.robustness.load import GETS, PATIENCE, PUTS, Load, key_of
from tests.robustness.verify import assert_sound, endpoints

pytestmark = [pytest.mark.process, pytest.mark.slow]

READERS = 4  # on each node that is read
SEND_SECONDS = 0.02  # for requests to leave this process
FREEZES = (0.3, 0.3, 1.0)  # seconds; after more than about 0.2 the others go on without


@pytest.mark.parametrize("frozen", [None, "n1", "n3"])
async def test_reads_on_the_other_nodes_follow_the_writes(
    three: LocalCluster, frozen: str | None
) -> None:
    """Each node in turn takes the writes, three keys in all, the others are read without pause.

    One that stood still has reads waiting in its sockets when it wakes, and knows nothing yet of
    what was written meanwhile.
    """
    operations: list[Operation] = []
    for writer in three.names:
        readers = [name for name in three.names if name != writer]
        puts = Load(endpoints(three, [writer]), mix=PUTS, pace=0.005, operations=operations)
        gets = Load(
            endpoints(three, readers),
            mix=GETS,
            pace=0,
            per_member=READERS,
            operations=operations,
        )
        async with puts, gets:
            await puts.more_puts(10, [writer], PATIENCE)
            if frozen is not None:
                for seconds in FREEZES:
                    await read_while_frozen(three, frozen, seconds, operations)
                    await puts.more_puts(10, [writer], PATIENCE)
            await gets.more_gets(60, readers, PATIENCE)
            await puts.more_puts(10, [writer], PATIENCE)
    await assert_sound(three, operations)


async def read_while_frozen(
    cluster: LocalCluster, name: str, seconds: float, operations: list[Operation]
) -> None:
    """Stop a node for so long, and ask it for every key shortly before it may go on."""
    async with Client(name, cluster.endpoint(name), operations) as client:
        await client.get(key_of(0))  # the connection stands
        cluster.pause(name)
        await asyncio.sleep(seconds)
        async with asyncio.TaskGroup() as group:
            for number in range(GETS.keys * READERS):
                group.create_task(client.get(key_of(number % GETS.keys)))
            await asyncio.sleep(SEND_SECONDS)
            cluster.resume(name)

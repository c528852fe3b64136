"""A linearizable read misses nothing that was acknowledged, anywhere, before it began."""

from __future__ import annotations

import pytest

from cluster.supervisor import LocalCluster
from tests.robustness.faults import read_while_frozen
from tests.robustness.history import Operation
from tests.robustness.load import GETS, PATIENCE, PUTS, Load
from tests.robustness.verify import assert_sound, endpoints

pytestmark = [pytest.mark.process, pytest.mark.slow]

READERS = 4  # on each node that is read
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
                    await read_while_frozen(three, frozen, seconds, operations, READERS)
                    await puts.more_puts(10, [writer], PATIENCE)
            await gets.more_gets(60, readers, PATIENCE)
            await puts.more_puts(10, [writer], PATIENCE)
    await assert_sound(three, operations)

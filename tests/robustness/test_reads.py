"""A linearizable read misses nothing that was acknowledged, anywhere, before it began."""

from __future__ import annotations

import pytest

from cluster.supervisor import LocalCluster
from tests.robustness.faults import freeze
from tests.robustness.history import Kind, Operation, Outcome
from tests.robustness.load import GETS, PATIENCE, PUTS, Load
from tests.robustness.verify import assert_sound, endpoints

pytestmark = [pytest.mark.process, pytest.mark.slow]

READS_MIN = 100


def good_reads(operations: list[Operation], member: str) -> int:
    return sum(
        each.kind is Kind.GET and each.outcome is Outcome.OK and each.member == member
        for each in operations
    )


@pytest.mark.parametrize("frozen", [None, "n1", "n3"])
async def test_reads_on_the_other_nodes_follow_the_writes(
    three: LocalCluster, frozen: str | None
) -> None:
    """Each node in turn takes the writes, three keys in all, the others are read without pause."""
    operations: list[Operation] = []
    for writer in three.names:
        readers = [name for name in three.names if name != writer]
        puts = Load(endpoints(three, [writer]), mix=PUTS, pace=0.01, operations=operations)
        gets = Load(
            endpoints(three, readers), mix=GETS, pace=0, per_member=2, operations=operations
        )
        async with puts, gets:
            await puts.more_puts(30, [writer], PATIENCE)
            if frozen is not None:
                await freeze(three, frozen, 1.0)
            await puts.more_puts(30, [writer], PATIENCE)
    await assert_sound(three, operations)
    reads = {name: good_reads(operations, name) for name in three.names}
    print(f"reads: {reads}")
    assert min(reads.values()) >= READS_MIN

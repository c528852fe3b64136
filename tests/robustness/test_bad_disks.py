"""A disk that breaks under load: that node ends in one line, the others go on, nothing is lost, and
with a good disk it is back. (A disk that is full: `test_full_disk`.)"""

from __future__ import annotations

import asyncio
import time

import pytest

from cluster.supervisor import LocalCluster
from tests.robustness.disks import Fault
from tests.robustness.faults import FaultyCluster, restart, wait_gone
from tests.robustness.load import GAP_MS_MAX, PATIENCE, Load, Mix
from tests.robustness.verify import assert_sound, endpoints

pytestmark = [pytest.mark.process, pytest.mark.slow]

BULKY = Mix(gets=0.2, swaps=0.1, deletes=0, sizes=(32, 5000, 64 << 10))
SYNCS = 60  # until the disk breaks
VICTIM = "n2"


async def test_a_disk_that_breaks_ends_its_node_and_nobody_else() -> None:
    with FaultyCluster(3, {VICTIM: Fault("breaking", SYNCS)}) as cluster:
        async with Load(endpoints(cluster), mix=BULKY) as load:
            since = time.monotonic_ns()
            lines = await until_it_ends(cluster, load)
            assert lines == [
                f"racos: {VICTIM}: stopped: the log cannot be written: Input/output error"
            ]
            gap = load.gap_ms(since)
            del cluster.faults[VICTIM]
            await restart(cluster, [VICTIM])
            await load.more_puts(10, cluster.names, PATIENCE)
        await assert_sound(cluster, load.operations)
        print(f"broken after {SYNCS} syncs: {lines[0]}; longest gap {gap:.0f} ms")
        assert gap < GAP_MS_MAX


async def until_it_ends(cluster: LocalCluster, load: Load) -> list[str]:
    """Waits for the victim's end, and until the others have gone on; what it said of itself."""
    await asyncio.to_thread(wait_gone, cluster, [VICTIM], PATIENCE)
    await load.more_puts(20, [name for name in cluster.names if name != VICTIM], PATIENCE)
    text = cluster.log_path(VICTIM).read_text(errors="replace")
    assert "Traceback" not in text
    return [line for line in text.splitlines() if line.startswith("racos: ")]

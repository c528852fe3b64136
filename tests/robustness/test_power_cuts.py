"""Power cuts of any nodes, all of them included, under load: nothing acknowledged is lost.

The nodes' logs are on disks that lose what was not synced (`tests.robustness.disks`), so SIGKILL is
a power cut. `RACOS_CUTS=60 pytest tests/robustness/test_power_cuts.py -rP` makes as many as the
campaign does (docs/robustness.md has its record); `RACOS_SEED` draws other victims.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.robustness.conftest import assert_healthy
from tests.robustness.disks import Fault
from tests.robustness.faults import FaultyCluster, kill, restart
from tests.robustness.history import Outcome
from tests.robustness.load import PATIENCE, Load
from tests.robustness.verify import assert_sound, endpoints

pytestmark = [pytest.mark.process, pytest.mark.slow]

CUTS = int(os.environ.get("RACOS_CUTS", "6"))
SEED = int(os.environ.get("RACOS_SEED", "1"))
DARK_SECONDS_MAX = 0.4  # that nodes stay without power


class Power:
    """Cuts the power of drawn nodes, and gives it back; every boot has its own disk faults."""

    def __init__(self, cluster: FaultyCluster, draw: random.Random) -> None:
        self.sizes: Counter[int] = Counter()  # cuts by how many nodes they took
        self._cluster = cluster
        self._draw = draw

    async def cut(self, number: int) -> None:
        """The first of any three cuts takes all nodes, the second just fewer than a majority."""
        names = self._cluster.names
        most = (len(names), (len(names) - 1) // 2, len(names))[number % 3]
        least = len(names) if number % 3 == 0 else 1
        victims = self._draw.sample(names, self._draw.randint(least, most))
        self.sizes[len(victims)] += 1
        await kill(self._cluster, victims)
        await asyncio.sleep(self._draw.random() * DARK_SECONDS_MAX)
        for name in victims:
            self._cluster.faults[name] = Fault("lossy", self._draw.getrandbits(30))
        await restart(self._cluster, victims)


@pytest.fixture(params=[3, 5])
def lossy(request: pytest.FixtureRequest) -> Iterator[FaultyCluster]:
    n: int = request.param
    faults = {f"n{lane + 1}": Fault("lossy", lane) for lane in range(n)}
    with FaultyCluster(n, faults) as cluster:
        yield cluster
        assert_healthy(cluster)


async def test_no_acknowledged_write_is_lost(lossy: FaultyCluster) -> None:
    draw = random.Random(SEED)
    power = Power(lossy, draw)
    begun = time.monotonic()
    async with Load(endpoints(lossy), per_member=12 // len(lossy.names)) as load:
        for number in range(CUTS // 2):
            await load.more_puts(draw.randint(1, 8), lossy.names, PATIENCE)
            await power.cut(number)
        await load.more_puts(5, lossy.names, PATIENCE)
    events = await assert_sound(lossy, load.operations)
    outcomes = Counter(each.outcome for each in load.operations)
    print(
        f"n={len(lossy.names)}: {CUTS // 2} cuts (nodes: cuts) {dict(sorted(power.sizes.items()))} "
        f"in {time.monotonic() - begun:.0f} s, seed {SEED}; {len(events)} revisions, "
        f"{outcomes[Outcome.OK]} calls answered, {outcomes[Outcome.UNKNOWN]} of unknown outcome, "
        "none lost"
    )

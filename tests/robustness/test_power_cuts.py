"""Power cuts of any nodes, all of them included, under load: nothing acknowledged is lost.

The nodes' logs are on disks that lose what was not synced (`tests.robustness.disks`), so SIGKILL is
a power cut.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.robustness.campaign import SEED, amount
from tests.robustness.conftest import assert_healthy
from tests.robustness.disks import Fault
from tests.robustness.faults import FaultyCluster, kill, restart
from tests.robustness.history import Outcome
from tests.robustness.load import PATIENCE, Load
from tests.robustness.verify import assert_sound, endpoints

pytestmark = [pytest.mark.process, pytest.mark.slow]

CUTS = amount(3, 30)  # of each cluster
DARK_SECONDS_MAX = 0.4  # that nodes stay without power


class Power:
    """Cuts the power of drawn nodes, and gives it back; every boot has its own disk faults.

    The index does not go through the disk port: a cut leaves it as it was at some earlier cut, or
    nothing of it, or what the killed process had written.
    """

    def __init__(self, cluster: FaultyCluster, draw: random.Random) -> None:
        self.sizes: Counter[int] = Counter()  # cuts by how many nodes they took
        self.indexes: Counter[str] = Counter()  # what became of them
        self._cluster = cluster
        self._draw = draw
        self._old = cluster.directory / "old"  # indexes as they were

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
            self._harm_index(name)
            self._cluster.faults[name] = Fault("lossy", self._draw.getrandbits(30))
        await restart(self._cluster, victims)

    def _harm_index(self, name: str) -> None:
        index, old = self._cluster.data_path(name) / "index", self._old / name
        harm = self._draw.choice(("kept", "gone", "rolled back"))
        if not index.exists() or (harm == "rolled back" and not old.exists()):
            harm = "kept"
        self.indexes[harm] += 1
        if harm == "rolled back":
            shutil.rmtree(index)
            old.rename(index)
        elif index.exists() and not old.exists():
            shutil.copytree(index, old)
        if harm == "gone":
            shutil.rmtree(index)


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
        for number in range(CUTS):
            await load.more_puts(draw.randint(1, 8), lossy.names, PATIENCE)
            await power.cut(number)
        await load.more_puts(5, lossy.names, PATIENCE)
    events = await assert_sound(lossy, load.operations)
    outcomes = Counter(each.outcome for each in load.operations)
    print(
        f"n={len(lossy.names)}: {CUTS} cuts (nodes: cuts) {dict(sorted(power.sizes.items()))}, "
        f"indexes {dict(sorted(power.indexes.items()))} "
        f"in {time.monotonic() - begun:.0f} s, seed {SEED}; {len(events)} revisions, "
        f"{outcomes[Outcome.OK]} calls answered, {outcomes[Outcome.UNKNOWN]} of unknown outcome, "
        "none lost"
    )

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
from collections.abc import Iterator, Sequence

import pytest

from cluster.supervisor import State
from tests.robustness.campaign import SEED, amount
from tests.robustness.conftest import assert_healthy
from tests.robustness.disks import Fault
from tests.robustness.faults import FaultyCluster, kill
from tests.robustness.history import Outcome
from tests.robustness.load import PATIENCE, Load
from tests.robustness.verify import assert_sound, endpoints

pytestmark = [pytest.mark.process, pytest.mark.slow]

CUTS = amount(3, 30)  # of each cluster
READY_SECONDS = 30.0
DARK_SECONDS_MAX = 0.4  # that nodes stay without power


class Power:
    """Cuts the power of drawn nodes, and gives it back; every boot has its own disk faults.

    The index does not go through the disk port: a cut leaves it as the killed process had written
    it. Besides, at some boots it is gone, or as it was at an earlier cut. A node may then refuse to
    start, with one line, where its log was cleaned up since; it gets its own index back.
    """

    def __init__(self, cluster: FaultyCluster, draw: random.Random) -> None:
        self.sizes: Counter[int] = Counter()  # cuts by how many nodes they took
        self.indexes: Counter[str] = Counter()  # what became of them
        self._cluster = cluster
        self._draw = draw
        self._old = cluster.directory / "old"  # indexes as they were at some cut
        self._own = cluster.directory / "own"  # and at this one, if they were harmed

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
            self._start(name)
        await self._ready(victims)

    def _start(self, name: str) -> None:
        self._cluster.faults[name] = Fault("lossy", self._draw.getrandbits(30))
        self._cluster.start(name)

    def _harm_index(self, name: str) -> None:
        index, old, own = (self._cluster.data_path(name) / "index", self._old / name, self._own)
        harm = self._draw.choice(("kept", "gone", "rolled back"))
        if not index.exists() or (harm == "rolled back" and not old.exists()):
            harm = "kept"
        self.indexes[harm] += 1
        if harm == "kept":
            return
        shutil.copytree(index, own / name)
        shutil.rmtree(index)
        if harm == "rolled back":
            old.rename(index)
        elif not old.exists():
            shutil.copytree(own / name, old)

    async def _ready(self, victims: Sequence[str]) -> None:
        waiting = list(victims)
        async with asyncio.timeout(READY_SECONDS):
            while waiting:
                for name in list(waiting):
                    if await asyncio.to_thread(self._cluster.is_ready, name):
                        waiting.remove(name)
                    elif self._cluster.state(name) is State.GONE:
                        self._give_back(name)
                    await asyncio.sleep(0.01)
        shutil.rmtree(self._own, ignore_errors=True)

    def _give_back(self, name: str) -> None:
        """A node refused to start: legitimate once, if its index was harmed."""
        words = self._cluster.last_log_line(name)
        assert words.startswith(f"racos: {name}: "), words
        assert (self._own / name).exists(), f"{name} does not start: {words}"
        self.indexes["refused"] += 1
        shutil.rmtree(self._cluster.data_path(name) / "index", ignore_errors=True)
        (self._own / name).rename(self._cluster.data_path(name) / "index")
        self._start(name)


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

"""One replica whose disk is slow does not make every write slow."""

from __future__ import annotations

import random

from racos.core.pace import SAMPLES_MIN
from racos.mvcc.command import Put
from racos.storage.log import Batch
from tests.node.cluster import Cluster, Port

LARGE = random.Random(1).randbytes(3000)


class SlowDisk(Port):
    """Each sync takes `delay` seconds."""

    delay = 0.0
    held: Batch | None = None
    due = 0.0

    def start(self, batch: Batch) -> bool:
        assert self.held is None
        self.held, self.due = batch, self.cluster.now + self.delay
        return False

    def release(self) -> None:
        if self.held is not None and self.due <= self.cluster.now:
            self.batch, self.held = self.held, None


class WithSlowDisk(Cluster):
    """Node 2 has it."""

    def __init__(self) -> None:
        super().__init__(3, 1, 2)
        self.slow = SlowDisk(self, 2)
        self.ports[2] = self.slow
        self.driver(2)._flusher = self.slow

    def step(self) -> bool:
        self.slow.release()
        return super().step()


def seconds_per_put(cluster: Cluster, count: int) -> float:
    began = cluster.now
    for number in range(count):
        cluster.do(0, Put(b"k%d" % number, LARGE))
    return (cluster.now - began) / count


def test_the_others_keep_their_pace_and_the_slow_one_is_whole_in_the_end() -> None:
    cluster = WithSlowDisk()
    quick = seconds_per_put(cluster, SAMPLES_MIN)
    cluster.slow.delay = 0.1
    first = seconds_per_put(cluster, 1)
    after = seconds_per_put(cluster, 100)
    shown = (
        f"{quick * 1e3:.1f} ms; first with a slow disk {first * 1e3:.0f}, then {after * 1e3:.1f}"
    )
    print(shown)
    assert first < 0.05, shown
    assert after < quick + 0.005, shown
    cluster.slow.delay = 0.0
    cluster.run(2.0)
    for lane in range(3):
        assert cluster.driver(lane).healer.statistics().missing == 0
        assert cluster.driver(lane).healer.statistics().surplus == 0

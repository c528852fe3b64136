"""f nodes killed at once under load, frames and syncs late at random: the others go on at once."""

from __future__ import annotations

import random

import pytest

from racos.mvcc.command import Put, Result
from tests.node.cluster import Cluster, Outcome

STALL_SECONDS_MAX = 1.0


class LateCluster(Cluster):
    """Frames arrive late but in order for each pair, syncs end late, as `source` says."""

    def __init__(self, shape: tuple[int, int, int], source: random.Random) -> None:
        super().__init__(*shape, seed=source.randrange(1000))
        self.source = source
        self.lag = source.choice([0.0, 0.2, 0.6])
        self.sync_chance = source.choice([0.2, 0.5, 1.0])

    def step(self) -> bool:
        mail, self.flight = self.flight, []
        late: list[tuple[int, int, bytes, list[bytes]]] = []
        blocked: set[tuple[int, int]] = set()
        for sender, receiver, header, blobs in mail:
            if (sender, receiver) in blocked or self.source.random() < self.lag:
                blocked.add((sender, receiver))
                late.append((sender, receiver, header, blobs))
            elif self.reachable(sender, receiver):
                self.driver(receiver).on_frame(sender, header, blobs)
        self.flight = late + self.flight
        for lane in self.alive():
            self._turn(lane)
        return True

    def _turn(self, lane: int) -> None:
        driver, port = self.driver(lane), self.ports[lane]
        driver.turn()
        if port.batch is not None and self.source.random() < self.sync_chance:
            batch, port.batch = port.batch, None
            batch.run()
            driver.flushed(batch)
            driver.turn()


# Seed 2 of five: the two that die hold a batch at width 1; the others widened as if they counted.
@pytest.mark.parametrize(
    ("shape", "seed"),
    [((5, 2, 3), seed) for seed in (0, 1, 2, 3, 4)] + [((3, 1, 2), seed) for seed in range(4)],
)
def test_the_others_go_on_at_once(shape: tuple[int, int, int], seed: int) -> None:
    source = random.Random(seed)
    cluster = LateCluster(shape, source)
    victims = source.sample(range(shape[0]), shape[1])
    kill_at = source.uniform(0.05, 0.3)
    waiting: dict[int, list[Outcome[Result]]] = {lane: [] for lane in range(shape[0])}
    progress, moved_at, number = 0, 0.0, 0
    while cluster.now < kill_at + 1.2:
        for lane in cluster.alive():
            open_ = waiting[lane] = [each for each in waiting[lane] if not each.done()]
            while len(open_) < 4:
                number += 1
                size = source.choice([5, 500, 2000])
                open_.append(cluster.submit(lane, Put(b"k%d" % (number % 20), b"x" * size)))
        cluster.step()
        cluster.now += 0.001
        if victims and cluster.now > kill_at:
            for lane in victims:
                cluster.crash(lane)
            victims = []
        applied = max(cluster.driver(lane).applier.commands for lane in cluster.alive())
        if applied != progress:
            progress, moved_at = applied, cluster.now
        assert cluster.now - moved_at < STALL_SECONDS_MAX, "stuck"
    assert progress > 50

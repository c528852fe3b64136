"""Random schedules of pauses, cuts, crashes and keep-alives: no promise to a lease is broken.

Checked after every step of virtual time: no replica ends a lease before the TTL has passed since
the sending of any keep-alive that is acknowledged, then or later. So none is acknowledged after the
end. At last everything is healed, and every lease must go. Not checked: clocks of different rates;
how late leases go while faults last.
"""

from __future__ import annotations

import random

import pytest

from racos.mvcc.command import LeaseGrant
from tests.node.cluster import Cluster, Outcome

pytestmark = pytest.mark.slow

LEASES = range(1, 9)
TTL = 2
STEPS = 120
STEP_SECONDS = 0.1


class Schedule:
    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.cluster = Cluster(3, 1, 2, seed=seed)
        self.promised: dict[int, float] = {}
        self.ended: dict[int, float] = {}
        self.asked: list[tuple[int, float, Outcome[int]]] = []
        self.acknowledged = 0
        for id_ in LEASES:
            self.promised[id_] = self.cluster.now
            self.cluster.do(0, LeaseGrant(id_, TTL))
        self.cluster.run(0.1)

    def run(self) -> None:
        faults = (self.pause, self.cut, self.crash)
        for _ in range(STEPS):
            if self.random.random() < 0.15:
                self.random.choice(faults)()
            elif self.random.random() < 0.25:
                self.mend()
            for id_ in LEASES:
                if self.random.random() < 0.15:
                    self.keep_alive(id_)
            self.pass_time(STEP_SECONDS)
        for _ in range(3):
            self.mend()
        self.pass_time(3 * TTL + 2.0)
        assert set(self.ended) == set(LEASES)
        digests = {self.cluster.driver(lane).store.state_digest() for lane in range(3)}
        assert len(digests) == 1

    def keep_alive(self, id_: int) -> None:
        lane = self.random.choice(self.cluster.alive())
        outcome: Outcome[int] = Outcome()
        self.cluster.driver(lane).leases.keep_alive(id_, outcome)
        self.asked.append((id_, self.cluster.now, outcome))

    def pass_time(self, seconds: float) -> None:
        end = self.cluster.now + seconds
        while self.cluster.now < end:
            self.cluster.run(0.005)
            self.note_answers()
            self.note_ends()

    def note_answers(self) -> None:
        for id_, sent, outcome in [each for each in self.asked if each[2].done()]:
            self.asked.remove((id_, sent, outcome))
            if outcome.error is None and outcome.get() > 0:
                self.acknowledged += 1
                ended = self.ended.get(id_, sent + TTL)
                assert sent + TTL <= ended, (
                    f"{id_}, kept alive at {sent:.3f}, had ended {ended:.3f}"
                )
                self.promised[id_] = max(self.promised[id_], sent)

    def note_ends(self) -> None:
        for lane in self.cluster.alive():
            table = self.cluster.driver(lane).store.leases
            for id_ in LEASES:
                if id_ not in table and id_ not in self.ended and table.granted == len(LEASES):
                    self.ended[id_] = self.cluster.now
                    early = self.promised[id_] + TTL - self.cluster.now
                    assert early <= 0, f"{id_} ended {early:.3f} s early on {lane}"

    def pause(self) -> None:
        self.cluster.pause(self.random.randrange(3))

    def cut(self) -> None:
        one, other = self.random.sample(range(3), 2)
        self.cluster.split(one, other)

    def crash(self) -> None:
        alive = self.cluster.alive()
        if len(alive) > 1:
            lane = self.random.choice(alive)
            self.cluster.resume(lane)
            self.cluster.crash(lane)

    def mend(self) -> None:
        """Undo one kind of fault."""
        for lane in range(3):
            if self.cluster.drivers[lane] is None:
                self.cluster.start(lane)
                return
        if self.cluster.paused:
            self.cluster.paused.clear()
        else:
            self.cluster.heal()


@pytest.mark.parametrize("seed", range(8))
def test_no_promise_to_a_lease_is_broken(seed: int) -> None:
    schedule = Schedule(seed)
    schedule.run()
    assert schedule.acknowledged > 10

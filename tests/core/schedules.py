"""Random schedules over the whole core: each seed is one run that can be repeated exactly.

Checked at every step (see `world`): promises are durable before they are sent and never change,
nothing is said above the window, all apply the same batches in the same order, a slot is proposed
in once, a finished read saw everything acknowledged, or read, before it began. Checked at the end:
coverage, and that everything settles once a quorum is healed. Not checked: values (opaque here),
disk damage (the log loses its unsynced end only).
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from racos.core.effects import Chunk
from racos.core.messages import Message, Probe, ProbeReply
from tests.core.world import World


class Mood(NamedTuple):
    """What kind of trouble a run has."""

    loss: float
    crashes: bool
    cuts: bool
    pauses: bool
    replays: bool
    bursts: bool


class Schedule:
    def __init__(
        self,
        total: int,
        faults: int,
        data: int,
        seed: int,
        lane_off_after: float = 5.0,
        kind: type[World] = World,
    ) -> None:
        rounds_max = 16 if lane_off_after >= 5.0 else 4  # few: epochs begin soon
        self.world = kind(total, faults, data, seed, rounds_max, lane_off_after)
        self.choose = self.world.random
        self.mood = Mood(
            self.choose.choice([0.0, 0.0, 0.05, 0.3]),
            *(self.choose.random() < 0.5 for _ in range(5)),
        )
        self.names = 0
        self.past: deque[tuple[int, int, Message | Chunk]] = deque(maxlen=200)

    def run(self, steps: int = 600) -> None:
        for _ in range(steps):
            self.step()
            for node in self.world.nodes:
                node.turn()

    def step(self) -> None:
        world, choose = self.world, self.choose
        node = choose.choice(world.nodes)
        action = choose.random()
        if action < 0.12:
            for _ in range(choose.randint(2, 12) if self.mood.bursts else 1):
                self.propose(node.lane)
        elif action < 0.15:
            node.read()
        elif action < 0.65:
            self.deliver()
        elif action < 0.80:
            node.sync(upto=0 if choose.random() < 0.5 else None)
        elif action < 0.90:
            world.tick(choose.choice([0.001, 0.01, 0.05]))
        elif action < 0.92:
            if world.rebuilds:
                world.rebuild(choose.randrange(len(world.rebuilds)))
        else:
            self.trouble(node.lane, choose.random())

    def propose(self, lane: int) -> None:
        coded = self.choose.random() < 0.7
        node = self.world.nodes[lane]
        if not node.paused and self.world.propose(lane, b"b%d" % self.names, coded) is not None:
            self.names += 1
        node.turn()

    def deliver(self) -> None:
        world, choose = self.world, self.choose
        ready = [
            index for index, entry in enumerate(world.flight) if not world.nodes[entry[1]].paused
        ]
        if not ready:
            return
        index = choose.choice(ready)
        self.past.append(world.flight[index])
        fate = choose.random()
        if fate < self.mood.loss:
            world.flight.pop(index)
            return
        if fate > 0.95:
            world.flight.append(world.flight[index])
        world.deliver(index)

    def trouble(self, lane: int, action: float) -> None:
        """Crash, restart, cut, pause, clock jump, or a message from long ago."""
        world, choose, mood = self.world, self.choose, self.mood
        node = world.nodes[lane]
        if action < 0.2 and mood.crashes:
            if node.replica is None:
                node.start()
            else:
                node.crash()
        elif action < 0.22 and mood.crashes:
            for each in world.alive():
                each.crash()
        elif action < 0.35 and mood.cuts and len(world.nodes) > 1:
            sender, receiver = choose.sample(range(len(world.nodes)), 2)
            world.cut.symmetric_difference_update({(sender, receiver)})
        elif action < 0.50 and mood.pauses:
            node.paused = not node.paused and node.replica is not None
        elif action < 0.55 and mood.pauses:
            node.ahead += choose.choice([0.01, 0.1, 5.0])
        elif action < 0.70 and mood.replays and self.past:
            sender, receiver, message = choose.choice(self.past)
            if not world.nodes[receiver].paused:
                world.hand_over(sender, receiver, message)

    def heal(self) -> None:
        """Connect everyone, wake the paused, start all but f of those that are down."""
        world = self.world
        world.cut.clear()
        down = [node for node in world.nodes if node.replica is None]
        for node in world.nodes:
            node.paused = False
        for node in down[: max(0, len(down) - world.quorum.faults)]:
            node.start()


class AbsenceSchedule(Schedule):
    """Up to f replicas are cut off for long and come back, again and again, while the others go on:
    lanes go off and on, and whoever comes back has missed whole epochs.
    """

    def __init__(self, total: int, faults: int, data: int, seed: int) -> None:
        super().__init__(total, faults, data, seed, lane_off_after=0.15)
        self.away: set[int] = set()

    def step(self) -> None:
        world, choose = self.world, self.choose
        action = choose.random()
        if action < 0.02:
            self.come_and_go(choose.randrange(world.quorum.total))
        elif action < 0.15:
            self.propose(choose.randrange(world.quorum.total))
        elif action < 0.35:
            world.tick(0.01)
        else:
            for node in world.nodes:
                node.sync()
            for _ in range(len(world.flight)):
                world.deliver()

    def come_and_go(self, lane: int) -> None:
        world = self.world
        if lane in self.away:
            self.away.remove(lane)
        elif len(self.away) < world.quorum.faults:
            self.away.add(lane)
        lanes = range(world.quorum.total)
        world.cut = {(a, b) for a in lanes for b in lanes if {a, b} & self.away}


class LossSchedule(Schedule):
    """Disks are lost, those of f replicas at a time, among all other trouble."""

    def trouble(self, lane: int, action: float) -> None:
        world, node = self.world, self.world.nodes[lane]
        lost = sum(each.is_lost for each in world.nodes if each is not node)
        if action < 0.1 and lost < world.quorum.faults:
            if node.replica is not None:
                node.crash()
            node.wipe(fresh=self.choose.random() < 0.5)
            node.start()
        else:
            super().trouble(lane, action)

    def heal(self) -> None:
        """Everyone comes back: without memory a replica needs f+1 others that have theirs."""
        super().heal()
        for node in self.world.nodes:
            if node.replica is None:
                node.start()


class ReadSchedule(Schedule):
    """Reads whose probes overtake everything else, at replicas that hear little of the rest: they
    meet those that know as little as possible. What a read must see is checked when it ends.
    """

    def step(self) -> None:
        world, choose = self.world, self.choose
        node = choose.choice(world.nodes)
        action = choose.random()
        if action < 0.06:
            self.propose(node.lane)
        elif action < 0.10:
            node.read()
        elif action < 0.80:
            self.deliver_in_haste()
        elif action < 0.98:
            node.sync()
        elif action < 0.99:
            world.tick(0.01)
        elif self.mood.crashes:
            self.trouble(node.lane, 0.0)

    def deliver_in_haste(self) -> None:
        """Probes first; then, in order, what goes to the half that is in favour, mostly."""
        flight, total = self.world.flight, len(self.world.nodes)
        favoured = [(len(self.world.proposed) + lane) % total for lane in range((total + 1) // 2)]
        probes: list[int] = []
        first: list[int] = []
        rest: list[int] = []
        for index, (_, receiver, message) in enumerate(flight):
            if isinstance(message, Probe | ProbeReply):
                probes.append(index)
            else:
                (first if receiver in favoured else rest).append(index)
        if self.choose.random() < 0.1:
            first = rest
        if probes or first:
            self.world.deliver((probes or first)[0])


def run_and_settle(
    total: int,
    faults: int,
    data: int,
    seed: int,
    steps: int = 600,
    lane_off_after: float = 5.0,
    kind: type[World] = World,
) -> World:
    return settled(Schedule(total, faults, data, seed, lane_off_after, kind), steps)


def settled(schedule: Schedule, steps: int) -> World:
    """Run a schedule, heal, and see that everything comes to rest."""
    world = schedule.world
    schedule.run(steps)
    world.check_coverage()
    schedule.heal()
    world.settle()
    world.check_coverage()
    check_settled(world)
    return world


def check_settled(world: World) -> None:
    """Every replica that is up accepts a batch, it is applied everywhere, and reads see it."""
    for node in world.alive():
        assert world.propose(node.lane, b"last%d" % node.lane) is not None, node.lane
    world.settle(1.0)
    names = set(world.decided.values())
    again = {payload.descriptor for _, payload in world.rejected}
    for node in world.alive():
        assert b"last%d" % node.lane in names | again
    tickets = [(node, node.read()) for node in world.alive()]
    world.settle(0.1)
    assert all(ticket in node.reads_done for node, ticket in tickets), "a read does not end"
    frontiers = {node.replica.window.frontier for node in world.nodes if node.replica}
    applied = {tuple(node.applied) for node in world.alive()}
    assert len(frontiers) == 1, frontiers
    assert len(applied) == 1
    assert any(b"last%d" % node.lane in names for node in world.alive())
    world.check_coverage()

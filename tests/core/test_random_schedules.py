"""Random schedules of delivery, sync, crash, restart and cuts over the whole core: order and coverage
never break, and everything settles once a quorum is healed."""

from __future__ import annotations

import os

import pytest

from tests.core.world import World

SEEDS = int(os.environ.get("RACOS_SEEDS", "6"))
SHAPES = [(1, 0, 1), (2, 0, 2), (3, 1, 2), (4, 1, 3), (5, 2, 3), (5, 1, 3), (7, 3, 4)]


def run(total: int, faults: int, data: int, seed: int, steps: int = 600) -> World:
    world = World(total, faults, data, seed)
    choose = world.random
    crashes = choose.random() < 0.7
    cuts = choose.random() < 0.5
    loss = choose.choice([0.0, 0.0, 0.05, 0.3])
    proposed = 0
    for _ in range(steps):
        action = choose.random()
        node = choose.choice(world.nodes)
        if action < 0.15 and node.replica is not None:
            if world.propose(node.lane, b"b%d" % proposed, coded=choose.random() < 0.7) is not None:
                proposed += 1
        elif action < 0.65 and world.flight:
            index = choose.randrange(len(world.flight))
            if choose.random() < loss:
                world.flight.pop(index)
            elif choose.random() < 0.05:
                world.flight.append(world.flight[index])
                world.deliver(index)
            else:
                world.deliver(index)
        elif action < 0.80:
            node.sync(upto=0 if choose.random() < 0.5 else None)
        elif action < 0.90:
            world.tick(choose.choice([0.001, 0.01, 0.05]))
        elif action < 0.92 and world.rebuilds:
            world.rebuild(choose.randrange(len(world.rebuilds)))
        elif action < 0.935 and crashes:
            if node.replica is not None:
                node.crash()
            else:
                node.start()
        elif action < 0.94 and cuts:
            pair = tuple(choose.sample(range(total), 2)) if total > 1 else (0, 0)
            world.cut.symmetric_difference_update({pair})
        for each in world.nodes:
            each.turn()
    return world


@pytest.mark.parametrize(("total", "faults", "data"), SHAPES)
@pytest.mark.parametrize("seed", range(SEEDS))
def test_random_schedules_agree_cover_and_settle(
    total: int, faults: int, data: int, seed: int
) -> None:
    world = run(total, faults, data, seed)
    world.check_coverage()
    world.cut.clear()
    down = [node for node in world.nodes if node.replica is None]
    for node in down[: max(0, len(down) - faults)]:
        node.start()
    world.settle()
    world.check_coverage()
    before = len(world.decided)
    for node in world.alive():
        assert world.propose(node.lane, b"last%d" % node.lane) is not None
    world.settle(1.0)
    names = set(world.decided.values())
    again = {payload.descriptor for _, payload in world.rejected}
    for node in world.alive():
        assert b"last%d" % node.lane in names | again
    assert len(world.decided) > before
    frontiers = {node.replica.window.frontier for node in world.nodes if node.replica}
    applied = {len(node.applied) for node in world.alive()}
    assert len(frontiers) == 1
    assert len(applied) == 1
    world.check_coverage()

"""kill -9 under load: nothing acknowledged is lost, the others go on, who comes back is right."""

from __future__ import annotations

import time

import pytest

from cluster.supervisor import LocalCluster
from tests.robustness.faults import kill, restart
from tests.robustness.load import GAP_MS_MAX, PATIENCE, Load
from tests.robustness.verify import assert_sound, endpoints

pytestmark = [pytest.mark.process, pytest.mark.slow]


async def kill_and_restart(load: Load, cluster: LocalCluster, victims: tuple[str, ...]) -> float:
    """Kill nodes at once, go on without them, restart them; the longest gap without a put, ms."""
    others = [name for name in cluster.names if name not in victims]
    await load.more_puts(10, cluster.names, PATIENCE)
    killed = time.monotonic_ns()
    await kill(cluster, victims)
    await load.more_puts(25, others, PATIENCE)
    await restart(cluster, victims)
    await load.more_puts(10, cluster.names, PATIENCE)
    return load.gap_ms(since=killed)


async def test_kill_any_one_of_three(three: LocalCluster) -> None:
    async with Load(endpoints(three)) as load:
        for victim in three.names:
            gap = await kill_and_restart(load, three, (victim,))
            print(f"{victim} of three killed: longest gap {gap:.0f} ms")
            assert gap < GAP_MS_MAX
    await assert_sound(three, load.operations)


async def test_kill_any_two_of_five(five: LocalCluster) -> None:
    async with Load(endpoints(five), per_member=2) as load:
        for victims in (("n1", "n2"), ("n3", "n5")):
            gap = await kill_and_restart(load, five, victims)
            print(f"{' and '.join(victims)} of five killed: longest gap {gap:.0f} ms")
            assert gap < GAP_MS_MAX
    await assert_sound(five, load.operations)


@pytest.mark.parametrize("n", [3, 5])
async def test_kill_all_at_once(n: int, request: pytest.FixtureRequest) -> None:
    cluster: LocalCluster = request.getfixturevalue("three" if n == 3 else "five")
    async with Load(endpoints(cluster), per_member=12 // n) as load:
        for _ in range(2):
            await load.more_puts(20, cluster.names, PATIENCE)
            await kill(cluster, cluster.names)
            await restart(cluster, cluster.names)
        await load.more_puts(5, cluster.names, PATIENCE)
    await assert_sound(cluster, load.operations)

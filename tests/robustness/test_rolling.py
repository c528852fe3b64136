"""Orderly restarts and pauses under load: clients of the other nodes hardly notice."""

from __future__ import annotations

import time

import pytest

from cluster.supervisor import LocalCluster
from tests.robustness.faults import freeze, restart, stop
from tests.robustness.load import GAP_MS_MAX, PATIENCE, Load
from tests.robustness.verify import assert_sound, endpoints

pytestmark = [pytest.mark.process, pytest.mark.slow]

ROUNDS = 3


async def test_rolling_restarts(three: LocalCluster) -> None:
    async with Load(endpoints(three)) as load:
        await load.more_puts(5, three.names, PATIENCE)
        since = time.monotonic_ns()
        for _ in range(ROUNDS):
            for name in three.names:
                await stop(three, name)
                await restart(three, (name,))
                await load.more_puts(3, three.names, PATIENCE)
        gap = load.gap_ms(since)
    print(f"{3 * ROUNDS} restarts: longest gap {gap:.0f} ms")
    await assert_sound(three, load.operations)
    assert gap < GAP_MS_MAX


async def test_one_node_stands_still_for_two_seconds(three: LocalCluster) -> None:
    async with Load(endpoints(three)) as load:
        await load.more_puts(10, three.names, PATIENCE)
        for name in three.names:
            since = time.monotonic_ns()
            await freeze(three, name, 2.0)
            gap = load.gap_ms(since)
            print(f"{name} stood still: longest gap {gap:.0f} ms")
            assert gap < GAP_MS_MAX
            await load.more_puts(10, three.names, PATIENCE)
    await assert_sound(three, load.operations)

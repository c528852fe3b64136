"""Watchers on every node through kills: ordered, unique, complete, the same everywhere."""

from __future__ import annotations

import pytest

from cluster.supervisor import LocalCluster
from tests.robustness.checks import check_order
from tests.robustness.collector import collectors
from tests.robustness.faults import kill, restart
from tests.robustness.load import PATIENCE, Load
from tests.robustness.verify import assert_sound, endpoints, first_difference

pytestmark = [pytest.mark.process, pytest.mark.slow]


async def test_watchers_on_every_node_see_everything_once_and_in_order(three: LocalCluster) -> None:
    async with collectors(three) as watching:
        async with Load(endpoints(three)) as load:
            for victim in three.names:
                await load.more_puts(15, three.names, PATIENCE)
                await kill(three, (victim,))
                others = [name for name in three.names if name != victim]
                await load.more_puts(15, others, PATIENCE)
                await restart(three, (victim,))
        events = await assert_sound(three, load.operations)
        for collector in watching.values():
            await collector.reached(events[-1].revision)
    for name, collector in watching.items():
        seen = collector.events
        assert list(check_order(seen)) == [], name
        assert seen == events, f"{name}: {first_difference(events, seen)}"
        assert collector.breaks >= 1, f"{name} was killed, yet its stream never ended"

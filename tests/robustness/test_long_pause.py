"""A node stands still for ten seconds: longer than connections live without an answer."""

from __future__ import annotations

import asyncio
import time

import pytest

from cluster.supervisor import LocalCluster
from tests.robustness.checks import check_order
from tests.robustness.collector import collectors
from tests.robustness.faults import read_while_frozen
from tests.robustness.history import Kind, Operation, Outcome
from tests.robustness.load import PATIENCE, PUTS, Load
from tests.robustness.verify import assert_sound, endpoints, first_difference

pytestmark = [pytest.mark.process, pytest.mark.slow]

PAUSE_SECONDS = 10.0
GAP_MS_MAX = 300.0
FROZEN = "n2"
READERS = 4


async def test_a_node_that_slept_for_ten_seconds_serves_nothing_stale(three: LocalCluster) -> None:
    """Its own clients wrote before and go on afterwards; reads wait in its sockets when it wakes,
    and its watchers have to see everything that it slept through."""
    operations: list[Operation] = []
    others = [name for name in three.names if name != FROZEN]
    async with collectors(three) as watching:
        async with Load(endpoints(three, others), mix=PUTS, operations=operations) as load:
            await load.more_puts(10, others, PATIENCE)
            before = time.monotonic_ns()
            await load.more_puts(60, others, PATIENCE)
            since = time.monotonic_ns()
            await read_while_frozen(three, FROZEN, PAUSE_SECONDS, operations, READERS)
            woken = time.monotonic_ns()
            async with Load(
                endpoints(three, [FROZEN]), per_member=READERS, operations=operations
            ) as own:
                await own.more_puts(10, [FROZEN], PATIENCE)
            wakes = since + round(PAUSE_SECONDS * 1e9)
            usual = load.gap_ms(before, since)
            asleep, awake = load.gap_ms(since, wakes), load.gap_ms(wakes, time.monotonic_ns())
        events = await assert_sound(three, operations)
        async with asyncio.timeout(PATIENCE):
            for collector in watching.values():
                await collector.reached(events[-1].revision)
    slept = sum(since <= each.begin < woken and each.kind is Kind.PUT for each in operations)
    waited = [
        (each.end - each.begin) / 1e6
        for each in operations
        if (each.member, each.kind, each.outcome) == (FROZEN, Kind.GET, Outcome.OK)
        and wakes <= each.begin < woken
    ]
    print(
        f"{slept} puts while {FROZEN} slept; longest gap of the others {asleep:.0f} ms, after it "
        f"woke {awake:.0f} ms (before it slept: {usual:.0f} ms); {len(waited)} reads sent before "
        f"it woke were answered within {max(waited, default=0):.0f} ms"
    )
    for name, collector in watching.items():
        assert list(check_order(collector.events)) == [], name
        difference = first_difference(events, collector.events)
        assert collector.events == events, f"{name}: {difference}"
    assert slept > 100
    assert waited, "no read was answered: nothing was tested"
    assert max(asleep, awake) < GAP_MS_MAX + usual  # what the machine itself does to everybody

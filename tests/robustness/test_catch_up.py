"""Two of five nodes are killed, the others write on, the two come back and are whole soon after."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Iterable

import pytest

from cluster.supervisor import LocalCluster
from tests.robustness.bulk import Bulk, MixedPuts, look
from tests.robustness.campaign import amount
from tests.robustness.client import Client
from tests.robustness.faults import kill, restart
from tests.robustness.load import GAP_MS_MAX, PATIENCE

pytestmark = [pytest.mark.process, pytest.mark.slow]

WRITES = amount(8_000, 100_000)
KILLED = ("n1", "n4")
WRITES_PER_SECOND_MIN = 400  # far below what a busy machine does
LAG_MAX = 200  # slots: behind by less is having caught up, as the others go on meanwhile
CAUGHT_UP_SECONDS = 10.0 + WRITES / 2000
HEALED_SECONDS = 10.0 + WRITES / 1000
PHASES = ("without them", "until they had caught up", "afterwards")
APPLIED = "etcd_server_proposals_applied_total"


async def test_two_of_five_come_back_after_many_writes(five: LocalCluster) -> None:
    living = [name for name in five.names if name not in KILLED]
    puts = MixedPuts()
    async with Bulk(puts, [five.endpoint(name) for name in living]) as load:
        await load.more(WRITES // 20, PATIENCE)
        begun = time.monotonic()
        await kill(five, KILLED)
        await load.more(WRITES, WRITES / WRITES_PER_SECOND_MIN)
        alone = time.monotonic()
        await restart(five, KILLED)
        ready = time.monotonic()
        print(f"{WRITES} writes without {KILLED} in {alone - begun:.1f} s")
        print(f"ready again after {ready - alone:.1f} s")
        await wait_until(lambda: lag(five) < LAG_MAX, CAUGHT_UP_SECONDS, lambda: lag(five))
        caught_up = time.monotonic()
        print(f"caught up {caught_up - ready:.1f} s later, under load")
        await load.more(500, PATIENCE)
        moments = (begun, alone, caught_up, time.monotonic())
    gaps = [puts.longest_gap(since, upto) for since, upto in itertools.pairwise(moments)]
    print(
        f"{len(puts.times)} writes in all, no error; longest gap "
        + ", ".join(
            f"{gap:.0f} ms {when} (at {at:.1f} s)"
            for (gap, at), when in zip(gaps, PHASES, strict=True)
        )
    )
    await wait_until(
        lambda: total(five, "racos_fragments_missing", "racos_fragments_surplus") == 0,
        HEALED_SECONDS,
        lambda: total(five, "racos_fragments_missing", "racos_fragments_surplus"),
    )
    healed = [five.figure(name, "racos_fragments_healed_total") for name in KILLED]
    print(f"healed {time.monotonic() - caught_up:.1f} s after that: {healed} batches")
    await assert_all_there(five, puts)
    assert max(gap for gap, _ in gaps) < GAP_MS_MAX


def lag(cluster: LocalCluster) -> float:
    """By how many applied slots the last node is behind the first."""
    applied = [cluster.figure(name, APPLIED) or 0.0 for name in cluster.names]
    return max(applied) - min(applied)


def total(cluster: LocalCluster, *metrics: str) -> float:
    """The sum over all nodes, which must all answer."""
    figures = [cluster.figure(name, metric) for name in cluster.names for metric in metrics]
    return sum(1e9 if figure is None else figure for figure in figures)


async def wait_until(done: Callable[[], bool], seconds: float, figure: Callable[[], float]) -> None:
    """Waits for what only figures tell."""
    deadline = time.monotonic() + seconds
    while not await asyncio.to_thread(done):
        assert time.monotonic() < deadline, f"after {seconds:.0f} s it is still {figure()}"
        await asyncio.sleep(0.1)


async def assert_all_there(cluster: LocalCluster, puts: MixedPuts) -> None:
    """Every member has every acknowledged write at its revision, and all have the same."""
    async with Client("", cluster.endpoint(cluster.names[0]), []) as client:
        last = await client.revision(PATIENCE)
    digests = set()
    for name in cluster.names:
        seen = await look(cluster.endpoint(name), puts, last, HEALED_SECONDS)
        assert not seen.wrong, f"{name}: {seen.wrong[:3]}"
        assert lost(puts, seen.revisions) == [], name
        digests.add(seen.digest)
    print(f"at revision {last} all have {digests}")
    assert len(digests) == 1


def lost(puts: MixedPuts, revisions: dict[int, int]) -> Iterable[str]:
    """Acknowledged writes that are not at the revision that was told."""
    return [
        f"write {number} of revision {revision} is at {revisions.get(number)}"
        for number, revision in puts.acknowledged.items()
        if revisions.get(number) != revision
    ][:5]

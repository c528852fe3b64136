"""The lane of a member that is gone for long is switched off, and on again when it is back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator

import pytest

from cluster.commands import run
from cluster.supervisor import LocalCluster
from tests.robustness.conftest import assert_healthy
from tests.robustness.faults import kill, restart
from tests.robustness.load import GAP_MS_MAX, PATIENCE, Load, Mix
from tests.robustness.verify import assert_sound, endpoints

pytestmark = [pytest.mark.process, pytest.mark.slow]

SMALL_PUTS = Mix(0.1, 0, 0, sizes=(32,))
W = 128  # rounds until a change is in force, and one more


@pytest.fixture
def impatient() -> Iterator[LocalCluster]:
    """Three nodes that switch a lane off after a second."""
    with LocalCluster(3, flags=("--lane-off-after=1s",)) as cluster:
        yield cluster
        assert_healthy(cluster)


class Meter:
    """Rounds, and slots that had to be voted null, between two readings at one node."""

    def __init__(self, cluster: LocalCluster, name: str) -> None:
        self._cluster = cluster
        self._name = name

    def _read(self) -> tuple[float, float]:
        slots = self._cluster.figure(self._name, "etcd_server_proposals_committed_total")
        nulls = self._cluster.figure(self._name, 'racos_agreement_total{kind="voted_zero"}')
        assert slots is not None
        assert nulls is not None
        return slots / len(self._cluster.names), nulls

    async def pass_rounds(self, count: float) -> tuple[float, float]:
        """Wait for so many more rounds; (rounds, nulls) meanwhile."""
        first = self._read()
        await wait_until(lambda: self._read()[0] >= first[0] + count)
        last = self._read()
        return last[0] - first[0], last[1] - first[1]


async def wait_until(holds: Callable[[], bool]) -> None:
    def poll() -> None:
        deadline = time.monotonic() + PATIENCE
        while not holds():
            assert time.monotonic() < deadline, "it does not come about"
            time.sleep(0.02)

    await asyncio.to_thread(poll)


def lane_column(cluster: LocalCluster, capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    """What `racos cluster status` shows of each node's lane."""
    capsys.readouterr()
    assert run(["cluster", "status", "--data-dir", str(cluster.directory)]) == 0
    head, *rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    return {row[0]: row[head.index("lane")] for row in rows if row[0] in cluster.names}


async def test_a_dead_lane_goes_off_and_costs_nothing_and_comes_back(
    impatient: LocalCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster, victim, others = impatient, "n2", ["n1", "n3"]
    async with Load(endpoints(cluster), mix=SMALL_PUTS) as load:
        await load.more_puts(10, cluster.names, PATIENCE)
        killed = time.monotonic_ns()
        await kill(cluster, [victim])
        meter = Meter(cluster, "n1")
        await load.more_puts(5, others, PATIENCE)
        rounds, nulls = await meter.pass_rounds(20)
        told = f"dead, its lane on: {nulls:.0f} slots voted null in {rounds:.0f} rounds"
        assert nulls > 0
        await wait_until(lambda: cluster.lanes_off() == {victim})
        assert await asyncio.to_thread(lane_column, cluster, capsys) == {
            "n1": "on",
            victim: "off",
            "n3": "on",
        }
        await meter.pass_rounds(2 * W)
        rounds, nulls = await meter.pass_rounds(100)
        print(told)
        print(f"dead, its lane off: {nulls:.0f} slots voted null in {rounds:.0f} rounds")
        assert nulls <= rounds / 4, "a busy machine may make a live member suspect for a moment"
        await restart(cluster, [victim])
        ready = time.monotonic_ns()
        await wait_until(lambda: cluster.lanes_off() == set())
        await load.more_puts(10, cluster.names, PATIENCE)
        print(f"longest gap {load.gap_ms(since=killed):.0f} ms")
        assert load.gap_ms(since=killed) < GAP_MS_MAX
    first = min(each.end for each in load.operations if each.member == victim and each.end > ready)
    print(f"a call at {victim} ended {(first - ready) / 1e6:.0f} ms after it was ready")
    await assert_sound(cluster, load.operations)

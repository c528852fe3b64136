"""Bytes that go bad on the disks of running nodes, on as many as may be lost: nobody is ever given
one of them, neither a client nor a node that was away, and the fragments come back."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Sequence

import pytest

from cluster.supervisor import LocalCluster
from tests.robustness.campaign import SEED, amount
from tests.robustness.damage import FIRST, LOG, Log
from tests.robustness.faults import kill, restart
from tests.robustness.load import PATIENCE, Load, Mix
from tests.robustness.verify import assert_sound, endpoints

pytestmark = [pytest.mark.process, pytest.mark.slow]

BULKY = Mix(gets=0, swaps=0.1, deletes=0.1, sizes=(32, 3000, 5000, 64 << 10), keys=40)
RATES = amount((1e-4,), (1e-5, 1e-4, 1e-3))  # flips per byte of records
HEALED_SECONDS = 20.0


@pytest.mark.parametrize("rate", RATES)
async def test_rot_on_one_of_three(three: LocalCluster, rate: float) -> None:
    await rot_and_read(three, ["n1"], "n3", rate)


@pytest.mark.parametrize("rate", RATES)
async def test_rot_on_two_of_five(five: LocalCluster, rate: float) -> None:
    await rot_and_read(five, ["n1", "n2"], "n5", rate)


async def rot_and_read(
    cluster: LocalCluster, rotten: Sequence[str], away: str, rate: float
) -> None:
    others = [name for name in cluster.names if name != away]
    async with Load(endpoints(cluster, others), mix=BULKY) as load:
        await load.more_puts(10, others, PATIENCE)
        await kill(cluster, [away])
        await load.more_puts(40, others, PATIENCE)
    flipped = sum(flip(cluster, name, rate) for name in rotten)
    await restart(cluster, [away])
    # Each member is asked for every version of every value, in its events, and for all keys.
    await assert_sound(cluster, load.operations)
    begun = time.monotonic()
    noticed = {name: await asyncio.to_thread(named, cluster, name) for name in rotten}
    left = {name: await healed(cluster, name) for name in rotten}
    print(
        f"{flipped} bytes flipped on {rotten}; lines about them: {noticed}; healed after "
        f"{time.monotonic() - begun:.1f} s but for {left}"
    )
    assert sum(noticed.values()) > 0
    await assert_sound(cluster, load.operations)


def flip(cluster: LocalCluster, name: str, rate: float) -> int:
    """Flip bits in the records of a running node's log; returns how many bytes."""
    log = Log(cluster.data_path(name), random.Random(f"{SEED} {name} {rate}"))
    end = log.records[-1].end
    count = max(1, round(rate * end))
    with open(cluster.data_path(name) / LOG / FIRST, "r+b", buffering=0) as file:
        for _ in range(count):
            offset = log.draw.randrange(log.records[0].start, end)
            log.flip(offset)
            os.pwrite(file.fileno(), log.content[offset : offset + 1], offset)
    return count


def named(cluster: LocalCluster, name: str) -> int:
    """The lines in which a node told of bytes that went bad."""
    text = cluster.log_path(name).read_text(errors="replace")
    words = ("value.bad_fragment", "log.unreadable")
    return sum(any(word in line for word in words) for line in text.splitlines())


async def healed(cluster: LocalCluster, name: str) -> int:
    """Waits until a node has its fragments again; returns how many batches cannot be healed,
    because the log has lost what says of which values they were."""
    lost = cluster.log_path(name).read_text(errors="replace").count("descriptor are damaged")
    deadline = time.monotonic() + HEALED_SECONDS
    while True:
        missing = await asyncio.to_thread(cluster.figure, name, "racos_fragments_missing")
        if missing is not None and missing <= lost:
            return int(missing)
        assert time.monotonic() < deadline, f"{name} still lacks {missing} fragments"
        await asyncio.sleep(0.05)

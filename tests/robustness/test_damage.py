"""Disks lost, or damaged while their nodes are stopped, on as many nodes as may fail: whoever is
started again rebuilds itself from the others, which go on; then those others may go.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import time
from collections.abc import Callable, Sequence

import pytest

from cluster.supervisor import LocalCluster
from tests.robustness.campaign import SEED, amount
from tests.robustness.client import Client
from tests.robustness.damage import AIMED, FIRST, LOG, RANDOM, Log
from tests.robustness.faults import kill, restart
from tests.robustness.load import GAP_MS_MAX, PATIENCE, Load
from tests.robustness.verify import CATCH_UP_SECONDS, assert_sound, endpoints

pytestmark = [pytest.mark.process, pytest.mark.slow]

DAMAGE = AIMED | RANDOM
WIPED = "log and index wiped"
GONE = "the whole directory gone"
WITHOUT_LOG = "log gone"
USUAL = [WIPED, "a bit of a body"]


async def test_one_of_three(three: LocalCluster) -> None:
    kinds = amount(USUAL, [WIPED, GONE, WITHOUT_LOG, *AIMED])
    await harm_and_rebuild(three, ["n2"], [[kind] for kind in kinds])


async def test_two_of_five_at_once(five: LocalCluster) -> None:
    pairs = [[WIPED, "0.001 of all bytes"], [GONE, "cut in the middle"], [WIPED, WIPED]]
    await harm_and_rebuild(five, ["n1", "n4"], pairs[: amount(1, 3)])


async def harm_and_rebuild(
    cluster: LocalCluster, victims: Sequence[str], rounds: Sequence[Sequence[str]]
) -> None:
    """Each round harms each victim in one way while clients write, and sees that all come back."""
    others = [name for name in cluster.names if name not in victims]
    async with Load(endpoints(cluster)) as load:
        for number, kinds in enumerate(rounds):
            await load.more_puts(15, cluster.names, PATIENCE)
            since = time.monotonic_ns()
            await kill(cluster, victims)
            for name, kind in zip(victims, kinds, strict=True):
                harm(cluster, name, kind, number + SEED)
            await load.more_puts(10, others, PATIENCE)
            begun = time.monotonic()
            await restart(cluster, victims)
            took = time.monotonic() - begun
            await load.more_puts(5, cluster.names, PATIENCE)
            gap = load.gap_ms(since)
            print(f"{' and '.join(kinds)}: speaks after {took:.1f} s, longest gap {gap:.0f} ms")
            for name, kind in zip(victims, kinds, strict=True):
                check_told(cluster, name, kind)
            assert gap < GAP_MS_MAX
    await assert_sound(cluster, load.operations)
    await until_healed(cluster)
    revision, contents = await shown(cluster, victims[0])
    lost = others[: (len(cluster.names) - 1) // 2]
    await kill(cluster, lost)
    for name in (each for each in cluster.names if each not in lost):
        assert await shown(cluster, name) == (revision, contents)
    async with Load(endpoints(cluster, victims)) as load:
        await load.more_puts(3, victims, PATIENCE)


def harm(cluster: LocalCluster, name: str, kind: str, seed: int) -> None:
    data = cluster.data_path(name)
    folders: dict[str, Sequence[str]] = {
        WIPED: (LOG, "index"),
        GONE: ("",),
        WITHOUT_LOG: (LOG,),
    }
    if kind in folders:
        for folder in folders[kind]:
            shutil.rmtree(data / folder)
        return
    log = Log(data, random.Random(seed))
    change: Callable[[Log], None] = DAMAGE[kind]
    change(log)
    log.write()


def check_told(cluster: LocalCluster, name: str, kind: str) -> None:
    """Damage is named, with its file, in one line, and what was damaged is still there."""
    text = cluster.log_path(name).read_text(errors="replace")
    data = cluster.data_path(name)
    lines = [line for line in text.splitlines() if "recover.begun" in line]
    assert "vow.kept" in text
    if kind in DAMAGE:
        assert str(data / LOG / FIRST) in lines[-1]
    if kind not in (WIPED, GONE):
        places = sorted(data.glob("damaged-*"))
        assert len(places) == 1
        assert str(places[0]) in lines[-1]
        shutil.rmtree(places[0])  # as an operator does who has looked at it


async def until_healed(cluster: LocalCluster) -> None:
    deadline = time.monotonic() + CATCH_UP_SECONDS
    while True:
        missing = [
            await asyncio.to_thread(cluster.figure, name, "racos_fragments_missing")
            for name in cluster.names
        ]
        if not any(missing):
            return
        assert time.monotonic() < deadline, f"fragments missing: {missing}"
        await asyncio.sleep(0.05)


async def shown(cluster: LocalCluster, name: str) -> tuple[int, object]:
    """Revision and contents as one member shows them."""
    async with Client(name, cluster.endpoint(name), []) as client:
        return await client.contents(CATCH_UP_SECONDS)

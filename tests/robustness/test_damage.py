"""Logs damaged while their nodes are stopped, on as many nodes as may be lost: named, never used.

A node whose log is damaged does not start; the others serve everything; with its log as it was, it
is back.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from cluster.supervisor import LocalCluster
from tests.e2e.serving import contents, refusal, serve
from tests.robustness.campaign import SEED, amount
from tests.robustness.damage import AIMED, FIRST, RANDOM, Log
from tests.robustness.faults import kill, restart
from tests.robustness.history import Operation
from tests.robustness.load import GAP_MS_MAX, PATIENCE, Load
from tests.robustness.verify import assert_sound, endpoints

pytestmark = [pytest.mark.process, pytest.mark.slow]


USUAL = [
    "a bit of a record's length",
    "a bit of a body",
    "a bit of the last record",
    "cut in the middle",
]


async def test_damage_to_one_of_three(three: LocalCluster, tmp_path: Path) -> None:
    kinds = amount(USUAL, list(AIMED))
    await assert_refused(three, ["n2"], [[kind] for kind in kinds], tmp_path)


async def test_damage_to_two_of_five(five: LocalCluster, tmp_path: Path) -> None:
    pairs = [[rate, other] for rate, other in zip(RANDOM, list(AIMED)[6:], strict=False)]
    await assert_refused(five, ["n1", "n4"], pairs[-amount(1, 3) :], tmp_path)


async def assert_refused(
    cluster: LocalCluster, victims: Sequence[str], rounds: Sequence[Sequence[str]], kept: Path
) -> None:
    """Each round damages each victim in one way, and tries to start it."""
    others = [name for name in cluster.names if name not in victims]
    operations: list[Operation] = []
    async with Load(endpoints(cluster), operations=operations) as load:
        await load.more_puts(15, cluster.names, PATIENCE)
    async with Load(endpoints(cluster, others), operations=operations) as load:
        await load.more_puts(5, others, PATIENCE)
        since = time.monotonic_ns()
        await kill(cluster, victims)
        for name in victims:
            shutil.copytree(cluster.data_path(name), kept / name)
        for number, kinds in enumerate(rounds):
            for name, kind in zip(victims, kinds, strict=True):
                line = await asyncio.to_thread(
                    start_damaged, cluster, name, kind, number + SEED, kept
                )
                print(f"{kind}: {line.partition(name + ': ')[2]}")
        gap = load.gap_ms(since)
        for name in victims:
            put_back(cluster, name, kept)
        await restart(cluster, victims)
        await load.more_puts(5, others, PATIENCE)
    await assert_sound(cluster, operations)
    print(f"longest gap of the others {gap:.0f} ms")
    assert gap < GAP_MS_MAX


def start_damaged(cluster: LocalCluster, name: str, kind: str, seed: int, kept: Path) -> str:
    """The one line with which a node refuses to start; it leaves everything as it was."""
    data_dir = put_back(cluster, name, kept)
    log = Log(data_dir, random.Random(seed))
    (AIMED | RANDOM)[kind](log)
    log.write()
    damaged = contents(data_dir)
    node = cluster.spec.nodes[cluster.names.index(name)]
    line = refusal(serve(cluster.spec.node_flags(node, data_dir)))
    assert str(data_dir / "log" / FIRST) in line
    assert contents(data_dir) == damaged, f"{kind}: something was changed"
    return line.replace(f"{data_dir}/", "")


def put_back(cluster: LocalCluster, name: str, kept: Path) -> Path:
    """The victim's directory as it was when it was killed."""
    data_dir = cluster.data_path(name)
    shutil.rmtree(data_dir)
    shutil.copytree(kept / name, data_dir)
    return data_dir

"""Real nodes that overwrite more than their logs may keep, and one that comes back too late."""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from collections.abc import Iterator

import pytest

from cluster.supervisor import LocalCluster
from etcdshim.pb import rpc_pb2
from racos.storage.ballast import BALLAST_NAME
from tests.robustness.client import Client
from tests.robustness.conftest import assert_healthy
from tests.robustness.faults import kill, restart

pytestmark = [pytest.mark.process, pytest.mark.slow]

SIZE = 64 << 10
KEYS = 40
MIB = 1 << 20
SEGMENT = MIB
CALL_SECONDS = 5.0
QUIET_SECONDS = 30.0


@pytest.fixture
def forgetful() -> Iterator[LocalCluster]:
    """Three nodes with small segments that keep hardly any history."""
    flags = (f"--segment-bytes={SEGMENT}", f"--history-bytes={2 * SEGMENT}")
    with LocalCluster(3, flags=flags) as cluster:
        yield cluster
        assert_healthy(cluster)


def value(key: int, turn: int) -> bytes:
    return random.Random(key * 1000 + turn).randbytes(SIZE)


async def overwrite(client: Client, turns: range) -> list[float]:
    """Every key once a turn, some at a time, and a compaction; latencies in milliseconds."""
    took: list[float] = []

    async def put(key: int, turn: int) -> None:
        begun = time.perf_counter()
        operation = await client.put(f"k{key}", value(key, turn), CALL_SECONDS)
        assert not operation.error, operation.error
        took.append(1000 * (time.perf_counter() - begun))

    for turn in turns:
        for first in range(0, KEYS, 8):
            await asyncio.gather(*[put(key, turn) for key in range(first, first + 8)])
        answer = await client.kv.Range(rpc_pb2.RangeRequest(key=b"k0"), timeout=CALL_SECONDS)
        revision = answer.header.revision
        await client.kv.Compact(rpc_pb2.CompactionRequest(revision=revision), timeout=CALL_SECONDS)
    return took


def p99(took: list[float]) -> float:
    return statistics.quantiles(took, n=100)[98]


def log_bytes(cluster: LocalCluster) -> dict[str, int]:
    """Without what is put by for a full disk."""
    found = {}
    for name in cluster.names:
        files = (cluster.data_path(name) / "log").iterdir()
        found[name] = sum(each.stat().st_size for each in files if each.name != BALLAST_NAME)
    return found


async def figures(cluster: LocalCluster, metric: str) -> dict[str, float]:
    found = {name: await asyncio.to_thread(cluster.figure, name, metric) for name in cluster.names}
    return {name: figure or 0.0 for name, figure in found.items()}


async def assert_values(client: Client, turn: int) -> None:
    for key in range(KEYS):
        request = rpc_pb2.RangeRequest(key=b"k%d" % key)
        answer = await client.kv.Range(request, timeout=CALL_SECONDS)
        assert answer.kvs[0].value == value(key, turn)


async def until(cluster: LocalCluster, metric: str, expected: float) -> None:
    deadline = time.monotonic() + QUIET_SECONDS
    while set((found := await figures(cluster, metric)).values()) != {expected}:
        assert time.monotonic() < deadline, f"{metric} is {found}"
        await asyncio.sleep(0.1)


async def test_overwritten_values_give_their_space_back_while_clients_write(
    forgetful: LocalCluster,
) -> None:
    async with Client("n1", forgetful.endpoint("n1"), []) as client:
        before = await overwrite(client, range(3))
        seen = []
        took = []
        for turn in range(3, 33):
            took += await overwrite(client, range(turn, turn + 1))
            seen.append(max(log_bytes(forgetful).values()))
        deadline = time.monotonic() + QUIET_SECONDS
        while max(log_bytes(forgetful).values()) > 6 * SEGMENT:
            assert time.monotonic() < deadline, log_bytes(forgetful)
            await asyncio.sleep(0.2)
        await assert_values(client, 32)
    written = 33 * KEYS * SIZE
    removed = await figures(forgetful, "racos_log_removed_bytes_total")
    moved = await figures(forgetful, "racos_log_moved_bytes_total")
    print(
        f"values written {written / MIB:.1f} MiB, live {KEYS * SIZE / MIB:.1f} MiB; "
        f"DATA/log of one node: highest {max(seen) / MIB:.1f} MiB while writing, at last "
        f"{max(log_bytes(forgetful).values()) / MIB:.1f} MiB; removed {removed}, moved {moved}"
    )
    print(f"put p99: at first {p99(before):.1f} ms, while space is given back {p99(took):.1f} ms")
    assert min(removed.values()) > written / 3


async def test_a_node_that_missed_what_is_forgotten_takes_the_state(
    forgetful: LocalCluster,
) -> None:
    async with Client("n1", forgetful.endpoint("n1"), []) as client:
        await overwrite(client, range(2))
        await kill(forgetful, ("n3",))
        await overwrite(client, range(2, 14))
        deadline = time.monotonic() + QUIET_SECONDS
        while (await figures(forgetful, "racos_log_removed_segments_total"))["n1"] < 4:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.2)
        begun = time.monotonic()
        await restart(forgetful, ("n3",))
        await overwrite(client, range(14, 15))
        await until(forgetful, "racos_fragments_missing", 0)
        print(f"restarted, state taken and healed after {time.monotonic() - begun:.1f} s")
    text = forgetful.log_path("n3").read_text()
    assert "state.taken from_lane=" in text
    assert "state.taken" not in forgetful.log_path("n1").read_text()
    await kill(forgetful, ("n1",))
    async with Client("n3", forgetful.endpoint("n3"), []) as client:
        for _ in range(10):
            operation = await client.put("after", b"n1 is gone", CALL_SECONDS)
            if not operation.error:
                break
        await assert_values(client, 14)

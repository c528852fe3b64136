"""Without a quorum nothing is promised, what is local is still answered, and it passes."""

from __future__ import annotations

import asyncio
import contextlib
import time

import pytest

from cluster.supervisor import LocalCluster
from tests.robustness.client import Client
from tests.robustness.faults import kill, restart
from tests.robustness.history import Operation, Outcome, new_value
from tests.robustness.load import PATIENCE
from tests.robustness.verify import assert_sound

pytestmark = [pytest.mark.process, pytest.mark.slow]

TIMED_OUT = "UNAVAILABLE: etcdserver: request timed out"
SERVER_SECONDS = 7.0
SLACK_SECONDS = 1.5
BACK_SECONDS = 2.0
LOCAL_SECONDS = 0.5


async def test_without_quorum_only_serializable_reads_are_answered(three: LocalCluster) -> None:
    operations: list[Operation] = []
    async with Client("n1", three.endpoint("n1"), operations) as client:
        before = await client.put("k", new_value())
        large = await client.put("large", new_value(64 << 10))
        assert (before.outcome, large.outcome) == (Outcome.OK, Outcome.OK)
        await kill(three, ("n2", "n3"))

        begun = time.monotonic()
        long = 2 * SERVER_SECONDS
        waiting = asyncio.gather(client.put("k", new_value(), long), client.get("k", long))
        short = await asyncio.gather(client.put("j", new_value(), 0.5), client.get("j", 0.5))
        assert [each.error.partition(":")[0] for each in short] == ["DEADLINE_EXCEEDED"] * 2

        asked = time.monotonic()
        revision, contents = await client.contents()
        assert time.monotonic() - asked < LOCAL_SECONDS
        assert revision == large.revision
        assert contents["k"].tag == before.tag
        assert contents["large"].tag == large.tag

        refused = await waiting
        assert time.monotonic() - begun < SERVER_SECONDS + SLACK_SECONDS
        assert [each.error for each in refused] == [TIMED_OUT] * 2

        three.start("n2")
        await until_listening(three, "n2")
        back = time.monotonic()
        put = await client.put("k", new_value(), PATIENCE)
        print(f"service went on {time.monotonic() - back:.2f} s after the second node was there")
        assert put.outcome is Outcome.OK, put
        assert time.monotonic() - back < BACK_SECONDS
        await restart(three, ("n3",))
    await assert_sound(three, operations)


async def until_listening(cluster: LocalCluster, name: str) -> None:
    """Waits until a node takes connections; a starting process gives nothing to wait on."""
    host, _, port = cluster.endpoint(name).partition(":")
    async with asyncio.timeout(PATIENCE):
        while True:
            with contextlib.suppress(ConnectionRefusedError):
                _, writer = await asyncio.open_connection(host, int(port))
                writer.close()
                await writer.wait_closed()
                return
            await asyncio.sleep(0.01)

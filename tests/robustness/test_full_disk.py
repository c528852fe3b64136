"""Disks that are full, under load: etcd's NOSPACE, nothing lost, and on again without a restart."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

import grpc.aio
import pytest

from cluster.supervisor import LocalCluster, State
from etcdshim.pb import rpc_pb2 as pb
from etcdshim.pb.rpc_pb2_grpc import LeaseStub, MaintenanceStub
from tests.e2e.backups import etcdctl
from tests.robustness.client import Client
from tests.robustness.faults import restart
from tests.robustness.history import Outcome
from tests.robustness.load import PATIENCE, Load, Mix
from tests.robustness.small_disk import SmallDiskCluster
from tests.robustness.verify import assert_sound, endpoints

pytestmark = [pytest.mark.process, pytest.mark.slow]

MIB = 1 << 20
DISK_BYTES = 24 * MIB
BULKY = Mix(gets=0.1, swaps=0.1, deletes=0, sizes=(32, 3000, 64 << 10, 256 << 10))
NO_SPACE = "RESOURCE_EXHAUSTED: etcdserver: mvcc: database space exceeded"
ALL = b"\0"


def full(n: int, flags: Sequence[str] = ()) -> SmallDiskCluster:
    return SmallDiskCluster(n, {f"n{i + 1}": DISK_BYTES for i in range(n)}, flags)


async def refused(call: Awaitable[object]) -> str:
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return f"{error.code().name}: {error.details()}"
    return ""


async def until(what: str, condition: Callable[[], bool], patience: float = PATIENCE) -> float:
    """Waits for it; seconds that this took."""
    begun = time.monotonic()
    while not await asyncio.to_thread(condition):
        assert time.monotonic() < begun + patience, what
        await asyncio.sleep(0.05)
    return time.monotonic() - begun


def is_short(cluster: LocalCluster, expected: bool) -> Callable[[], bool]:
    """Whether all members say so of their disks."""

    def check() -> bool:
        figures = [cluster.figure(name, "racos_disk_short") for name in cluster.names]
        return figures == [float(expected)] * len(figures)

    return check


def alarms(cluster: LocalCluster) -> str:
    return etcdctl(f"--endpoints={cluster.endpoints()[0]}", "alarm", "list")


async def assert_refuses_growth_only(cluster: LocalCluster) -> None:
    """Exactly etcd's answers, on every member."""
    for name, endpoint in endpoints(cluster).items():
        async with Client(name, endpoint, []) as client, grpc.aio.insecure_channel(endpoint) as own:
            lease = LeaseStub(own)  # type: ignore[no-untyped-call]
            put = pb.PutRequest(key=b"new", value=b"x")
            txn = pb.TxnRequest(failure=[pb.RequestOp(request_put=put)])
            assert await refused(client.kv.Put(put)) == NO_SPACE
            assert await refused(client.kv.Txn(txn)) == NO_SPACE
            assert await refused(lease.LeaseGrant(pb.LeaseGrantRequest(TTL=60))) == NO_SPACE
            assert (await client.get("k0")).outcome is Outcome.OK
            nothing = pb.DeleteRangeRequest(key=b"not there")
            assert await refused(client.kv.DeleteRange(nothing)) == ""


async def make_room(cluster: LocalCluster) -> None:
    """What the operator does: delete, compact, defragment."""
    name, endpoint = next(iter(endpoints(cluster).items()))
    async with Client(name, endpoint, []) as client:
        await client.kv.DeleteRange(pb.DeleteRangeRequest(key=ALL, range_end=ALL))
        revision = await client.revision()
        await client.kv.Compact(pb.CompactionRequest(revision=revision))
    for endpoint in cluster.endpoints():
        async with grpc.aio.insecure_channel(endpoint) as channel:
            maintenance = MaintenanceStub(channel)  # type: ignore[no-untyped-call]
            await maintenance.Defragment(pb.DefragmentRequest())


async def assert_takes_writes(cluster: LocalCluster) -> None:
    for name, endpoint in endpoints(cluster).items():
        async with Client(name, endpoint, []) as client:
            operation = await client.put(f"after-{name}", b"y" * 5000, PATIENCE)
            assert operation.outcome is Outcome.OK, operation.error
    contents = []
    for name, endpoint in endpoints(cluster).items():
        async with Client(name, endpoint, []) as client:
            await client.get("after-n1", PATIENCE)
            contents.append((await client.contents())[1])
    assert contents == [contents[0]] * len(contents)
    assert len(contents[0]) == len(cluster.names)


async def test_filled_by_clients() -> None:
    with full(3) as cluster:
        pids = cluster.pids()
        async with Load(endpoints(cluster), mix=BULKY, pace=0) as load:
            filled = await until("full", lambda: "alarm:NOSPACE" in alarms(cluster))
            await load.more_gets(20, cluster.names, PATIENCE)
        lowest = min(cluster.disk(name).free_bytes() for name in cluster.names)
        await assert_refuses_growth_only(cluster)
        events = await assert_sound(cluster, load.operations)
        await make_room(cluster)
        back = await until("room", is_short(cluster, False), 2 * PATIENCE)
        etcdctl(f"--endpoints={cluster.endpoints()[0]}", "alarm", "disarm")
        assert alarms(cluster) == ""
        await assert_takes_writes(cluster)
        assert cluster.pids() == pids
        errors = {op.error for op in load.operations if op.outcome is not Outcome.OK}
        assert errors == {NO_SPACE}
    print(
        f"3 disks of {DISK_BYTES // MIB} MiB, full after {filled:.1f} s and {len(events)} writes, "
        f"{lowest / MIB:.1f} MiB left; room {back:.1f} s after delete and compact"
    )


async def test_filled_to_the_last_byte_by_others_and_freed() -> None:
    with full(3, ["--quota-auto-disarm"]) as cluster:
        pids = cluster.pids()
        async with Load(endpoints(cluster), mix=BULKY) as load:
            await load.more_puts(10, cluster.names, PATIENCE)
            for name in cluster.names:
                cluster.disk(name).fill()
            await until("full", lambda: alarms(cluster).count("alarm:NOSPACE") == 3)
            await load.more_gets(20, cluster.names, PATIENCE)
            await assert_refuses_growth_only(cluster)
            ballast = cluster.figure("n1", "racos_ballast_bytes")
            for name in cluster.names:
                cluster.disk(name).give_back()
            again = await until("room", lambda: alarms(cluster) == "")
            await load.more_puts(10, cluster.names, PATIENCE)
        await assert_sound(cluster, load.operations)
        assert cluster.pids() == pids
    print(f"ballast left on n1: {ballast} bytes; writes again {again:.1f} s after the disk")


async def test_a_node_that_is_left_nothing_ends_and_starts_again_with_space() -> None:
    """Somebody takes the ballast as fast as it is given. Whoever has space serves on."""
    victim, others = "n2", ("n1", "n3")
    mix = BULKY._replace(deletes=0.3)
    with SmallDiskCluster(3, {victim: DISK_BYTES}) as cluster:
        disk = cluster.disk(victim)

        def takes_all() -> bool:
            disk.fill()
            return cluster.state(victim) is State.GONE

        async with Load(endpoints(cluster), mix=mix) as load:
            await load.more_puts(5, cluster.names, PATIENCE)
            await until("the end", takes_all, 3 * PATIENCE)
            await load.more_gets(20, others, PATIENCE)
            cluster.start(victim)
            await until("the end of a start", lambda: cluster.state(victim) is State.GONE)
            text = cluster.log_path(victim).read_text(errors="replace")
            lines = [line for line in text.splitlines() if line.startswith("racos: ")]
            disk.give_back()
            await restart(cluster, [victim])
            await until("alarm", lambda: bool(disarmed(cluster)))
            await load.more_puts(10, cluster.names, PATIENCE)
        await assert_sound(cluster, load.operations)
    assert "Traceback" not in text
    assert len(lines) == 2, lines
    assert (
        lines[0] == f"racos: {victim}: stopped: the log cannot be written: No space left on device"
    )
    assert "No space left on device" in lines[1]
    print("\n".join(lines))


def disarmed(cluster: LocalCluster) -> str:
    return etcdctl(f"--endpoints={cluster.endpoints()[0]}", "alarm", "disarm")

"""Values of every size through every node, and what they cost on disk."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import grpc
import grpc.aio
import pytest

from cluster.supervisor import LocalCluster
from etcdshim.pb import rpc_pb2
from tests.robustness.client import Client
from tests.robustness.verify import endpoints

pytestmark = [pytest.mark.process, pytest.mark.slow]

INLINE_LIMIT = 2048
SIZES = (0, 1, INLINE_LIMIT - 1, INLINE_LIMIT, INLINE_LIMIT + 1, 64 << 10, 1 << 20)
CALL_SECONDS = 10.0
STORED_PUTS = 1000
STORED_BYTES = 64 << 10
WRITERS = 4  # few: whoever is late is not waited for, and its share goes to the others


@pytest.fixture(params=[3, 5])
def cluster(request: pytest.FixtureRequest) -> Iterator[LocalCluster]:
    with LocalCluster(request.param) as cluster:
        yield cluster


async def test_what_is_put_on_a_node_is_at_once_on_every_other(cluster: LocalCluster) -> None:
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(Client(name, endpoint, []))
            for name, endpoint in endpoints(cluster).items()
        ]
        for writer in clients:
            for size in SIZES:
                await put_and_get(writer, clients, size)


async def put_and_get(writer: Client, clients: list[Client], size: int) -> None:
    key = f"{writer.member}-{size}".encode()
    value = random.Random(size).randbytes(size)
    request = rpc_pb2.PutRequest(key=key, value=value)
    answer = await writer.kv.Put(request, timeout=CALL_SECONDS)
    get = rpc_pb2.RangeRequest(key=key)
    reads = await asyncio.gather(*(each.kv.Range(get, timeout=CALL_SECONDS) for each in clients))
    for client, read in zip(clients, reads, strict=True):
        where = f"{size} bytes put on {writer.member}, read on {client.member}"
        assert [kv.mod_revision for kv in read.kvs] == [answer.header.revision], where
        assert read.kvs[0].value == value, where


async def test_a_request_of_one_and_a_half_mib_is_refused_as_etcd_does(three: LocalCluster) -> None:
    request = rpc_pb2.PutRequest(key=b"k", value=bytes(1536 << 10))
    get = rpc_pb2.RangeRequest(key=b"k")
    for name, endpoint in endpoints(three).items():
        async with Client(name, endpoint, []) as client:
            with pytest.raises(grpc.aio.AioRpcError) as refusal:
                await client.kv.Put(request, timeout=CALL_SECONDS)
            assert refusal.value.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert refusal.value.details() == "etcdserver: request is too large"
            assert not (await client.kv.Range(get, timeout=CALL_SECONDS)).kvs


async def test_a_replica_stores_its_share_of_large_values_only(cluster: LocalCluster) -> None:
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(Client(name, endpoint, []))
            for name, endpoint in endpoints(cluster).items()
        ]
        await asyncio.gather(*(store(clients, number) for number in range(WRITERS)))
    shares = {
        name: used_bytes(cluster.data_path(name)) / (STORED_PUTS * STORED_BYTES)
        for name in cluster.names
    }
    print("share of the values' bytes on each disk:", shares)
    assert max(shares.values()) < (0.55 if len(clients) == 3 else 0.40)


async def store(clients: list[Client], number: int) -> None:
    """One writer's part of the puts, in turn on every node."""
    draw = random.Random(number)
    for step in range(number, STORED_PUTS, WRITERS):
        request = rpc_pb2.PutRequest(key=b"k%d" % step, value=draw.randbytes(STORED_BYTES))
        await clients[step % len(clients)].kv.Put(request, timeout=CALL_SECONDS)


def used_bytes(directory: Path) -> int:
    """The files' sizes, without the zeros at their ends: space that is laid out, but not used."""
    files = [path for path in directory.rglob("*") if path.is_file()]
    assert files
    return sum(len(path.read_bytes().rstrip(b"\0")) for path in files)

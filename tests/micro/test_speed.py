"""Micro benchmarks of what requests are made of: `make micro`.

Skipped in the ordinary run of the tests, in which test_makefile tries each of them once.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any, cast

import pytest

from etcdshim.backend import Backend
from etcdshim.header import Headers
from etcdshim.http2.connection import Connection
from etcdshim.http2.head import Head
from etcdshim.limits import Limits
from etcdshim.memory import MemoryBackend
from etcdshim.pb import rpc_pb2 as pb
from etcdshim.watch_hub import Hub, Watcher
from racos.core.messages import Pay, Payload, Skip, State
from racos.core.outbox import ALL
from racos.core.quorum import Quorum
from racos.core.replica import Replica, Settings
from racos.erasure.codec import Codec
from racos.mvcc.command import Put, Range
from racos.mvcc.store import Store
from racos.node import batch as batches
from racos.node import wire
from racos.node.batch import BatchEncoder
from racos.storage.index import Index
from racos.storage.log import Log
from racos.storage.memdisk import MemDisk
from racos.transport.frame import Decoder, encode
from tests.micro.rig import PUT, RANGE, Client

PUTS = 30  # in a batch
KEYS = 20_000
VALUE = b"v" * 256
LARGE = bytes(range(256)) * 256


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    index = Index(tmp_path / "index", member_id=1, cluster_id=1)
    yield index
    index.close()


def puts(first: int = 0) -> list[Put]:
    return [Put(b"key-%08d" % (first + each), VALUE) for each in range(PUTS)]


# -- values and batches ------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1 << 16, 1 << 20])
def test_encode_a_value(benchmark: Any, size: int) -> None:
    codec = Codec(2, 3)
    assert len(benchmark(codec.encode, LARGE * (size >> 16))) == 3


@pytest.mark.parametrize("size", [1 << 16, 1 << 20])
def test_decode_a_value_without_one_of_its_data_fragments(benchmark: Any, size: int) -> None:
    codec, value = Codec(2, 3), LARGE * (size >> 16)
    parts = codec.encode(value)
    assert benchmark(codec.decode, {1: parts[1], 2: parts[2]}, size) == value


def test_encode_a_batch(benchmark: Any) -> None:
    encoder = BatchEncoder(Codec(2, 3), 4096)
    assert benchmark(encoder.prepare, puts()).payload.descriptor


def test_decode_a_batch(benchmark: Any) -> None:
    descriptor = BatchEncoder(Codec(2, 3), 4096).prepare(puts()).payload.descriptor
    assert benchmark(batches.decode, descriptor, 1, 1) == puts()


# -- the state machine -------------------------------------------------------------------------


@pytest.mark.parametrize("overwrites", [False, True], ids=["new", "overwrite"])
def test_apply_a_batch(benchmark: Any, index: Index, overwrites: bool) -> None:
    store, batch = Store(index), count(1)

    def apply() -> None:
        number = next(batch)
        for put in puts(0 if overwrites else number * PUTS):
            store.apply(put, want_result=False)
        store.commit(number)
        index.durable(number)

    benchmark(apply)
    assert store.revision > PUTS


@pytest.fixture
def loaded(index: Index) -> Store:
    store = Store(index)
    for number in range(0, KEYS, PUTS):
        for put in puts(number):
            store.apply(put, want_result=False)
        store.commit(number)
        index.durable(number)
    return store


def test_range_of_one_key(benchmark: Any, loaded: Store) -> None:
    assert benchmark(loaded.range, Range(b"key-%08d" % 4711)).count == 1


def test_range_of_a_page(benchmark: Any, loaded: Store) -> None:
    assert len(benchmark(loaded.range, Range(b"key-", b"key.", limit=500)).kvs) == 500


class _Stream:
    """A Watch stream that only takes what it is given."""

    wants_leader = False

    def __init__(self) -> None:
        self.answers = 0

    def has_room(self) -> bool:
        return True

    def put_answer(self, _watcher: Watcher, _answer: object) -> None:
        self.answers += 1

    def fall_behind(self, _watcher: Watcher) -> None:
        raise AssertionError("there is room")

    def lose_synced(self, _position: int) -> None:
        raise AssertionError("nothing is compacted")

    def end(self, _error: object) -> None:
        """The test is over."""


def test_hand_an_event_to_100_watchers(benchmark: Any) -> None:
    async def run() -> None:
        backend = MemoryBackend()
        hub = Hub(backend, Limits(), Headers(backend))
        streams = [_Stream() for _ in range(100)]
        for stream in streams:
            request = pb.WatchCreateRequest(key=b"key-", range_end=b"key.", start_revision=2)
            hub.join(stream)
            hub.add(Watcher(stream, 0, request, Limits()))
        benchmark(backend.propose, Put(b"key-1", VALUE))
        assert {stream.answers for stream in streams} == {backend.revision - 1}
        hub.close()

    asyncio.run(run())


# -- between replicas, and to the disk -----------------------------------------------------------


@pytest.mark.parametrize("size", [1 << 13, 1 << 20])
def test_frame_there_and_back(benchmark: Any, size: int) -> None:
    decoder, blob = Decoder(), b"b" * size

    def pass_on() -> int:
        return len(decoder.feed(b"".join(encode(b"header", [blob]))))

    assert benchmark(pass_on) == 1


def test_messages_to_a_frame_and_back(benchmark: Any) -> None:
    said: list[wire.NodeMessage] = [State(1, 5, 5, 0, 1, 2), Skip(2, 3, 4)]

    def pass_on() -> object:
        return wire.decode(*wire.encode(said), 3)

    assert sorted(map(str, cast("Any", benchmark(pass_on)))) == sorted(map(str, said))


def test_a_batch_to_a_frame_and_back(benchmark: Any) -> None:
    pay = Pay(1, 5, 4, Payload(VALUE * PUTS, False, {}), 2)
    (found,) = benchmark(lambda: wire.decode(*wire.encode([pay]), 3))
    assert found.payload.descriptor == pay.payload.descriptor


def test_append_to_the_log_and_take(benchmark: Any) -> None:
    log = Log.open(MemDisk(random.Random(0)), member_id=1, cluster_id=1)
    assert not list(log.replay())
    blob = VALUE * PUTS

    def write() -> int:
        log.append(1, b"header", [blob])
        batch = log.take()
        assert batch is not None
        batch.run()
        return log.done(batch)

    assert benchmark(write) > 0


def test_one_slot_on_three_replicas(benchmark: Any) -> None:
    """A batch proposed, written down, said by all, decided and handed out."""
    quorum = Quorum(3, 1, 2)
    replicas = [Replica(Settings(quorum, lane, b"micro", 1), 0.0) for lane in range(3)]
    for replica in replicas:
        for peer in range(3):
            if peer != replica.me:
                replica.peer_up(peer)
    assert _exchange(replicas) == 0

    def decide() -> int:
        replicas[0].propose(Payload(VALUE, False))
        return _exchange(replicas)

    assert benchmark(decide) == 3


def _exchange(replicas: Sequence[Replica]) -> int:
    """Pass on what replicas say until they have nothing more to say; how often a batch was handed
    out. Everything is durable at once."""
    applied = 0
    busy = True
    while busy:
        busy = False
        for replica in replicas:
            effects = replica.take_effects()
            applied += len(effects.applied)
            for destination, message in effects.sends:
                for peer in replicas:
                    if peer is not replica and destination in (ALL, peer.me):
                        peer.receive(replica.me, message)
            if effects.records:
                replica.persisted(effects.token)
            busy = busy or bool(effects.sends or effects.records)
    return applied


# -- a client's connection -----------------------------------------------------------------------


class _Echo:
    """Answers each call with its own body, at once."""

    def route(self, _head: Head) -> object:
        return self

    def begin(self, _head: Head, body: list[bytes], to: Connection, stream: int) -> None:
        to.answer(stream, body[0])


def test_frames_of_30_calls_over_http2(benchmark: Any) -> None:
    async def run() -> None:
        client = Client(cast("Backend", MemoryBackend()), cast("Any", _Echo()))
        body = pb.PutRequest(key=b"key", value=VALUE).SerializeToString()
        _measure(benchmark, client, PUT, body, client.connection.data_received)

    asyncio.run(run())


def test_30_serializable_gets_over_http2(benchmark: Any) -> None:
    async def run() -> None:
        client = Client(cast("Backend", MemoryBackend()))
        body = pb.RangeRequest(key=b"key", serializable=True).SerializeToString()
        _measure(benchmark, client, RANGE, body, client.connection.data_received)

    asyncio.run(run())


def test_30_puts_over_http2(benchmark: Any) -> None:
    async def begin() -> Client:
        return Client(cast("Backend", MemoryBackend()))

    async def serve(data: bytes) -> None:
        client.connection.data_received(data)
        await asyncio.sleep(0)  # the answers ...
        await asyncio.sleep(0)  # ... and their one write

    with asyncio.Runner() as runner:
        client = runner.run(begin())
        body = pb.PutRequest(key=b"key", value=VALUE).SerializeToString()
        _measure(benchmark, client, PUT, body, lambda data: runner.run(serve(data)))


def _measure(
    benchmark: Any, client: Client, path: str, body: bytes, serve: Callable[[bytes], None]
) -> None:
    """Time reads of 30 calls each; their frames are made outside."""

    def frames() -> tuple[tuple[bytes], dict[str, Any]]:
        assert client.answers() in (0, PUTS)
        return (b"".join([client.request(path, body) for _ in range(PUTS)]),), {}

    benchmark.pedantic(serve, setup=frames, rounds=200, warmup_rounds=5)
    assert client.answers() == PUTS

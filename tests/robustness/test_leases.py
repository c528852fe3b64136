"""A thousand leases through kill -9 and SIGSTOP: none ends early, all that are left alone go."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterable, Sequence
from typing import Any

import grpc
import grpc.aio
import pytest

from cluster.supervisor import LocalCluster
from etcdshim.pb import kv_pb2, rpc_pb2, rpc_pb2_grpc
from tests.robustness.faults import freeze, kill, restart
from tests.robustness.load import PATIENCE

pytestmark = [pytest.mark.process, pytest.mark.slow]

LEASES = 1000
ABANDONED = 200  # of them, never kept alive
TTL = 6  # seconds
LATE_SECONDS_MAX = 2.0
ROUND_SECONDS = 1.0  # between two keep-alives of a lease
ANSWER_SECONDS = 1.0  # then the keeper turns to another node
OPTIONS = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_reconnect_backoff_ms", 100)]


class Life:
    """One lease as its client knows it; times by this process's clock."""

    def __init__(self, id_: int) -> None:
        self.id = id_
        self.promised = 0.0  # when the last request was sent that was answered with a TTL
        self.touched = 0.0  # when the last request was answered, or given up
        self.ended: list[tuple[float, int]] = []  # (when, revision) its keys' deletions were seen

    def check(self) -> None:
        assert len(self.ended) == 2, f"{self.id}: {self.ended}"
        (first, revision), (_, other) = self.ended
        assert revision == other, f"{self.id} ended in two revisions"
        assert first >= self.promised + TTL, f"{self.id} ended {self.age(first):.3f} s early"
        late = first - self.touched - TTL
        assert late <= LATE_SECONDS_MAX, f"{self.id} ended {late:.3f} s late"

    def age(self, now: float) -> float:
        return self.promised + TTL - now


class Keeper:
    """Keeps leases alive on one stream a round, on whichever node answers."""

    def __init__(self, channels: Sequence[grpc.aio.Channel], lives: Iterable[Life]) -> None:
        self.turns = 0  # to another node
        self.rounds = 0
        self._stubs: list[Any] = [
            rpc_pb2_grpc.LeaseStub(channel)  # type: ignore[no-untyped-call]
            for channel in channels
        ]
        self._lives = {life.id: life for life in lives}

    async def run(self, stop: asyncio.Event) -> None:
        """Until told to stop; the last round is one that was answered."""
        while not stop.is_set():
            await self._round()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(ROUND_SECONDS):
                    await stop.wait()
        while not await self._round():
            pass

    async def _round(self) -> bool:
        sent = time.monotonic()
        stub = self._stubs[self.turns % len(self._stubs)]
        requests = [rpc_pb2.LeaseKeepAliveRequest(ID=id_) for id_ in self._lives]
        try:
            async for answer in stub.LeaseKeepAlive(iter(requests), timeout=ANSWER_SECONDS):
                assert answer.TTL == TTL, f"{answer.ID} is gone"
                self._lives[answer.ID].promised = sent
        except grpc.aio.AioRpcError:
            self.turns += 1
            return False
        finally:
            for life in self._lives.values():
                life.touched = time.monotonic()
        self.rounds += 1
        return True


async def grant(channel: grpc.aio.Channel, lives: Iterable[Life]) -> None:
    """Grant the leases and put two keys on each, in one transaction."""
    leases: Any = rpc_pb2_grpc.LeaseStub(channel)  # type: ignore[no-untyped-call]
    kv: Any = rpc_pb2_grpc.KVStub(channel)  # type: ignore[no-untyped-call]

    async def start(life: Life) -> None:
        life.promised = time.monotonic()
        request = rpc_pb2.LeaseGrantRequest(ID=life.id, TTL=TTL)
        assert (await leases.LeaseGrant(request, timeout=PATIENCE)).TTL == TTL
        life.touched = time.monotonic()
        puts = [
            rpc_pb2.RequestOp(
                request_put=rpc_pb2.PutRequest(key=b"%d/%b" % (life.id, name), lease=life.id)
            )
            for name in (b"a", b"b")
        ]
        await kv.Txn(rpc_pb2.TxnRequest(success=puts), timeout=PATIENCE)

    await asyncio.gather(*(start(life) for life in lives))


async def watch(
    channel: grpc.aio.Channel, lives: dict[int, Life], all_ended: asyncio.Event
) -> None:
    """Note every deletion; done when all leases' keys have gone."""
    stub: Any = rpc_pb2_grpc.WatchStub(channel)  # type: ignore[no-untyped-call]
    create = rpc_pb2.WatchCreateRequest(key=b"\0", range_end=b"\0", start_revision=2)
    left = 2 * len(lives)
    call = stub.Watch()
    await call.write(rpc_pb2.WatchRequest(create_request=create))
    async for response in call:
        now = time.monotonic()
        for event in response.events:
            if event.type == kv_pb2.Event.DELETE:
                id_ = int(event.kv.key.split(b"/")[0])
                lives[id_].ended.append((now, event.kv.mod_revision))
                left -= 1
        if not left:
            all_ended.set()
            return


async def test_a_thousand_leases_through_kill_and_pause(three: LocalCluster) -> None:
    lives = {id_: Life(id_) for id_ in range(1, LEASES + 1)}
    kept = list(lives.values())[ABANDONED:]
    channels = [grpc.aio.insecure_channel(three.endpoint(name), OPTIONS) for name in three.names]
    stop, all_ended = asyncio.Event(), asyncio.Event()
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(watch(channels[2], lives, all_ended))
            await grant(channels[0], lives.values())
            # Both lean on nodes that will be gone for a while.
            keepers = [Keeper(channels, kept[::2]), Keeper(channels[1:], kept[1::2])]
            running = [tasks.create_task(keeper.run(stop)) for keeper in keepers]
            await asyncio.sleep(1.0)
            await kill(three, ["n1"])
            await asyncio.sleep(2.0)
            await restart(three, ["n1"])
            await freeze(three, "n2", 4.0)
            await asyncio.sleep(1.0)
            assert not any(life.ended for life in kept)
            stop.set()
            await asyncio.wait(running, timeout=PATIENCE)
            async with asyncio.timeout(TTL + PATIENCE):
                await all_ended.wait()
    finally:
        for channel in channels:
            await channel.close(None)
    for life in lives.values():
        life.check()
    assert all(keeper.turns for keeper in keepers)
    assert len({life.ended[0][1] for life in lives.values()}) == LEASES
    worst = max(life.ended[0][0] - life.touched - TTL for life in lives.values())
    print(f"{LEASES} leases, {[keeper.rounds for keeper in keepers]} rounds; latest {worst:.2f} s")

"""Watchers and their writers: what they make of events, and both against stock etcd."""

from __future__ import annotations

import asyncio
from time import monotonic

import pytest

from bench.fanout import Fanout, Watcher
from bench.load import LoadError, LoadResult, Window
from bench.watches import create, open_watches
from bench.workload import Values, framed, key_of, message
from cluster.supervisor import Supervisor
from etcdshim.pb import kv_pb2, rpc_pb2
from tests.bench.fakes import connected

VALUES = Values(32, seed=1)


class Failing(Fanout):
    """Keeps what is wrong, and what was seen."""

    def __init__(self) -> None:
        super().__init__(VALUES, [], watchers=1)
        self.failures: list[str] = []

    def fail(self, reason: str) -> None:
        self.failures.append(reason)


def confirmed(fanout: Fanout) -> Watcher:
    watcher = Watcher(fanout)
    answer = rpc_pb2.WatchResponse(created=True)
    watcher.received(framed(answer.SerializeToString()), 1.0)
    return watcher


def told(*versions: int, index: int = 0, stamp: int = 1000, value: bytes = b"") -> bytes:
    """A message with events of one key."""
    whole = value or b"".join(VALUES.pieces(stamp))
    events = [
        kv_pb2.Event(kv=kv_pb2.KeyValue(key=key_of(index), version=each, value=whole))
        for each in versions
    ]
    return framed(rpc_pb2.WatchResponse(events=events).SerializeToString())


async def test_versions_that_rise_by_one_are_right() -> None:
    fanout = Failing()
    first, second = confirmed(fanout), confirmed(fanout)
    for watcher in (first, second):
        watcher.received(told(4, 5), 2.0)
        watcher.received(told(9, index=1), 2.0)
        watcher.received(told(6), 2.0)
    assert fanout.failures == []
    assert fanout.done == 8
    assert first.versions == {key_of(0): 6, key_of(1): 9}


@pytest.mark.parametrize("second", [(4,), (6,), (3,)])
async def test_missing_repeated_and_late_events_are_found(second: tuple[int, ...]) -> None:
    fanout = Failing()
    watcher = confirmed(fanout)
    watcher.received(told(4), 2.0)
    watcher.received(told(*second), 2.0)
    (failure,) = fanout.failures
    assert failure == f"a watcher saw version {second[0]} of {key_of(0)!r} after 4"


async def test_a_watcher_that_misses_the_first_event_is_found() -> None:
    fanout = Failing()
    confirmed(fanout).received(told(4, 5), 2.0)
    confirmed(fanout).received(told(5), 2.0)
    assert fanout.failures == [f"a watcher saw version 5 of {key_of(0)!r} after 3"]


@pytest.mark.parametrize("value", [b"", b"x" * 32, b"".join(VALUES.pieces(1000))[:-1] + b"!"])
async def test_damaged_event_is_found(value: bytes) -> None:
    fanout = Failing()
    body = told(1, value=value or b"short")
    confirmed(fanout).received(body, 2.0)
    assert fanout.failures == [f"an event of {key_of(0)!r} holds what was not put"]


async def test_deletion_and_cancellation_are_found() -> None:
    fanout = Failing()
    gone = kv_pb2.Event(type=kv_pb2.Event.DELETE, kv=kv_pb2.KeyValue(key=key_of(0)))
    answers = [rpc_pb2.WatchResponse(events=[gone]), rpc_pb2.WatchResponse(canceled=True)]
    for answer in answers:
        confirmed(fanout).received(framed(answer.SerializeToString()), 2.0)
    confirmed(fanout).ended("cut off", 2.0)
    assert len(fanout.failures) == 3
    assert fanout.failures[1:] == ["a watch was canceled: ", "cut off"]


async def test_watch_that_is_refused_or_not_confirmed_is_named() -> None:
    connection, _ = connected()
    fanout = Failing()
    refused = Watcher(fanout)
    opening = asyncio.create_task(open_watches([(connection, refused, create(b"a", b"b"))], 0, 9))
    await asyncio.sleep(0)
    answer = rpc_pb2.WatchResponse(created=True, canceled=True, cancel_reason="no")
    refused.received(framed(answer.SerializeToString()), 1.0)
    with pytest.raises(LoadError, match="watch refused: no"):
        await opening
    with pytest.raises(LoadError, match=r"1 watches not confirmed in 0\.01 s"):
        await open_watches([(connection, Watcher(fanout), create(b"a", b"b"))], 0, 0.01)


def test_request_of_a_watch() -> None:
    body = message(create(b"a", b"b", prev_kv=True))
    asked = rpc_pb2.WatchRequest.FromString(body).create_request
    assert (asked.key, asked.range_end, asked.prev_kv) == (b"a", b"b", True)
    assert not asked.progress_notify


# Against stock etcd.


async def run(*fanouts: Fanout, seconds: float = 0.4) -> list[LoadResult]:
    for fanout in fanouts:
        await fanout.open()
    try:
        now = monotonic()
        window = Window(now, now + seconds)
        return list(await asyncio.gather(*(each.run(window) for each in fanouts)))
    finally:
        for fanout in fanouts:
            fanout.close()


@pytest.mark.process
@pytest.mark.slow
async def test_every_watcher_sees_every_put(etcd: Supervisor) -> None:
    fanout = Fanout(VALUES, etcd.endpoints(), watchers=7, connections=2)
    (result,) = await run(fanout)
    assert result.successes % 7 == 0
    assert result.successes >= result.operations == sum(result.timeline.counts) > 0
    assert 7 * (result.figures["puts"] + 4) >= result.operations
    assert 0 < result.latency.quantile(0.5) < 0.4


@pytest.mark.process
@pytest.mark.slow
async def test_watchers_of_one_process_see_puts_of_the_other(etcd: Supervisor) -> None:
    fanouts = [Fanout(VALUES, etcd.endpoints(), watchers=2, first=first) for first in (0, 2)]
    results = await run(*fanouts)
    puts = sum(result.figures["puts"] for result in results)
    seen = sum(result.successes for result in results)
    assert seen > 2.5 * puts  # of each put more than the two of its own process


@pytest.mark.process
@pytest.mark.slow
async def test_puts_arrive_at_their_rate(etcd: Supervisor) -> None:
    fanout = Fanout(VALUES, etcd.endpoints(), watchers=3, rate=400)
    (result,) = await run(fanout)
    # On a busy machine the last ones may find no time to be sent.
    assert result.successes / 3 + result.figures["unsent"] == pytest.approx(400 * 0.4, abs=2)


@pytest.mark.process
@pytest.mark.slow
async def test_events_that_do_not_come_are_named(etcd: Supervisor) -> None:
    deaf = Fanout(VALUES, etcd.endpoints(), watchers=1, timeout=0.2)
    deaf.see = lambda *_: None  # type: ignore[method-assign]
    with pytest.raises(LoadError, match=r"events of b'bench/000000\d\d' did not come in 0\.2 s"):
        await run(deaf, seconds=5)

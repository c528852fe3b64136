"""Many writes, cheaply: bench's own client with values of mixed sizes, every acknowledgement kept.

The recording clients of `tests.robustness.client` cost half a millisecond a call; these cost some
tens of microseconds, so that a hundred thousand writes are a matter of half a minute. Each value
names its write, hence the events of a watch tell whether all that was acknowledged is there, at the
revision that was told.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from blake3 import blake3

from bench.load import Load, Window
from bench.workload import PUT_PATH, Call, WrongAnswer, framed, message
from etcdshim.pb import kv_pb2, rpc_pb2
from tests.robustness.client import Client

KEYS = 2000
# Sizes in bytes, by the last two digits of a write's number: 1 in 25 is coded.
_SIZES = [64] * 40 + [256] * 40 + [2000] * 16 + [16 << 10] * 3 + [64 << 10]
_RUN_SECONDS_MAX = 3600.0
_CALL_SECONDS = 10.0
_NUMBER_BYTES = 8
_PAGE_KEYS = 200


def key_of(number: int) -> bytes:
    return b"bulk/%06d" % (number % KEYS)


class MixedPuts:
    """A workload of bench's loader: write `number` puts a value of its own to `key_of(number)`.

    `acknowledged` holds, by number, the revision that was told.
    """

    paths = (PUT_PATH,)

    def __init__(self, seed: int = 0) -> None:
        draw = random.Random(seed)
        order = list(range(len(_SIZES)))
        draw.shuffle(order)
        self._order = order
        self._filler = draw.randbytes(max(_SIZES))
        self.acknowledged: dict[int, int] = {}
        self.times: list[float] = []  # of acknowledgements, monotonic seconds

    def value(self, number: int) -> bytes:
        size = _SIZES[self._order[number % len(_SIZES)]]
        return number.to_bytes(_NUMBER_BYTES, "big") + self._filler[_NUMBER_BYTES:size]

    def request(self, number: int) -> Call:
        put = rpc_pb2.PutRequest(key=key_of(number), value=self.value(number))
        return Call(0, framed(put.SerializeToString()))

    def check(self, number: int, body: bytes) -> int:
        revision: int = rpc_pb2.PutResponse.FromString(message(body)).header.revision
        if number in self.acknowledged or revision <= 1:
            raise WrongAnswer(f"write {number} answered with revision {revision}")
        self.acknowledged[number] = revision
        self.times.append(time.monotonic())
        return revision

    def longest_gap(self, since: float, upto: float) -> tuple[float, float]:
        """Longest time without an acknowledgement between two moments (monotonic seconds): in ms,
        and how many seconds after the first of them it began."""
        times = [since, *(moment for moment in self.times if since <= moment < upto), upto]
        gaps = [(later - earlier, earlier) for earlier, later in itertools.pairwise(times)]
        longest, begun = max(gaps)
        return longest * 1000, begun - since


class Bulk:
    """Clients that put without pause while in the context. Any error ends the run, and is raised.

    Ends after `count` writes, or when the context does.
    """

    def __init__(
        self, puts: MixedPuts, endpoints: Sequence[str], *, clients: int = 24, first: int = 0
    ) -> None:
        self._puts = puts
        self._load = Load(
            puts,
            endpoints,
            clients=clients,
            first=first,
            timeout=_CALL_SECONDS,
        )
        self._task: asyncio.Task[object] | None = None

    async def __aenter__(self) -> Self:
        await self._load.open()
        now = time.monotonic()
        window = Window(now, now + _RUN_SECONDS_MAX)
        self._task = asyncio.create_task(self._load.run(window))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """No call is left open; raises what went wrong, unless something else did already."""
        assert self._task is not None
        self._load.stop()
        try:
            await asyncio.wait([self._task], timeout=2 * _CALL_SECONDS)
            if error is None:
                await self._task
        finally:
            self._load.close()

    async def more(self, count: int, timeout: float) -> None:
        """Waits for so many further acknowledged writes."""
        assert self._task is not None
        wanted = len(self._puts.times) + count
        async with asyncio.timeout(timeout):
            while len(self._puts.times) < wanted:
                if self._task.done():
                    await self._task
                    raise AssertionError("the load ended by itself")
                await asyncio.sleep(0.01)


class Seen:
    """All that one member shows of the writes: its events from revision 1 on, and what is there."""

    def __init__(self) -> None:
        self.revisions: dict[int, int] = {}  # write -> revision of its event
        self.wrong: list[str] = []
        self._events = blake3()
        self._now = blake3()

    @property
    def digest(self) -> str:
        """Of every event with its value, and of every key with its value, in order."""
        return f"{self._events.hexdigest(8)}/{self._now.hexdigest(8)}"

    def add_event(self, event: kv_pb2.Event, puts: MixedPuts) -> None:
        kv = event.kv
        number = int.from_bytes(kv.value[:_NUMBER_BYTES], "big")
        if kv.value != puts.value(number) or kv.key != key_of(number):
            self.wrong.append(f"revision {kv.mod_revision} of {kv.key!r} is not a written value")
        self.revisions[number] = kv.mod_revision
        self._events.update(event.SerializeToString(deterministic=True))

    def add_key(self, kv: kv_pb2.KeyValue) -> None:
        self._now.update(kv.SerializeToString(deterministic=True))


async def look(endpoint: str, puts: MixedPuts, last: int, timeout: float) -> Seen:
    """Everything up to revision `last` by one member's own word, checked against the writes."""
    seen = Seen()
    async with Client("", endpoint, []) as client, asyncio.timeout(timeout):
        async with contextlib.aclosing(client.watch_raw(1, timeout)) as responses:
            async for events in responses:
                for event in events:
                    seen.add_event(event, puts)
                if events and events[-1].kv.mod_revision >= last:
                    break
        start = b"\0"
        while start:
            request = rpc_pb2.RangeRequest(
                key=start, range_end=b"\0", limit=_PAGE_KEYS, serializable=True, revision=last
            )
            page = await client.kv.Range(request, timeout=timeout)
            for kv in page.kvs:
                seen.add_key(kv)
            start = page.kvs[-1].key + b"\0" if page.more else b""
    return seen

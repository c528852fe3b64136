"""Keeps time for all calls of a server: deadlines, departed clients and readers that stopped.

A timer or a task per call would cost more than a short call itself. Unary calls therefore share
timers: each waits in a bucket of calls due in the same ten milliseconds, which costs a set
insertion and a removal. Only a call still running when its bucket falls due gets attention.
"""

from __future__ import annotations

import asyncio

from etcdshim.asgi_call import Call, GrpcLimits, Stream
from etcdshim.asgi_wire import UNAVAILABLE, GrpcError, Receive

_WIDTH = 0.01  # seconds a bucket spans: how late a deadline may be noticed
_REVISIT = 1.0  # seconds between looks at a long call, which bounds the number of buckets
_LOOKS = 4  # looks at a stream within the stall timeout
_STALLED = "etcdserver: stream cut: the reader was too slow, resume from the last message received"


class Overseer:
    """Stops calls that ran out of time and streams nobody reads. One per event loop."""

    def __init__(self, limits: GrpcLimits) -> None:
        self._slow_after = limits.slow_after
        self._look_interval = limits.stall_timeout / _LOOKS
        self._buckets: dict[int, set[Call]] = {}
        self._streams: set[Stream] = set()
        self._looking: asyncio.TimerHandle | None = None

    def statistics(self) -> dict[str, int]:
        """Calls now open, by kind."""
        unary = sum(len(bucket) for bucket in self._buckets.values())
        return {"unary": unary, "streams": len(self._streams)}

    def enter(self, call: Call) -> None:
        """Watch over a unary call until `leave`."""
        now = asyncio.get_running_loop().time()
        self._place(call, now, now + self._slow_after)

    def leave(self, call: Call) -> None:
        if call.bucket is not None:
            call.bucket.discard(call)
        if call.watcher is not None:
            call.watcher.cancel()

    def _place(self, call: Call, now: float, due: float) -> None:
        if call.deadline is not None and call.deadline < due:
            due = max(call.deadline, now)
        index = int(due / _WIDTH) + 1
        bucket = self._buckets.get(index)
        if bucket is None:
            bucket = self._buckets[index] = set()
            asyncio.get_running_loop().call_at(index * _WIDTH, self._fall_due, index)
        bucket.add(call)
        call.bucket = bucket

    def _fall_due(self, index: int) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for call in self._buckets.pop(index):
            if call.deadline is not None and call.deadline <= now:
                call.bucket = None
                call.expire()
                continue
            if call.watcher is None and call.departures is not None:
                call.watcher = loop.create_task(_await_departure(call, call.departures))
            self._place(call, now, now + _REVISIT)

    def add_stream(self, stream: Stream) -> None:
        """Watch a stream's sends until `remove_stream`."""
        self._streams.add(stream)
        if self._looking is None:
            self._schedule_look()

    def remove_stream(self, stream: Stream) -> None:
        self._streams.discard(stream)

    def _schedule_look(self) -> None:
        loop = asyncio.get_running_loop()
        self._looking = loop.call_later(self._look_interval, self._look)

    def _look(self) -> None:
        for stream in self._streams:
            if stream.begun == stream.done or stream.seen != stream.done:
                stream.seen, stream.still = stream.done, 0
                continue
            stream.still += 1
            if stream.still >= _LOOKS:
                stream.stalled = True
                stream.stop(GrpcError(UNAVAILABLE, _STALLED))
        self._looking = None
        if self._streams:
            self._schedule_look()


async def _await_departure(call: Call, receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    call.depart()

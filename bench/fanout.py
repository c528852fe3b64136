"""Watch fan-out: a few writers, many watchers of all that they write, and every event checked.

A value tells when its put was (to be) sent, so that whichever process sees the event knows its
latency, and whether the bytes are whole. Versions of a key count its puts: a watcher that sees them
rise by one each time has missed none, seen none twice, and none out of order.

In a closed loop a writer puts again when its last put is acknowledged and every watcher of this
process has seen it: the rate is what the servers can deliver for good. In an open loop puts arrive
at a fixed rate.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from time import monotonic
from typing import Final, NamedTuple

from bench.frames import Outcome
from bench.h2 import Connection, Exchange
from bench.load import LoadError, LoadResult, Window, connect_all
from bench.pace import Arrivals, Ticker
from bench.recorder import Histogram, Timeline
from bench.watches import WATCH_PATH, WatchFeed, create, events_of, open_watches
from bench.workload import (
    KEYS_END,
    KEYS_START,
    PUT_PATH,
    Puts,
    Values,
    WrongAnswer,
    key_of,
    number_of,
)
from etcdshim.http2.frames import ProtocolError
from etcdshim.pb import kv_pb2

WRITERS: Final = 4  # of each process, in a closed loop
_WRITERS_OPEN: Final = 64  # in an open one: as many puts can be in flight
_PUT, _WATCH = 0, 1  # places in the paths
_SWEEP_S: Final = 0.05
_KNOWN_MAX: Final = 256  # messages whose contents are remembered, for the next watcher
_US: Final = 1_000_000


class Event(NamedTuple):
    """One put as a watcher is told of it."""

    key: bytes
    version: int
    stamp: int  # microseconds of the monotonic clock: when it was (to be) sent


class Watcher(WatchFeed):
    """One watch of all keys, with the last version of each that it was told of."""

    __slots__ = ("_fanout", "versions")

    def __init__(self, fanout: Fanout) -> None:
        super().__init__()
        self._fanout = fanout
        self.versions: dict[bytes, int] = {}  # by key: the last one seen

    def heard(self, body: bytes, now: float) -> None:
        # All watchers of a node are sent the same bytes: they are read once.
        fanout, versions = self._fanout, self.versions
        events = fanout.known.get(body)
        if events is None:
            events = fanout.read(body)
        for key, version, stamp in events:
            before = versions.get(key)
            if before is None:
                before = fanout.base(key, version)
            if version != before + 1:
                fanout.fail(f"a watcher saw version {version} of {key!r} after {before}")
            versions[key] = version
            fanout.see(key, stamp, now)

    def broken(self, reason: str) -> None:
        self._fanout.fail(reason)


class Writer(Exchange):
    """Puts one key again and again."""

    __slots__ = ("_fanout", "acknowledged", "awaited", "connection", "index")

    def __init__(self, fanout: Fanout, index: int, connection: Connection) -> None:
        super().__init__()
        self._fanout = fanout
        self.index = index
        self.connection = connection
        self.acknowledged = True
        self.awaited = 0  # events of its puts that watchers have not seen

    def put(self, body: bytes, events: int, now: float) -> None:
        """Send a put that so many watchers are going to see."""
        self.started = now
        self.body = b""
        self.acknowledged = False
        self.awaited += events
        self.connection.send(self, body, _PUT)

    def answered(self, outcome: Outcome, now: float) -> None:
        if outcome.status:
            self._fanout.fail(
                f"{self.connection.authority}: status {outcome.status}: {outcome.message}"
            )
            return
        self.acknowledged = True
        self._fanout.acknowledge(self, self.body, now)

    def failed(self, reason: str, now: float) -> None:
        del now
        self._fanout.fail(reason)


class Fanout:
    """Watchers and their writers. Use: `await open()`, `run(window)`, `close()`.

    `first` is the number of this process's first watcher; its writers' keys follow from it.
    """

    def __init__(
        self,
        values: Values,
        endpoints: Sequence[str],
        *,
        watchers: int,
        first: int = 0,
        connections: int = 1,
        timeout: float = 10.0,
        rate: float = 0.0,
    ) -> None:
        self.done = 0  # events so far, for progress displays
        self.known: dict[bytes, tuple[Event, ...]] = {}
        self._values = values
        self._puts = Puts(values, 1)
        self._endpoints = list(endpoints) * connections
        self._watchers = watchers
        self._first = first
        self._timeout = timeout
        self._rate = rate
        self._connections: list[Connection] = []
        self._writers: dict[bytes, Writer] = {}
        self._idle: deque[Writer] = deque()
        self._bases: dict[bytes, int] = {}  # by key: the version before the first one seen
        self._arrivals: Arrivals | None = None
        self._window = Window(0.0, 0.0)
        self._latency, self._timeline = Histogram(), Timeline(1.0)
        self._revision = 0
        self._acknowledged = 0  # puts, within the window
        self._unsent = 0
        self._alike = (0, 0.0, 0)  # stamp, time and number of events not recorded yet
        self._ended: asyncio.Future[None] | None = None
        self._stopping = False

    async def open(self) -> None:
        """Connect, and open every watch; raises LoadError."""
        self._connections = await connect_all(self._endpoints, (PUT_PATH, WATCH_PATH))
        wanted = create(KEYS_START, KEYS_END)
        watches = [(self._of(number), Watcher(self), wanted) for number in range(self._watchers)]
        await open_watches(watches, _WATCH, self._timeout)

    async def run(self, window: Window) -> LoadResult:
        """Put until the window ends, then wait for the last events; raises LoadError."""
        loop = asyncio.get_running_loop()
        self._ended = loop.create_future()
        self._window = window
        self._latency, self._timeline = Histogram(), Timeline(window.end - window.begin)
        sweep = loop.create_task(self._sweep())
        now = monotonic()
        for number in range(_WRITERS_OPEN if self._rate else WRITERS):
            writer = Writer(self, self._first * _WRITERS_OPEN + number, self._of(number))
            self._writers[key_of(writer.index)] = writer
            self._idle.append(writer)
        ticker = None
        if self._rate:
            self._arrivals = Arrivals(self._rate, now)
            ticker = Ticker(self._arrivals.tick_s, now, self._arrive)
        else:
            self._start_all(now)
        try:
            await self._ended
        finally:
            sweep.cancel()
            if ticker is not None:
                ticker.close()
            await asyncio.gather(sweep, return_exceptions=True)
        self._record()
        figures = {"puts": float(self._acknowledged)}
        if self._rate:
            figures["unsent"] = self._unsent
        return LoadResult(
            self._latency.total, {}, self._latency, self._timeline, self.done, self._revision,
            figures,
        )  # fmt: skip

    def close(self) -> None:
        """Close the connections; the watches end with them."""
        self._stopping = True
        for connection in self._connections:
            connection.close()

    # What watchers and writers report.

    def read(self, body: bytes) -> tuple[Event, ...]:
        """The events in a message, each value checked; remembered for the next watcher."""
        try:
            events = tuple(self._event(each) for each in events_of(body))
        except (WrongAnswer, ProtocolError) as error:
            self.fail(str(error))
            return ()
        if len(self.known) >= _KNOWN_MAX:
            self.known.clear()
        self.known[body] = events
        return events

    def base(self, key: bytes, version: int) -> int:
        """The version before a watcher's first one, which must be the same for every watcher."""
        return self._bases.setdefault(key, version - 1)

    def see(self, key: bytes, stamp: int, now: float) -> None:
        """A watcher has seen an event."""
        self.done += 1
        seen_stamp, seen_at, count = self._alike
        if stamp != seen_stamp or now != seen_at:
            self._record()
            count = 0
        self._alike = (stamp, now, count + 1)
        writer = self._writers.get(key)
        if writer is not None:
            writer.awaited -= 1
            if not writer.awaited and writer.acknowledged and not self._rate:
                self._go_on(writer, now)

    def acknowledge(self, writer: Writer, body: bytes, now: float) -> None:
        """A put was answered."""
        try:
            self._revision = max(self._revision, self._puts.check(0, body))
        except (WrongAnswer, ProtocolError) as error:
            self.fail(f"{writer.connection.authority}: {error}")
            return
        if self._window.begin <= now < self._window.end:
            self._acknowledged += 1
        if self._rate or not writer.awaited:
            self._go_on(writer, now)

    def fail(self, reason: str) -> None:
        """End the run with an error."""
        if not self._stopping and self._ended is not None and not self._ended.done():
            self._ended.set_exception(LoadError(reason))
        self._stopping = True

    # Helpers.

    def _of(self, number: int) -> Connection:
        return self._connections[number % len(self._connections)]

    def _event(self, event: kv_pb2.Event) -> Event:
        pair = event.kv
        stamp = number_of(pair.value)
        if event.type != kv_pb2.Event.PUT or not self._values.matches(stamp, pair.value):
            raise WrongAnswer(f"an event of {pair.key!r} holds what was not put")
        return Event(pair.key, pair.version, stamp)

    def _start_all(self, now: float) -> None:
        while self._idle:
            self._put(self._idle.popleft(), now, now)
        self._flush()

    def _put(self, writer: Writer, due: float, now: float) -> None:
        body = self._puts.encode(writer.index, int(due * _US))
        writer.put(body, self._watchers, now)

    def _go_on(self, writer: Writer, now: float) -> None:
        """The writer's next put, now or when one is due."""
        if now >= self._window.end or self._stopping:
            self._maybe_end(now)
        elif self._arrivals is None:
            self._put(writer, now, now)
            writer.connection.flush()
        elif due := self._arrivals.take(now):
            self._put(writer, due, now)
        else:
            self._idle.append(writer)

    def _arrive(self) -> None:
        assert self._arrivals is not None
        now = monotonic()
        if now >= self._window.end:
            self._unsent = self._unsent or self._arrivals.behind(self._window.end)
            self._maybe_end(now)
            return
        while self._idle and (due := self._arrivals.take(now)):
            self._put(self._idle.popleft(), due, now)
        self._flush()

    def _flush(self) -> None:
        for connection in self._connections:
            connection.flush()

    def _maybe_end(self, now: float) -> None:
        quiet = all(each.acknowledged and not each.awaited for each in self._writers.values())
        over = now >= self._window.end
        if quiet and over and self._ended is not None and not self._ended.done():
            self._ended.set_result(None)

    def _record(self) -> None:
        stamp, now, count = self._alike
        begin, end = self._window
        if count and begin <= now < end:
            latency = now - stamp / _US
            self._latency.record(latency, count)
            self._timeline.record(now - begin, latency, count)
        self._alike = (0, 0.0, 0)

    async def _sweep(self) -> None:
        """Name what is late: a put without its answer, or events that do not come."""
        while True:
            await asyncio.sleep(_SWEEP_S)
            now = monotonic()
            before = now - self._timeout
            for writer in self._writers.values():
                late = writer.started < before
                if late and not writer.acknowledged:
                    self.fail(f"{writer.connection.authority}: no answer in {self._timeout:g} s")
                elif late and writer.awaited:
                    self.fail(
                        f"{writer.awaited} events of {key_of(writer.index)!r} "
                        f"did not come in {self._timeout:g} s"
                    )
            if now >= self._window.end:
                self._maybe_end(now)

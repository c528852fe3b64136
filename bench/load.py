"""Clients over a few connections, each with one request in flight.

In a closed loop each sends its next request when the last is answered. In an open one requests
arrive at a fixed rate, each client without one takes the next, and what no client is free for
waits; its latency counts all the same (`bench.pace`).

Every answer is checked. Outside of fault runs the first error ends the run; in a fault run the
errors a client must expect (unavailable, timed out, cut off) are counted and the client tries
again, elsewhere if it must; the latency of a success then counts from the first try.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Sequence
from time import monotonic
from typing import Final, NamedTuple

from bench.feeds import Feed
from bench.frames import Outcome
from bench.h2 import Connection, Exchange, connect
from bench.pace import Arrivals, Ticker
from bench.recorder import Histogram, Timeline
from bench.workload import Workload, WrongAnswer
from etcdshim.http2.frames import ProtocolError

_UNAVAILABLE: Final = 14
_DEADLINE_EXCEEDED: Final = 4
# A refused client pauses, lest a dead cluster is asked in a busy loop.
_RETRY_DELAY_S: Final = 0.005
_OK: Final = Outcome(200, 0, "")
_ERROR_KINDS_MAX: Final = 50
_CONNECT_TIMEOUT_S: Final = 10.0


class LoadError(Exception):
    """The run cannot go on, or its answers were wrong; one line that says which and where."""


class Window(NamedTuple):
    """The measured part of a run, in monotonic seconds (one clock for the whole machine)."""

    begin: float
    end: float


class LoadResult(NamedTuple):
    operations: int  # successes in the window
    errors: dict[str, int]  # tolerated errors in the window, by text
    latency: Histogram
    timeline: Timeline
    successes: int  # of the whole run, warm-up included
    revision_highest: int  # over the whole run; 0 when nothing succeeded
    figures: dict[str, float]  # what else is to be told, by name; sums over processes


class Client(Exchange):
    """One client of the loop. Its calls are numbered client, client + step, client + 2 step, .."""

    __slots__ = ("_load", "connection", "number", "since")

    def __init__(self, load: Load, number: int, connection: Connection) -> None:
        super().__init__()
        self._load = load
        self.number = number
        self.connection = connection
        self.since = 0.0  # when the first try of the present operation was (to be) sent

    def start(self, now: float) -> None:
        """Send the next request."""
        self.since = now
        self.send(now)

    def send(self, now: float) -> None:
        """Send the present request, for the first time or again."""
        self.started = now
        self.body = b""
        if self.more:
            self.more.clear()  # of a try that was cut off
        method, body = self._load.workload.request(self.number)
        self.connection.send(self, body, method)

    def answered(self, outcome: Outcome, now: float) -> None:
        load = self._load
        if outcome.status != 0:
            load.refuse(self, outcome, now)
            return
        try:
            revision = load.workload.check(self.number, self.body)
        except (WrongAnswer, ProtocolError) as error:
            load.fail(f"{self.connection.authority}: {error}")
            return
        if not revision:
            self.send(now)  # the operation's next request
        elif since := load.succeed(self, revision, now):
            self.since = since
            self.send(now)

    def failed(self, reason: str, now: float) -> None:
        self._load.lose(self, reason, now)


class StreamClient(Client):
    """A client that asks over a stream of its own: one message there, one back."""

    __slots__ = ("_stream", "waits")

    def __init__(self, load: Load, number: int, connection: Connection) -> None:
        super().__init__(load, number, connection)
        self.waits = False  # for an answer
        self._stream = _Stream(self)
        connection.open(self._stream, 0)

    def send(self, now: float) -> None:
        self.started = now
        self.waits = True
        self.connection.write(self._stream, self._load.workload.request(self.number).body)

    def heard(self, message: bytes, now: float) -> None:
        """The stream's next message."""
        if not self.waits:
            self._load.fail(f"{self.connection.authority}: an answer that nobody asked for")
            return
        self.waits = False
        self.body = message
        self.answered(_OK, now)


class _Stream(Feed):
    __slots__ = ("_client",)

    def __init__(self, client: StreamClient) -> None:
        super().__init__()
        self._client = client

    def received(self, message: bytes, now: float) -> None:
        self._client.heard(message, now)

    def ended(self, reason: str, now: float) -> None:
        if self._client.waits:
            self._client.waits = False
            self._client.failed(reason, now)


class Load:
    """A run of one workload. Use: `await open()`, `run(window)`, `close()`.

    `clients` run here, numbered from `first`, of `clients_total` over all processes.
    """

    def __init__(
        self,
        workload: Workload,
        endpoints: Sequence[str],
        *,
        clients: int,
        first: int = 0,
        clients_total: int | None = None,
        connections: int = 1,
        timeout: float = 10.0,
        tolerant: bool = False,
        rate: float = 0.0,
        streams: bool = False,
    ) -> None:
        """`rate` in operations per second, of an open loop; 0 is a closed one."""
        if clients < 1 or connections < 1 or not endpoints:
            raise LoadError("a load needs at least one client, one connection and one endpoint")
        self.workload = workload
        self.done = 0  # successes so far, for progress displays
        self._endpoints = list(endpoints) * connections
        self._clients = clients
        self._first = first
        self._step = clients_total or clients
        self._timeout = timeout
        self._tolerant = tolerant
        self._connections: list[Connection] = []
        self._last_number = 0
        self._stopping = False
        self._window = Window(0.0, 0.0)
        self._latency = Histogram()
        self._timeline = Timeline(1.0)
        self._errors: Counter[str] = Counter()
        self._revision = 0
        self._active = 0
        self._ended: asyncio.Future[None] | None = None
        self._rate = rate
        self._arrivals: Arrivals | None = None  # of an open loop
        self._ticker: Ticker | None = None
        self._idle: deque[Client] = deque()  # clients that wait for an arrival
        self._kind = StreamClient if streams else Client
        self._clients_streaming: list[StreamClient] = []
        self._unsent = 0

    async def open(self) -> None:
        """Connect to every endpoint; raises LoadError."""
        self._connections = await connect_all(self._endpoints, self.workload.paths)
        share = -(-self._clients // len(self._connections))
        allowed = min(connection.streams_max for connection in self._connections)
        if share > allowed:
            self.close()
            raise LoadError(
                f"{share} clients on one connection, but the server allows {allowed} streams: "
                "use more connections (--connections)"
            )

    async def run(self, window: Window, count: int | None = None) -> LoadResult:
        """Keep the clients busy until the window ends, or for calls number 0 to `count` - 1.

        Raises LoadError on the first error that is not tolerated.
        """
        loop = asyncio.get_running_loop()
        self._ended = loop.create_future()
        self._window = window
        self._latency, self._timeline = Histogram(), Timeline(window.end - window.begin)
        self._last_number = count if count is not None else 2**63
        self._start_clients()
        sweep = loop.create_task(self._expire_late_calls())
        try:
            await self._ended
        finally:
            sweep.cancel()
            if self._ticker is not None:
                self._ticker.close()
            await asyncio.gather(sweep, return_exceptions=True)
        return LoadResult(
            self._latency.total,
            dict(self._errors),
            self._latency,
            self._timeline,
            self.done,
            self._revision,
            {"unsent": self._unsent} if self._arrivals is not None else {},
        )

    def stop(self) -> None:
        """Send nothing new: `run` ends when the calls in flight are answered."""
        self._stopping = True

    def close(self) -> None:
        """Close the connections; calls in flight are dropped."""
        self._stopping = True
        for connection in self._connections:
            connection.close()

    # What clients report.

    def succeed(self, client: Client, revision: int, now: float) -> float:
        """Record a success; since when the client's next operation counts, 0 if it has none."""
        self.done += 1
        if revision > self._revision:
            self._revision = revision
        begin, end = self._window
        if begin <= now < end:
            latency = now - client.since
            self._latency.record(latency)
            self._timeline.record(now - begin, latency)
        client.number += self._step
        if now >= end or client.number >= self._last_number or self._stopping:
            self._retire()
            return 0.0
        if self._arrivals is None:
            return now
        due = self._arrivals.take(now)
        if not due:
            self._idle.append(client)
        return due

    def refuse(self, client: Client, outcome: Outcome, now: float) -> None:
        """A call that was answered with an error."""
        text = f"{client.connection.authority}: status {outcome.status}: {outcome.message}"
        if outcome.status in (_UNAVAILABLE, _DEADLINE_EXCEEDED):
            self.lose(client, text, now)
        else:
            self.fail(text)

    def lose(self, client: Client, reason: str, now: float) -> None:
        """A call of unknown outcome; in a fault run the client goes on, elsewhere if it must."""
        if self._stopping or now >= self._window.end:
            self._retire()
        elif not self._tolerant:
            self.fail(reason)
        else:
            if now >= self._window.begin and len(self._errors) < _ERROR_KINDS_MAX:
                self._errors[reason] += 1
            asyncio.get_running_loop().call_later(_RETRY_DELAY_S, self._resume, client)

    def fail(self, reason: str) -> None:
        """End the run with an error."""
        self._stopping = True
        if self._ended is not None and not self._ended.done():
            self._ended.set_exception(LoadError(reason))

    # Helpers.

    def _start_clients(self) -> None:
        now = monotonic()
        for index in range(self._clients):
            connection = self._connections[index % len(self._connections)]
            if self._first + index >= self._last_number:
                break
            client = self._kind(self, self._first + index, connection)
            if isinstance(client, StreamClient):
                self._clients_streaming.append(client)
            self._active += 1
            if self._rate:
                self._idle.append(client)
            else:
                client.start(now)
        for connection in self._connections:
            connection.flush()
        if self._rate:
            self._arrivals = Arrivals(self._rate, now)
            self._ticker = Ticker(self._arrivals.tick_s, now, self._arrive)

    def _arrive(self) -> None:
        """A tick of an open loop: clients that are free take what is due."""
        assert self._arrivals is not None
        now = monotonic()
        if self._stopping or now >= self._window.end:
            assert self._ticker is not None
            self._ticker.close()
            self._unsent = self._arrivals.behind(self._window.end)
            for _ in range(len(self._idle)):
                self._retire()
            self._idle.clear()
            return
        touched = set()
        while self._idle and (due := self._arrivals.take(now)):
            client = self._idle.popleft()
            if not self._connect(client):
                return
            client.since = due
            client.send(now)
            touched.add(client.connection)
        for connection in touched:
            connection.flush()

    def _resume(self, client: Client) -> None:
        now = monotonic()
        if self._stopping or now >= self._window.end:
            self._retire()
            return
        if self._connect(client):
            client.send(now)
            client.connection.flush()

    def _connect(self, client: Client) -> bool:
        """Whether the client has a connection that is open: in a fault run it may take another."""
        if not client.connection.closed:
            return True
        alive = [each for each in self._connections if not each.closed]
        if alive and self._tolerant:
            client.connection = alive[client.number % len(alive)]
            return True
        lost = f"{client.connection.authority}: the connection is lost"
        self.fail("every endpoint is lost" if self._tolerant else lost)
        return False

    def _retire(self) -> None:
        self._active -= 1
        if not self._active and self._ended is not None and not self._ended.done():
            self._ended.set_result(None)

    async def _expire_late_calls(self) -> None:
        while True:
            await asyncio.sleep(min(0.05, self._timeout / 4))
            before = monotonic() - self._timeout
            for connection in self._connections:
                if not connection.closed:
                    connection.expire(before, self._late(connection))
            for client in self._clients_streaming:
                if client.waits and client.started < before:
                    self.fail(self._late(client.connection))

    def _late(self, connection: Connection) -> str:
        return f"{connection.authority}: no answer in {self._timeout:g} s"


async def connect_all(endpoints: Sequence[str], paths: tuple[str, ...]) -> list[Connection]:
    """A connection to each of the endpoints, in order; raises LoadError."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(connect(endpoint, paths, _CONNECT_TIMEOUT_S))
                for endpoint in endpoints
            ]
    except ExceptionGroup as group_error:
        raise LoadError(str(group_error.exceptions[0])) from group_error
    return [task.result() for task in tasks]

"""The watches of an API server: one for each resource, on each node, and their events checked.

Each event but a creation brings what was there before; so the revisions of an object's events are a
chain, and a watcher that finds it whole has missed none and seen none twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Final

from bench.h2 import Connection
from bench.kube import RESOURCES, Kube
from bench.load import LoadError, Window, connect_all
from bench.watches import WATCH_PATH, WatchFeed, create, events_of, open_watches
from bench.workload import WrongAnswer
from etcdshim.http2.frames import ProtocolError
from etcdshim.pb import kv_pb2

_POLL_S: Final = 0.01


class Watch(WatchFeed):
    """One resource on one node."""

    __slots__ = ("_owner", "_revisions", "resource", "revision")

    def __init__(self, owner: KubeWatches, resource: int) -> None:
        super().__init__()
        self._owner = owner
        self._revisions: dict[bytes, int] = {}  # of objects that were seen: 0 when deleted
        self.resource = resource
        self.revision = 0  # of the last event

    def heard(self, body: bytes, now: float) -> None:
        try:
            events = events_of(body)
            for event in events:
                self._check(event)
        except (WrongAnswer, ProtocolError) as error:
            self._owner.fail(str(error))
            return
        self._owner.count(len(events), now)

    def broken(self, reason: str) -> None:
        self._owner.fail(reason)

    def _check(self, event: kv_pb2.Event) -> None:
        pair = event.kv
        created = event.type == kv_pb2.Event.PUT and pair.create_revision == pair.mod_revision
        before = 0 if created else event.prev_kv.mod_revision
        known = self._revisions.get(pair.key, before)
        if before != known or pair.mod_revision <= max(known, self.revision - 1):
            raise WrongAnswer(
                f"a watch of {pair.key!r} went from revision {known} to {pair.mod_revision}, which "
                f"says that {before} was before it"
            )
        if event.type == kv_pb2.Event.PUT:
            self._owner.workload.check_pair(pair)
        self._revisions[pair.key] = pair.mod_revision if event.type == kv_pb2.Event.PUT else 0
        self.revision = pair.mod_revision


class KubeWatches:
    """All of them. Use: `await open()`, then the load, `await finish()`, `close()`."""

    def __init__(
        self,
        workload: Kube,
        endpoints: Sequence[str],
        timeout: float,
        failed: Callable[[str], None],
    ) -> None:
        """`failed` is told the first thing that is wrong."""
        self.workload = workload
        self._endpoints = endpoints
        self._timeout = timeout
        self._failed = failed
        self._closing = False
        self._connections: list[Connection] = []
        self._watches: list[Watch] = []
        self._window = Window(0.0, 0.0)
        self._events = 0

    async def open(self) -> None:
        """Raises LoadError."""
        self._connections = await connect_all(self._endpoints, (WATCH_PATH,))
        wanted = []
        for connection in self._connections:
            for at, each in enumerate(RESOURCES):
                watch = Watch(self, at)
                self._watches.append(watch)
                begin = create(each.prefix, each.end, prev_kv=True, progress_notify=True)
                wanted.append((connection, watch, begin))
        await open_watches(wanted, 0, self._timeout)

    def measure(self, window: Window) -> None:
        """Count the events of this time."""
        self._window = window

    async def finish(self) -> dict[str, float]:
        """Wait for the events of the load's last writes; what was counted. Raises LoadError."""
        deadline = monotonic() + self._timeout
        written = self.workload.written
        while any(each.revision < written[each.resource] for each in self._watches):
            if monotonic() > deadline:
                raise LoadError(f"watches miss their last events after {self._timeout:g} s")
            await asyncio.sleep(_POLL_S)
        return {"events": float(self._events)}

    def close(self) -> None:
        """End the watches."""
        self._closing = True
        for connection in self._connections:
            connection.close()

    # What watches report.

    def count(self, events: int, now: float) -> None:
        """So many were right."""
        if self._window.begin <= now < self._window.end:
            self._events += events

    def fail(self, reason: str) -> None:
        """Something was wrong."""
        if not self._closing:
            self._closing = True
            self._failed(reason)

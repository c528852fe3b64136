"""Watchers of all that happens, one per member, which take up again what a fault cut off."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import grpc.aio

from cluster.supervisor import LocalCluster
from tests.robustness.client import Client
from tests.robustness.history import Event
from tests.robustness.load import PATIENCE
from tests.robustness.verify import endpoints

STREAM_SECONDS = 120.0
RETRY_SECONDS = 0.05


class Collector:
    """Follows one member from revision 1 on; resumes behind what it has when the stream ends."""

    def __init__(self, client: Client) -> None:
        self.responses: list[Sequence[Event]] = []
        self.breaks = 0
        self._client = client
        self._next = 1
        self._progress = asyncio.Condition()

    @property
    def events(self) -> list[Event]:
        return [event for response in self.responses for event in response]

    async def follow(self) -> None:
        while True:
            with contextlib.suppress(grpc.aio.AioRpcError):
                async with contextlib.aclosing(
                    self._client.watch(self._next, STREAM_SECONDS)
                ) as responses:
                    async for events in responses:
                        await self._note(events)
            self.breaks += 1
            await asyncio.sleep(RETRY_SECONDS)

    async def _note(self, events: Sequence[Event]) -> None:
        if events:
            self.responses.append(events)
            self._next = events[-1].revision + 1
            async with self._progress:
                self._progress.notify_all()

    async def reached(self, revision: int) -> None:
        async with asyncio.timeout(PATIENCE), self._progress:
            await self._progress.wait_for(lambda: self._next > revision)


@asynccontextmanager
async def collectors(cluster: LocalCluster) -> AsyncIterator[dict[str, Collector]]:
    """One collector per member."""
    async with contextlib.AsyncExitStack() as stack:
        found = {}
        for name, endpoint in endpoints(cluster).items():
            client = await stack.enter_async_context(Client(name, endpoint, []))
            found[name] = Collector(client)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(each.follow()) for each in found.values()]
            yield found
            for task in tasks:
                task.cancel()

"""A paced load of recorded calls on the members of a cluster, and what it tells of interruptions.

Each worker calls one member, one call after the other, never more often than its pace; so the load
asks the same of a busy machine as of an idle one.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import NamedTuple, Self

from tests.robustness.client import Client
from tests.robustness.history import Kind, Operation, Outcome, new_value

GAP_MS_MAX = 500.0  # what clients of the other nodes may notice of a fault
PATIENCE = 20.0  # seconds for what takes one on an idle machine
PACE = 0.03  # seconds between the beginnings of one worker's calls
_RETRY_PAUSE = 0.02  # seconds; a member that is gone refuses at once
_MS = 1_000_000  # nanoseconds


class Mix(NamedTuple):
    """What the workers call, in parts of all calls; the rest are puts."""

    gets: float = 0.3
    swaps: float = 0.15
    deletes: float = 0.05
    sizes: tuple[int, ...] = (32, 32, 32, 5000, 64 << 10)  # bytes of values, drawn evenly
    keys: int = 12


PUTS = Mix(0, 0, 0, keys=3)
GETS = Mix(1, 0, 0, keys=3)


class Load:
    """Workers on each of the given members, `per_member` of them. Inside the context they call."""

    def __init__(
        self,
        endpoints: dict[str, str],
        *,
        per_member: int = 4,
        mix: Mix | None = None,
        pace: float = PACE,
        operations: list[Operation] | None = None,
    ) -> None:
        self.operations: list[Operation] = [] if operations is None else operations
        self.mix = mix or Mix()
        self._pace = pace
        self._places = [place for place in endpoints.items() for _ in range(per_member)]
        self._stopping = asyncio.Event()
        self._stack = AsyncExitStack()
        self._tasks: list[asyncio.Task[None]] = []
        self._progress = asyncio.Condition()

    async def __aenter__(self) -> Self:
        group = await self._stack.enter_async_context(asyncio.TaskGroup())
        for number, (member, endpoint) in enumerate(self._places):
            client = Client(member, endpoint, self.operations)
            self._tasks.append(group.create_task(self._work(client, number)))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Calls under way are finished (they have deadlines) and recorded."""
        self._stopping.set()
        await self._stack.__aexit__(kind, error, traceback)

    async def _work(self, client: Client, number: int) -> None:
        draw = random.Random(number)
        known: dict[str, int] = {}  # mod revisions as this worker saw them last
        async with client:
            while not self._stopping.is_set():
                begun = time.monotonic()
                operation = await self._call(client, draw, known)
                async with self._progress:
                    self._progress.notify_all()
                pause = self._pace if operation.outcome is Outcome.OK else _RETRY_PAUSE
                await asyncio.sleep(max(0.0, begun + pause - time.monotonic()))

    async def _call(self, client: Client, draw: random.Random, known: dict[str, int]) -> Operation:
        mix = self.mix
        key = key_of(draw.randrange(mix.keys))
        choice = draw.random()
        if choice < mix.gets:
            operation = await client.get(key)
            if operation.outcome is Outcome.OK:
                known[key] = operation.found.mod_revision if operation.found else 0
            return operation
        if choice < mix.gets + mix.deletes:
            return await client.delete(key)
        value = new_value(draw.choice(mix.sizes))
        if choice < mix.gets + mix.deletes + mix.swaps:
            return await client.swap(key, known.get(key, 0), value)
        return await client.put(key, value)

    async def more_puts(self, count: int, members: Sequence[str], timeout: float) -> None:
        """Waits for so many acknowledged puts, begun from now on, on each of these members."""
        await self._more(Kind.PUT, count, members, timeout)

    async def more_gets(self, count: int, members: Sequence[str], timeout: float) -> None:
        """As `more_puts`, for reads."""
        await self._more(Kind.GET, count, members, timeout)

    async def _more(self, kind: Kind, count: int, members: Sequence[str], timeout: float) -> None:
        first = len(self.operations)

        def done() -> bool:
            good = Counter(
                each.member
                for each in self.operations[first:]
                if each.kind is kind and each.outcome is Outcome.OK
            )
            return all(good[member] >= count for member in members)

        async with asyncio.timeout(timeout), self._progress:
            await self._progress.wait_for(done)

    def gap_ms(self, since: int, upto: int | None = None) -> float:
        """Longest time without an acknowledged put from one moment (monotonic ns) to another, or
        to the last put, in ms."""
        ends = sorted(
            each.end
            for each in self.operations
            if each.kind is Kind.PUT and each.outcome is Outcome.OK
        )
        moments = [since, *(end for end in ends if since <= end and (upto is None or end < upto))]
        moments.extend(() if upto is None else (upto,))
        gaps = [later - earlier for earlier, later in itertools.pairwise(moments)]
        return max(gaps, default=0) / _MS


def key_of(number: int) -> str:
    """The keys of every load: 0 to `Mix.keys` - 1."""
    return f"k{number}"

"""Threads that wait for the disk, so that the node's loop does not have to."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from queue import SimpleQueue

THREADS = 4  # what a disk can do at once, more or less

_Job = tuple[Callable[[], None], Callable[[], None]]


class DiskReader:
    """The driver's Reader on an event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        # Bounded by its use: background jobs have one read under way each, the others are of values
        # that somebody waits for (racos.node.values.FETCHES_MAX on each node).
        self._queue: SimpleQueue[_Job | None] = SimpleQueue()
        self._threads = [
            threading.Thread(target=self._run, name=f"reads-{number}", daemon=True)
            for number in range(THREADS)
        ]
        for thread in self._threads:
            thread.start()

    def start(self, work: Callable[[], None], done: Callable[[], None]) -> None:
        self._queue.put((work, done))

    def close(self, seconds: float = 5.0) -> None:
        """End the threads after what they are doing."""
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            thread.join(seconds)

    def _run(self) -> None:
        while (job := self._queue.get()) is not None:
            work, done = job
            work()
            self._loop.call_soon_threadsafe(done)

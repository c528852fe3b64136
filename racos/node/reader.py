"""A thread that waits for the disk, so that the node's loop does not have to."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from queue import SimpleQueue

_Job = tuple[Callable[[], None], Callable[[], None]]


class DiskReader:
    """The driver's Reader on an event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        # Bounded by its use: each background job has one read under way.
        self._queue: SimpleQueue[_Job | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="reads", daemon=True)
        self._thread.start()

    def start(self, work: Callable[[], None], done: Callable[[], None]) -> None:
        self._queue.put((work, done))

    def close(self, seconds: float = 5.0) -> None:
        """End the thread after what it is doing."""
        self._queue.put(None)
        self._thread.join(seconds)

    def _run(self) -> None:
        while (job := self._queue.get()) is not None:
            work, done = job
            work()
            self._loop.call_soon_threadsafe(done)

"""The thread that writes and syncs the log: one batch at a time, no GIL held while the kernel
works.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from queue import SimpleQueue

from racos.storage.log import Batch


class ThreadFlusher:
    """The driver's Flusher on an event loop. A failed batch is final: `failed` is told."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        done: Callable[[Batch], None],
        failed: Callable[[BaseException], None],
    ) -> None:
        self._loop = loop
        self._done = done
        self._failed = failed
        # Bounded by its use: the log has one batch in flight.
        self._queue: SimpleQueue[Batch | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def start(self, batch: Batch) -> None:
        self._queue.put(batch)

    def close(self, seconds: float = 5.0) -> None:
        """End the thread after what it is doing."""
        self._queue.put(None)
        self._thread.join(seconds)

    def _run(self) -> None:
        while (batch := self._queue.get()) is not None:
            try:
                batch.run()
            except OSError as error:
                self._loop.call_soon_threadsafe(self._failed, error)
                return
            self._loop.call_soon_threadsafe(self._done, batch)

"""Who writes and syncs the log: this thread while that is quick, another one when it is not.

Handing a batch to a thread and its end back costs two switches, each of which waits for the GIL and
for a core; on a busy machine with a fast disk that is more than the sync itself. So batches are
synced in place as long as syncs have lately been quick. Very large ones, and all on a slow disk, go
to the thread, which holds no GIL while the kernel works.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue

from racos.storage.log import Batch

IN_PLACE_BYTES_MAX = 1 << 20
IN_PLACE_SECONDS_MAX = 0.006  # smoothed time of a sync up to which the loop may wait for it
TRY_AGAIN_SECONDS = 1.0  # after a slow sync, before one is done in place again
_SMOOTHING = 0.1


class LogFlusher:
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
        self._seconds = 0.0  # smoothed time of syncs in place
        self._slow_until = 0.0
        # Bounded by its use: the log has one batch in flight.
        self._queue: SimpleQueue[Batch | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def start(self, batch: Batch) -> bool:
        """Make a batch durable: at once (True), or later, and then call `done` with it."""
        if batch.size > IN_PLACE_BYTES_MAX or self._loop.time() < self._slow_until:
            self._queue.put(batch)
            return False
        return self._run_in_place(batch)

    def close(self, seconds: float = 5.0) -> None:
        """End the thread after what it is doing."""
        self._queue.put(None)
        self._thread.join(seconds)

    def _run_in_place(self, batch: Batch) -> bool:
        begun = time.perf_counter()
        try:
            batch.run()
        except OSError as error:
            self._failed(error)
            return False
        took = time.perf_counter() - begun
        self._seconds += _SMOOTHING * (took - self._seconds)
        if self._seconds > IN_PLACE_SECONDS_MAX:
            self._slow_until = self._loop.time() + TRY_AGAIN_SECONDS
            self._seconds = IN_PLACE_SECONDS_MAX / 2
        return True

    def _run(self) -> None:
        while (batch := self._queue.get()) is not None:
            try:
                batch.run()
            except OSError as error:
                self._loop.call_soon_threadsafe(self._failed, error)
                return
            self._loop.call_soon_threadsafe(self._done, batch)

"""What one stream still has to send, and how much its peer takes (RFC 9113 section 5.2)."""

from __future__ import annotations

import asyncio
from collections import deque


class Flow:
    """Bytes that wait for a window, and the frames that follow the last of them.

    Bounded by whoever adds: an answer to a call is there once, and a stream waits for `drained`
    before it adds more.
    """

    __slots__ = ("last", "parts", "waiter", "window")

    def __init__(self, window: int) -> None:
        self.window = window  # bytes the peer takes; may be negative (RFC 9113 6.9.2)
        self.parts: deque[memoryview] = deque()
        self.last = b""  # frames to send behind all parts, which end the stream
        self.waiter: asyncio.Future[None] | None = None

    def add(self, data: bytes) -> None:
        if data:
            self.parts.append(memoryview(data))

    def take(self, size_max: int) -> memoryview:
        """The next bytes, at most `size_max` of them; there must be some."""
        part = self.parts[0]
        if len(part) <= size_max:
            return self.parts.popleft()
        self.parts[0] = part[size_max:]
        return part[:size_max]

    def drained(self) -> asyncio.Future[None]:
        """Done when nothing waits any more; for one waiter at a time."""
        self.waiter = asyncio.get_running_loop().create_future()
        return self.waiter

    def wake(self, error: Exception | None = None) -> None:
        waiter, self.waiter = self.waiter, None
        if waiter is None or waiter.done():
            return
        if error is None:
            waiter.set_result(None)
        else:
            waiter.set_exception(error)

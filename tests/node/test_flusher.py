"""Who syncs: the loop's own thread while that is quick, the other one for what is large or slow."""

from __future__ import annotations

import asyncio
import threading
from typing import cast

import pytest

from racos.node import flusher as module
from racos.node.flusher import IN_PLACE_BYTES_MAX, LogFlusher
from racos.storage.log import Batch


class Work:
    """A batch as far as the flusher knows one; remembers the thread that ran it."""

    def __init__(self, size: int = 100, error: OSError | None = None) -> None:
        self.size = size
        self.error = error
        self.thread: threading.Thread | None = None

    def run(self) -> None:
        self.thread = threading.current_thread()
        if self.error is not None:
            raise self.error


class Owner:
    """What the node does with a flusher."""

    def __init__(self) -> None:
        self.ended: asyncio.Queue[object] = asyncio.Queue()
        put = self.ended.put_nowait
        self.flusher = LogFlusher(asyncio.get_running_loop(), put, put)

    def start(self, work: Work) -> bool:
        return self.flusher.start(cast(Batch, work))

    async def end(self) -> object:
        async with asyncio.timeout(5):
            return await self.ended.get()


async def test_a_small_batch_is_done_at_once_in_this_thread() -> None:
    owner, work = Owner(), Work()
    assert owner.start(work)
    assert work.thread is threading.current_thread()
    assert owner.ended.empty()
    owner.flusher.close()


async def test_a_large_batch_is_done_by_the_other_thread_and_told_later() -> None:
    owner, work = Owner(), Work(IN_PLACE_BYTES_MAX + 1)
    assert not owner.start(work)
    assert await owner.end() is work
    assert work.thread is not threading.current_thread()
    owner.flusher.close()


async def test_after_slow_syncs_the_other_thread_takes_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "IN_PLACE_SECONDS_MAX", -1.0)  # every sync counts as slow
    owner, second = Owner(), Work()
    assert owner.start(Work())
    assert not owner.start(second)
    assert await owner.end() is second
    assert second.thread is not threading.current_thread()
    owner.flusher.close()


@pytest.mark.parametrize("size", [100, IN_PLACE_BYTES_MAX + 1], ids=["in place", "thread"])
async def test_a_failed_sync_is_told_and_never_taken_for_done(size: int) -> None:
    owner, error = Owner(), OSError(5, "no more disk")
    assert not owner.start(Work(size, error))
    assert await owner.end() is error
    assert owner.ended.empty()
    owner.flusher.close()

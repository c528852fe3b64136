"""One Watch stream: its watchers, its outbox, and the reading of history for those behind.

Everything that leaves goes through the one outbox, in order. That gives the orderings clients rely
on: the created answer before the watcher's first event, no event after the canceled answer, and a
progress notice behind every event up to its revision.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from typing import TypeAlias

from etcdshim.asgi import GrpcError, Stream
from etcdshim.backend import Backend
from etcdshim.errors import (
    WATCH_DUPLICATE_ID,
    WATCH_EMPTY_RANGE,
    BackendFailure,
    Refusal,
    translate,
)
from etcdshim.header import Headers, wants_leader
from etcdshim.limits import Limits
from etcdshim.pb import rpc_pb2 as pb
from etcdshim.watch_catch_up import read_history
from etcdshim.watch_events import Answer
from etcdshim.watch_hub import Hub, Watcher

_NO_WATCH_ID = -1  # answers that belong to no watcher: failed creates, manual progress

_Entry: TypeAlias = pb.WatchResponse | bytes | Answer


class WatchSession:
    """The state of one stream. `run` is the whole life of it."""

    def __init__(
        self, stream: Stream, backend: Backend, hub: Hub, limits: Limits, headers: Headers
    ) -> None:
        self.wants_leader = wants_leader(stream)
        self._stream = stream
        self._backend = backend
        self._hub = hub
        self._limits = limits
        self._headers = headers
        self._watchers: dict[int, Watcher] = {}
        self._behind: dict[Watcher, None] = {}
        self._next_id = 0
        self._outbox: deque[tuple[_Entry, int]] = deque()  # with its size in bytes
        self._outbox_bytes = 0
        self._work = asyncio.Event()  # something to send, to read from history, or the end
        self._room = asyncio.Event()
        self._room.set()
        self._end: GrpcError | None = None
        self._progress_timer: asyncio.TimerHandle | None = None

    async def run(self) -> None:
        """Serve until the call is cancelled, or end it with an error. A client that closes its side
        of the stream still gets its events."""
        self._hub.join(self)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._read_requests())
                await self._write_answers()
        except ExceptionGroup as group:
            raise group.exceptions[0] from None
        finally:
            self._leave()

    # ------------------------------------------------------------ what the hub calls

    def has_room(self) -> bool:
        return (
            self._outbox_bytes < self._limits.watch_outbox_bytes
            and len(self._outbox) < self._limits.watch_outbox_entries
        )

    def put_answer(self, watcher: Watcher, answer: Answer | bytes) -> None:
        """Queue events for one of this stream's watchers."""
        watcher.quiet = False
        self._put(answer, len(answer) if isinstance(answer, bytes) else answer.size)

    def fall_behind(self, watcher: Watcher) -> None:
        """A watcher the hub had no room for; it is out of the hub's index, its position is set."""
        self._behind[watcher] = None
        self._work.set()

    def lose_synced(self, position: int) -> None:
        """Take all watchers out of the hub; they need what comes from `position` on."""
        for watcher in self._watchers.values():
            if watcher not in self._behind:
                self._hub.discard(watcher)
                watcher.position = max(watcher.position, position)
                self.fall_behind(watcher)

    def end(self, error: GrpcError) -> None:
        self._end = error
        self._work.set()

    # ------------------------------------------------------------ requests

    async def _read_requests(self) -> None:
        while (request := await self._stream.receive()) is not None:
            assert isinstance(request, pb.WatchRequest)
            # A client that asks without reading the answers must wait. No deadline of its own: the
            # layer below ends a stream whose reader has stopped.
            await self._room.wait()
            match request.WhichOneof("request_union"):
                case "create_request":
                    self._create(request.create_request)
                case "cancel_request":
                    self._cancel(request.cancel_request.watch_id)
                case "progress_request":
                    self._report_progress(tuple(self._watchers.values()), _NO_WATCH_ID)
                case _:
                    pass  # etcd ignores an empty request

    def _create(self, request: pb.WatchCreateRequest) -> None:
        refused = self._why_not(request)
        if refused is not None:
            self._answer(
                pb.WatchResponse(
                    watch_id=_NO_WATCH_ID, created=True, canceled=True, cancel_reason=refused
                )
            )
            return
        watcher = Watcher(self, self._choose_id(request.watch_id), request, self._limits)
        self._watchers[watcher.id] = watcher
        self._answer(pb.WatchResponse(watch_id=watcher.id, created=True))
        if not watcher.start_asked:
            watcher.position = self._backend.revision + 1
        if watcher.position > self._hub.dispatched:
            self._hub.add(watcher)
        else:
            self.fall_behind(watcher)
        if watcher.progress_notify and self._progress_timer is None:
            self._arm_progress_timer()

    def _why_not(self, request: pb.WatchCreateRequest) -> str | None:
        """The reason to refuse a watcher."""
        if request.start_revision < 0:
            _, text = Refusal.COMPACTED.value
            return str(text)
        if request.range_end not in (b"", b"\0") and (request.key or b"\0") >= request.range_end:
            return WATCH_EMPTY_RANGE
        if request.watch_id in self._watchers and request.watch_id != 0:
            return WATCH_DUPLICATE_ID
        return None

    def _choose_id(self, asked: int) -> int:
        if asked:
            return asked
        while self._next_id in self._watchers:
            self._next_id += 1
        chosen = self._next_id
        self._next_id += 1
        return chosen

    def _cancel(self, watch_id: int) -> None:
        watcher = self._watchers.get(watch_id)
        if watcher is not None:
            self._remove(watcher)
            self._answer(pb.WatchResponse(watch_id=watch_id, canceled=True))

    def _remove(self, watcher: Watcher) -> None:
        del self._watchers[watcher.id]
        if watcher in self._behind:
            del self._behind[watcher]
        else:
            self._hub.discard(watcher)

    def _answer(self, response: pb.WatchResponse, revision: int | None = None) -> None:
        self._headers.stamp(
            response.header, self._backend.revision if revision is None else revision
        )
        self._put(response, 0)

    # ------------------------------------------------------------ progress

    def _report_progress(self, watchers: tuple[Watcher, ...], watch_id: int) -> None:
        """Say that all events up to the header's revision were sent; say nothing if they were not,
        or if one of the watchers begins later."""
        revision = self._hub.dispatched
        if not watchers or any(
            watcher in self._behind or revision < watcher.start_asked for watcher in watchers
        ):
            return
        self._answer(pb.WatchResponse(watch_id=watch_id), revision)

    def _arm_progress_timer(self) -> None:
        jitter = self._limits.watch_progress_jitter
        delay = self._limits.watch_progress_notify_interval
        delay *= 1 + random.uniform(-jitter, jitter)
        self._progress_timer = asyncio.get_running_loop().call_later(delay, self._tick)

    def _tick(self) -> None:
        for watcher in self._watchers.values():
            if watcher.progress_notify:
                if watcher.quiet and self.has_room():
                    self._report_progress((watcher,), watcher.id)
                watcher.quiet = True
        self._arm_progress_timer()

    # ------------------------------------------------------------ answers

    def _put(self, entry: _Entry, size: int) -> None:
        self._outbox.append((entry, size))
        self._outbox_bytes += size
        if not self.has_room():
            self._room.clear()
        self._work.set()

    async def _write_answers(self) -> None:
        while True:
            if self._end is not None:
                raise self._end
            if self._outbox:
                await self._send(*self._outbox[0])
            elif self._behind:
                self._catch_up()
                await asyncio.sleep(0)  # history may be long: let the others run
            else:
                self._work.clear()
                await self._work.wait()

    async def _send(self, entry: _Entry, size: int) -> None:
        """Send the outbox's first entry; it leaves the outbox only when it was sent."""
        if isinstance(entry, Answer):
            try:
                messages = await entry.encode(self._backend)
            except BackendFailure as failure:
                raise translate(failure) from failure
            for message in messages:
                await self._stream.send(message)
        else:
            await self._stream.send(entry)
        self._outbox.popleft()
        self._outbox_bytes -= size
        if self.has_room():
            self._room.set()

    def _catch_up(self) -> None:
        """Queue the next piece of history for those behind; who has all of it becomes synced."""
        self._drop_compacted()
        if not self._behind:
            return
        target = self._hub.dispatched
        piece = read_history(self._backend, tuple(self._behind), target, self._limits)
        header = self._hub.header_at(target)
        for watcher, events in piece.events.items():
            self.put_answer(watcher, watcher.answer(header, events))
        for watcher in tuple(self._behind):
            watcher.position = max(watcher.position, piece.reached + 1)
            if watcher.position > target:
                del self._behind[watcher]
                self._hub.add(watcher)

    def _drop_compacted(self) -> None:
        compacted = self._backend.compact_revision
        for watcher in tuple(self._behind):
            if watcher.position < compacted:
                self._remove(watcher)
                self._answer(
                    pb.WatchResponse(
                        watch_id=watcher.id, canceled=True, compact_revision=compacted
                    ),
                    revision=0,
                )

    def _leave(self) -> None:
        self._hub.leave(self)
        if self._progress_timer is not None:
            self._progress_timer.cancel()
        for watcher in tuple(self._watchers.values()):
            self._remove(watcher)
        self._outbox.clear()

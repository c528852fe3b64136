"""Carries the changes of one backend to all watchers of all streams.

Theory of operation. A watcher is in one of two places. *Synced*: it has been given every event up
to `Hub.dispatched`, sits in the hub's index, and new events are put into its stream's outbox as
they are applied. *Behind*: its stream knows the next revision it needs, and reads the history when
it has room (watch_catch_up). A watcher starts behind when it asks for old revisions, and falls
behind when its stream's outbox is full: then the stream keeps a position instead of events, so a
slow reader costs no memory. Dispatching and the step from behind to synced never await, so that no
event can fall between the two.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

from etcdshim.asgi import GrpcError
from etcdshim.backend import Backend
from etcdshim.errors import Refusal
from etcdshim.header import Headers
from etcdshim.limits import Limits
from etcdshim.pb import rpc_pb2 as pb
from etcdshim.watch_events import Answer, SharedEvent, header_field, watch_id_field
from etcdshim.watch_index import Span, WatcherIndex
from racos.mvcc.command import Event
from racos.mvcc.errors import Compacted

_LEADER_CHECK_S = 1.0
_JUMP_REVISIONS_MAX = 10_000


class Session(Protocol):
    """One Watch stream, as the hub sees it."""

    wants_leader: bool

    def has_room(self) -> bool: ...

    def put_answer(self, watcher: Watcher, answer: Answer | bytes) -> None: ...

    def fall_behind(self, watcher: Watcher) -> None: ...

    def lose_synced(self, position: int) -> None: ...

    def end(self, error: GrpcError) -> None: ...


class Watcher:
    """One watcher. `position` is the next revision whose events it must get."""

    __slots__ = (
        "fragment_bytes",
        "id",
        "id_field",
        "no_delete",
        "no_put",
        "position",
        "prev_kv",
        "progress_notify",
        "quiet",
        "session",
        "span",
        "start_asked",
    )

    def __init__(
        self, session: Session, watch_id: int, request: pb.WatchCreateRequest, limits: Limits
    ) -> None:
        filters = frozenset(request.filters)
        self.session = session
        self.id = watch_id
        self.id_field = watch_id_field(watch_id)
        self.span: Span = span_of(request)
        self.start_asked = request.start_revision  # 0: from the next revision on
        self.position = request.start_revision
        self.prev_kv = request.prev_kv
        self.progress_notify = request.progress_notify
        self.quiet = True  # no event since the last tick of the progress timer
        self.fragment_bytes = limits.watch_fragment_bytes if request.fragment else 0
        self.no_put = pb.WatchCreateRequest.NOPUT in filters
        self.no_delete = pb.WatchCreateRequest.NODELETE in filters

    def wants(self, event: Event) -> bool:
        return not (self.no_delete if event.is_delete else self.no_put)

    def answer(self, header: bytes, events: Sequence[SharedEvent]) -> Answer:
        return Answer(
            header,
            self.id_field,
            events,
            prev_kv=self.prev_kv,
            fragment_bytes=self.fragment_bytes,
        )


def span_of(request: pb.WatchCreateRequest) -> Span:
    """The keys of a create request: an empty key is the least one, a zero byte as end is no end."""
    key = request.key or b"\0"
    if not request.range_end:
        return key, None
    return key, b"" if request.range_end == b"\0" else request.range_end


class Hub:
    """The one subscriber of a backend, and the index of its synced watchers."""

    __slots__ = (
        "_backend",
        "_headers",
        "_index",
        "_leader_timer",
        "_leaderless_s",
        "_limits",
        "_sessions",
        "_stopped",
        "_unsubscribe",
        "dispatched",
    )

    def __init__(self, backend: Backend, limits: Limits, headers: Headers) -> None:
        self._backend = backend
        self._headers = headers
        self._limits = limits
        self._index: WatcherIndex[Watcher] = WatcherIndex()
        self._sessions: dict[Session, None] = {}
        self._stopped = False
        self._leader_timer: asyncio.TimerHandle | None = None
        self._leaderless_s = 0.0
        self.dispatched = backend.revision  # newest revision handed to the synced watchers
        self._unsubscribe = backend.subscribe(self._handle_applied)

    def join(self, session: Session) -> None:
        """Take in a stream. Raises when the server is stopping."""
        if self._stopped:
            raise Refusal.STOPPED.error()
        self._sessions[session] = None
        if session.wants_leader and self._leader_timer is None:
            self._arm_leader_timer()

    def leave(self, session: Session) -> None:
        self._sessions.pop(session, None)

    def add(self, watcher: Watcher) -> None:
        """Make a watcher synced. It must have been given every event up to `dispatched`."""
        assert watcher.position > self.dispatched
        self._index.add(watcher.span, watcher)

    def discard(self, watcher: Watcher) -> None:
        self._index.discard(watcher.span, watcher)

    def close(self) -> None:
        """End every stream; refuse new ones."""
        self._stopped = True
        self._unsubscribe()
        if self._leader_timer is not None:
            self._leader_timer.cancel()
        for session in tuple(self._sessions):
            session.end(Refusal.STOPPED.error())

    def header_at(self, revision: int) -> bytes:
        """The header field of an answer given at `revision`."""
        header = pb.ResponseHeader()
        self._headers.stamp(header, revision)
        return header_field(header)

    def _handle_applied(self, first: int, last: int) -> None:
        # Counted from `dispatched`, not from what the notice says: no revision can be skipped.
        del first
        if last > self.dispatched + _JUMP_REVISIONS_MAX:
            # The member took the state of another: each stream reads on at its own pace.
            for session in tuple(self._sessions):
                session.lose_synced(self.dispatched + 1)
        elif self._sessions and last > self.dispatched:
            try:
                for revision, events in self._backend.history(self.dispatched + 1, last):
                    self._dispatch(revision, events)
                    self.dispatched = revision
            except Compacted:
                # Compacted before we were told: those who needed it will learn so by themselves.
                for session in tuple(self._sessions):
                    session.lose_synced(self.dispatched + 1)
        self.dispatched = max(self.dispatched, last)

    def _dispatch(self, revision: int, events: Sequence[Event]) -> None:
        """Give one revision's events to the synced watchers, all of them in one answer each."""
        concerned: dict[Watcher, list[SharedEvent]] = {}
        for event in events:
            shared: SharedEvent | None = None
            for watcher in self._index.matching(event.kv.key):
                if revision >= watcher.position and watcher.wants(event):
                    shared = shared or SharedEvent(event)
                    concerned.setdefault(watcher, []).append(shared)
        if concerned:
            self._hand_out(revision, concerned)

    def _hand_out(self, revision: int, concerned: dict[Watcher, list[SharedEvent]]) -> None:
        header = self.header_at(revision)
        # Many streams have a watcher of the same id on the same keys: one message serves them all.
        made: dict[tuple[bytes, bool, int, tuple[int, ...]], Answer | bytes] = {}
        for watcher, events in concerned.items():
            if not watcher.session.has_room():
                self._index.discard(watcher.span, watcher)
                watcher.position = revision
                watcher.session.fall_behind(watcher)
                continue
            alike = (
                watcher.id_field,
                watcher.prev_kv,
                watcher.fragment_bytes,
                tuple(map(id, events)),
            )
            if alike not in made:
                made[alike] = self._encode(watcher.answer(header, events))
            watcher.session.put_answer(watcher, made[alike])

    def _encode(self, answer: Answer) -> Answer | bytes:
        messages = answer.try_encode(self._backend)
        return answer if messages is None or len(messages) > 1 else messages[0]

    def _arm_leader_timer(self) -> None:
        self._leader_timer = asyncio.get_running_loop().call_later(
            _LEADER_CHECK_S, self._check_leader
        )

    def _check_leader(self) -> None:
        """End the streams that insist on a quorum when there was none for a while."""
        self._leader_timer = None
        waiting = [session for session in self._sessions if session.wants_leader]
        if not waiting:
            self._leaderless_s = 0.0
            return
        if self._backend.status().leader:
            self._leaderless_s = 0.0
        else:
            self._leaderless_s += _LEADER_CHECK_S
            if self._leaderless_s >= self._limits.no_leader_after:
                for session in waiting:
                    session.end(Refusal.NO_LEADER.error())
        self._arm_leader_timer()

"""State transfer: a replica that is behind what the others remember takes the state itself.

It asks one that is ahead for its index as it was after some applied batch, chunk by chunk, each
asked for when the one before was kept, and stages it in an index of its own beside the one it has.
When all is there and durable, that one takes the old one's place and the replica begins anew on it,
as after a restart: everything it knew of lower slots is forgotten at once, and it never votes there
again. A crash before that leaves the old index, one after it the new. If the sender dies, or takes
too long, the replica begins again with another: two indexes are not of the same moment.

What the sender's log keeps does not travel: of each coded batch that the state refers to come the
descriptor and the number of references. Fragments that this replica has are kept, the others are
missing, and healed like any others.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import NamedTuple, Protocol

from racos.core.messages import Payload, PayRecord
from racos.mvcc.shelf import KEYS_END, Shelf, Snapshot
from racos.node import checkpoint, entries, retention
from racos.node.entries import Entry
from racos.node.library import Library, Unreadable
from racos.node.wire import Behind, StateChunk, StateRequest
from racos.storage.log import Log, Place

CHUNK_BYTES = 512 << 10
SESSIONS_MAX = 2  # replicas that one sends its state to at a time
IDLE_SECONDS = 10.0  # after which the sender gives its snapshot back
PATIENCE_SECONDS = 0.3  # somebody may remember more
ANSWER_SECONDS = 1.0  # then the question is repeated
GIVE_UP_SECONDS = 4.0  # without an answer: somebody else
AVOID_SECONDS = 10.0

_REFERENCES = struct.Struct("<I")
_OWN = (retention.KEY, checkpoint.APPLIED)  # of each replica's own log


class Sending(NamedTuple):
    number: int
    frontier: int
    snapshot: Snapshot
    heard_at: float
    is_sent: bool = False  # the whole of it; the last part may still be asked for again


class Sender:
    """Gives others this replica's state."""

    __slots__ = ("_library", "_log", "_sessions", "_shelf", "now", "sent_bytes")

    def __init__(self, log: Log, shelf: Shelf, library: Library) -> None:
        self._log = log
        self._shelf = shelf
        self._library = library
        self._sessions: dict[int, Sending] = {}  # by peer
        self.now = 0.0
        self.sent_bytes = 0

    @property
    def active(self) -> bool:
        """Whether somebody may still ask for what the log has now."""
        return bool(self._sessions)

    def answer(self, peer: int, request: StateRequest, frontier: int) -> StateChunk | None:
        """The next part for this peer; None if it has to ask again later: too many are served, or a
        batch below the `frontier` is not applied yet, and the state is in the middle of it.
        """
        session = self._sessions.get(peer)
        if not request.after and (session is None or session.number != request.number):
            self.end(peer)
            if not self._has_place() or not self._library.all_applied:
                return None
            self._shelf.commit(self._log.last_sequence)
            session = Sending(request.number, frontier, self._shelf.snapshot(), self.now)
        if session is None or session.number != request.number:
            return StateChunk(request.number, 0, (), last=True)  # forgotten: it has to begin again
        self._sessions[peer] = session
        try:
            chunk = self._chunk(session, request.after)
        except Unreadable:  # named already; this replica has to be healed before it can help
            self.end(peer)
            return StateChunk(request.number, 0, (), last=True)
        self._sessions[peer] = session._replace(heard_at=self.now, is_sent=chunk.last)
        return chunk

    def _has_place(self) -> bool:
        """For one more; who has been sent everything makes place, even if it has not come yet."""
        if len(self._sessions) >= SESSIONS_MAX:
            sent = (peer for peer, session in self._sessions.items() if session.is_sent)
            self.end(next(sent, -1))
        return len(self._sessions) < SESSIONS_MAX

    def _chunk(self, session: Sending, after: bytes) -> StateChunk:
        found: list[tuple[bytes, bytes]] = []
        size = 0
        last = True
        for key, value in session.snapshot.scan(after + b"\0" if after else b"", KEYS_END):
            if size >= CHUNK_BYTES:
                last = False
                break
            if key in _OWN:
                continue
            if key.startswith(entries.PREFIX):
                value = self._portable(entries.position_of(key), value)
            found.append((key, value))
            size += len(key) + len(value)
        self.sent_bytes += size
        return StateChunk(session.number, session.frontier, tuple(found), last=last)

    def _portable(self, position: int, data: bytes) -> bytes:
        """An entry for another replica: how often it is referred to, and its descriptor."""
        entry = entries.decode(data)
        descriptor = self._library.reading.descriptor(position, entry.descriptor)
        return _REFERENCES.pack(entry.references) + descriptor

    def tick(self, now: float) -> None:
        self.now = now
        for peer, session in list(self._sessions.items()):
            if now - session.heard_at >= IDLE_SECONDS:
                self.end(peer)

    def end(self, peer: int) -> None:
        session = self._sessions.pop(peer, None)
        if session is not None:
            session.snapshot.close()

    def close(self) -> None:
        for peer in list(self._sessions):
            self.end(peer)


class Stage(Protocol):
    """Where a new index is built beside the present one."""

    def __call__(self) -> Shelf:
        """An empty index; what was staged before and not installed is gone."""


class _Taking:
    """One attempt."""

    __slots__ = ("after", "asked_at", "complete", "frontier", "heard_at", "number", "peer", "shelf")

    def __init__(self, number: int, peer: int, shelf: Shelf, now: float) -> None:
        self.number = number
        self.peer = peer
        self.shelf = shelf
        self.after = b""  # the last key that came
        self.frontier = 0
        self.heard_at = now
        self.asked_at = now
        self.complete = 0  # log sequence on which the whole rests; 0: more is to come


class Receiver:
    """Takes the state of another. `send` reaches a peer if it is connected; `append` puts a record
    into the log and returns where the descriptor is."""

    __slots__ = (
        "_append",
        "_avoid",
        "_behind_since",
        "_library",
        "_log",
        "_number",
        "_report",
        "_retention",
        "_send",
        "_stage",
        "_taking",
        "now",
        "received_bytes",
        "staged",
    )

    def __init__(
        self,
        log: Log,
        library: Library,
        kept: retention.Retention,
        stage: Stage | None,
        send: Callable[[int, StateRequest], None],
        append: Callable[[PayRecord], Place],
        report: Callable[[str], None],
        first_number: int = 0,
    ) -> None:
        self._log = log
        self._library = library
        self._retention = kept
        self._stage = stage
        self._send = send
        self._append = append
        self._report = report
        self._number = first_number  # unlike any earlier life's
        self._taking: _Taking | None = None
        self._behind_since: float | None = None
        self._avoid: dict[int, float] = {}  # peers that failed -> until when
        self.now = 0.0
        self.received_bytes = 0
        # A complete and durable index. Whoever drives this replica ends it then, puts that in the
        # place of the present one in one step, and starts a replica on it.
        self.staged: Shelf | None = None

    @property
    def active(self) -> bool:
        return self._taking is not None or self.staged is not None

    def behind(self, peer: int, message: Behind, frontier: int) -> None:
        """A peer was asked for history that it has forgotten."""
        if frontier >= message.floor or self.active:
            return
        if self._behind_since is None:
            self._behind_since = self.now
        patient = self.now - self._behind_since < PATIENCE_SECONDS
        if patient or self._avoid.get(peer, 0.0) > self.now or self._stage is None:
            return
        self._number += 1
        self._taking = _Taking(self._number, peer, self._stage(), self.now)
        self._report(f"state.taking from_lane={peer} behind={frontier} floor={message.floor}")
        self._ask(self._taking)

    def moved(self) -> None:
        """The frontier moved by itself: somebody remembers."""
        self._behind_since = None

    def _ask(self, taking: _Taking) -> None:
        taking.asked_at = self.now
        self._send(taking.peer, StateRequest(taking.number, taking.after))

    def take(self, peer: int, chunk: StateChunk) -> None:
        """A part came. One that was not asked for, or comes twice, changes nothing."""
        taking = self._taking
        if taking is None or (peer, chunk.number) != (taking.peer, taking.number):
            return
        if taking.complete or any(key <= taking.after for key, _ in chunk.entries):
            return
        if not chunk.frontier or (taking.frontier and chunk.frontier != taking.frontier):
            self._abandon("it has forgotten what it sent")
            return
        taking.frontier = chunk.frontier
        taking.heard_at = self.now
        for key, value in chunk.entries:
            self.received_bytes += len(key) + len(value)
            if key.startswith(entries.PREFIX):
                value = self._kept(entries.position_of(key), value)
            taking.shelf.put(key, value)
            taking.after = key
        if chunk.last:
            self._complete(taking)
        else:
            taking.shelf.commit(self._log.last_sequence)
            self._ask(taking)

    def _kept(self, position: int, portable: bytes) -> bytes:
        """The entry for a batch here: with the fragments that this log has, or with none yet."""
        references = _REFERENCES.unpack_from(portable)[0]
        known = self._library.known(position)
        if known is None:
            round_, lane = self._library.slot(position)
            payload = Payload(portable[_REFERENCES.size :], True)
            known = Entry(self._append(PayRecord(lane, round_, payload, 0, says_one=False)))
        entry = Entry(known.descriptor, references=references)
        entry.fragments = known.fragments
        return entries.encode(entry)

    def _complete(self, taking: _Taking) -> None:
        """All is here: it has to be durable before it counts."""
        kept = self._retention.needed(taking.frontier, self._log.last_segment)
        retention.write_start(taking.shelf, kept)
        taking.complete = self._log.last_sequence
        checkpoint.write_applied(taking.shelf, taking.frontier, taking.complete)
        taking.shelf.commit(taking.complete)

    def tick(self, now: float, frontier: int) -> None:
        """Ask again, look for another sender, or install what is durable."""
        self.now = now
        taking = self._taking
        if taking is None:
            return
        if frontier >= taking.frontier > 0:
            self._abandon("no longer needed")
        elif taking.complete:
            self._finish(taking)
        elif now - taking.heard_at >= GIVE_UP_SECONDS:
            self._abandon("no answer")
        elif now - taking.asked_at >= ANSWER_SECONDS:
            self._ask(taking)

    def _finish(self, taking: _Taking) -> None:
        shelf = taking.shelf
        shelf.durable(self._log.durable_sequence)
        if self._log.durable_sequence < taking.complete or shelf.flushing:
            return
        if shelf.flushed_sequence < taking.complete:
            shelf.flush()
            return
        self._report(f"state.taken from_lane={taking.peer} frontier={taking.frontier}")
        self._taking = None
        self.staged = shelf

    def _abandon(self, why: str) -> None:
        taking = self._taking
        assert taking is not None
        self._report(f"state.abandoned from_lane={taking.peer}: {why}")
        taking.shelf.close()
        self._avoid[taking.peer] = self.now + AVOID_SECONDS
        self._taking = None
        self._behind_since = None

    def close(self) -> None:
        if self._taking is not None:
            self._taking.shelf.close()
            self._taking = None

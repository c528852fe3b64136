"""Compares the members' states in the background: the same revision must have the same hash.

The member that tools take for the leader (the first that answers) names a revision every so often;
each hashes all it keeps of it (racos.mvcc.fingerprint), a few keys per tick, and says what came
out. Members outside a majority that agrees are named; where no majority agrees, nobody is, which
accuses the cluster as a whole. A member that is not there yet, or has compacted beyond it, has
no say; it will be asked again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from racos.core.quorum import Quorum, bits
from racos.mvcc.command import AlarmKind
from racos.mvcc.fingerprint import Fingerprint
from racos.mvcc.store import Store
from racos.mvcc.view import View
from racos.node.wire import HashReply, HashRequest


class Auditing(NamedTuple):
    """Pace and patience. Seconds."""

    every: float = 0.0  # between the end of an audit and the next; 0: none are begun here
    keys_per_tick: int = 64  # a tick is 5 ms: about a twentieth of one core
    deadline: float = 300.0  # for all answers


class AuditStatistics(NamedTuple):
    """Counts since the start."""

    audits: int  # that ended with an answer of another member
    differing: int  # of those, with different hashes
    revision: int  # of the last one; 0 if there was none


class _Job:
    """One hash to work out, and who wants it (None: this member's own audit)."""

    __slots__ = ("asked_at", "peer", "view", "wanted", "work")

    def __init__(self, wanted: HashRequest, peer: int | None, now: float) -> None:
        self.wanted = wanted
        self.peer = peer
        self.asked_at = now
        self.view: View | None = None
        self.work: Fingerprint | None = None


class _Audit:
    """An audit begun here: who has said what."""

    __slots__ = ("asked", "begun", "said", "wanted")

    def __init__(self, wanted: HashRequest, asked: int, now: float) -> None:
        self.wanted = wanted
        self.asked = asked  # bit set of lanes, this one among them
        self.begun = now
        self.said: dict[int, int] = {}  # lane -> hash


class Auditor:
    """One per node. `send` reaches a peer if it is connected; `differ` gets the lanes outside the
    majority, none of them if there is no majority."""

    __slots__ = (
        "_audit",
        "_audits",
        "_differ",
        "_differing",
        "_ended_at",
        "_jobs",
        "_me",
        "_number",
        "_quorum",
        "_revision",
        "_send",
        "_settings",
        "_store",
    )

    def __init__(
        self,
        me: int,
        quorum: Quorum,
        store: Store,
        send: Callable[[int, HashRequest | HashReply], None],
        differ: Callable[[tuple[int, ...], str], None],
        settings: Auditing,
        now: float,
    ) -> None:
        self._me = me
        self._quorum = quorum
        self._store = store
        self._send = send
        self._differ = differ
        self._settings = settings
        self._jobs: dict[int, _Job] = {}  # by who wants it: at most one for each lane
        self._audit: _Audit | None = None
        self._number = 0
        self._ended_at = now
        self._audits = self._differing = self._revision = 0

    def statistics(self) -> AuditStatistics:
        return AuditStatistics(self._audits, self._differing, self._revision)

    def on_message(self, peer: int, message: HashRequest | HashReply, now: float) -> None:
        """Another member asks, its newer question replacing an older one; or it answers."""
        if isinstance(message, HashRequest):
            self._drop(peer)
            self._jobs[peer] = _Job(message, peer, now)
        elif self._audit is not None and message.number == self._audit.wanted.number:
            if message.known:
                self._audit.said[peer] = message.hash
            else:
                self._audit.asked &= ~(1 << peer)

    def tick(self, now: float, live: int, connected: int) -> None:
        """`live` is the bit set of lanes that answer, this one among them."""
        every = self._settings.every
        if self._audit is not None:
            self._audit.asked &= connected | 1 << self._me  # who was away lost the question
            self._maybe_conclude(self._audit, now)
        elif every and now - self._ended_at >= every:
            if live & -live == 1 << self._me:
                self._begin(now, connected)
            else:
                self._ended_at = now  # it is another's turn
        if self._jobs:
            self._work(now)

    def _begin(self, now: float, connected: int) -> None:
        store = self._store
        self._ended_at = now
        if not connected or any(alarm.kind == AlarmKind.CORRUPT for alarm in store.alarms):
            return
        self._number += 1
        wanted = HashRequest(self._number, store.revision, store.compact_revision)
        self._audit = _Audit(wanted, connected | 1 << self._me, now)
        self._drop(self._me)
        self._jobs[self._me] = _Job(wanted, None, now)
        for peer in bits(connected):
            self._send(peer, wanted)

    def _work(self, now: float) -> None:
        """One step of the oldest question that can be worked on."""
        for lane, job in list(self._jobs.items()):
            if now - job.asked_at >= self._settings.deadline or not self._maybe_open(job):
                self._give_up(job, now)
                self._drop(lane)
            elif job.work is not None:
                if job.work.step(self._settings.keys_per_tick):
                    self._answer(job, job.work.value)
                    self._drop(lane)
                return

    def _maybe_open(self, job: _Job) -> bool:
        """Begin with a question as soon as its revision is here; False if it cannot be answered."""
        if job.view is not None:
            return True
        _, revision, compact_revision = job.wanted
        store = self._store
        if store.compact_revision > compact_revision:
            return False
        if store.revision >= revision:
            job.view = store.view()
            job.work = Fingerprint(job.view, revision, compact_revision)
        return True

    def _answer(self, job: _Job, value: int) -> None:
        if job.peer is not None:
            self._send(job.peer, HashReply(job.wanted.number, value))
        elif self._audit is not None:
            self._audit.said[self._me] = value

    def _give_up(self, job: _Job, now: float) -> None:
        if job.peer is not None:
            self._send(job.peer, HashReply(job.wanted.number, 0, known=False))
        else:
            self._audit = None
            self._ended_at = now

    def _drop(self, lane: int) -> None:
        job = self._jobs.pop(lane, None)
        if job is not None and job.view is not None:
            job.view.close()

    def _maybe_conclude(self, audit: _Audit, now: float) -> None:
        waits = any(lane not in audit.said for lane in bits(audit.asked))
        if waits and now - audit.begun < self._settings.deadline:
            return
        self._audit = None
        self._ended_at = now
        if len(audit.said) < 2:
            return
        self._audits += 1
        self._revision = audit.wanted.revision
        values = list(audit.said.values())
        if len(set(values)) > 1:
            self._differing += 1
            most = max(set(values), key=values.count)
            agreed = values.count(most) >= self._quorum.majority
            lanes = [lane for lane, value in audit.said.items() if value != most]
            told = ", ".join(f"lane {lane}: {said:08x}" for lane, said in audit.said.items())
            self._differ(
                tuple(sorted(lanes)) if agreed else (),
                f"hashes differ at revision {audit.wanted.revision}: {told}",
            )

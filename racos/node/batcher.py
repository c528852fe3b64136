"""What waits to be proposed: commands with the replies they owe, joined into batches.

A batch is proposed as soon as few own batches are in flight, in a round with those of other lanes
if they have some (`gathering`). Otherwise commands wait, so batches grow by themselves under load.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from racos.errors import RequestTimedOut, TooManyRequests
from racos.mvcc.command import Command, LeaseRenew, Put, Result, Txn
from racos.node.batch import BatchEncoder, Prepared
from racos.node.gathering import Gathering, Patience


class Reply(Protocol):
    """Where an outcome goes; an asyncio future is one."""

    def done(self) -> bool: ...

    def set_result(self, result: Result, /) -> None: ...

    def set_exception(self, error: Exception, /) -> None: ...


class Limits(NamedTuple):
    """Bounds of the write path."""

    in_flight: int = 4  # own batches
    batch_commands: int = 1000
    batch_bytes: int = 2 << 20
    waiting_commands: int = 20_000
    waiting_bytes: int = 256 << 20
    request_seconds: float = 7.0  # etcd: 5 s + 2 election timeouts
    patience: Patience = Patience()


class Pending(NamedTuple):
    """One command that waits."""

    command: Command
    reply: Reply
    size: int  # bytes, roughly
    deadline: float


class Proposal(NamedTuple):
    """A batch in flight, and who waits for it."""

    prepared: Prepared
    replies: Sequence[Reply]
    deadline: float
    since: float = 0.0  # when it was proposed

    def fail(self, error: Exception) -> None:
        """Tell all who still wait."""
        for reply in self.replies:
            _fail(reply, error)


class Batcher:
    __slots__ = ("_encoder", "_ready", "_waiting", "gathering", "limits", "waiting_bytes")

    def __init__(self, encoder: BatchEncoder, limits: Limits) -> None:
        self.limits = limits
        self.waiting_bytes = 0
        self.gathering = Gathering(limits.patience)
        self._encoder = encoder
        self._waiting: deque[Pending] = deque()
        self._ready: deque[Proposal] = deque()  # batches whose slot became null: first in line

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def has_work(self) -> bool:
        """Whether `next` may have something to propose."""
        return bool(self._waiting or self._ready)

    def add(self, command: Command, reply: Reply, now: float) -> None:
        """Queue a command; a full queue is refused at once."""
        limits = self.limits
        if (
            len(self._waiting) >= limits.waiting_commands
            or self.waiting_bytes >= limits.waiting_bytes
        ):
            reply.set_exception(TooManyRequests("etcdserver: too many requests"))
            return
        size = size_of(command)
        if not self._waiting:
            self.gathering.began(now)
        self.waiting_bytes += size
        self._waiting.append(Pending(command, reply, size, now + limits.request_seconds))

    def put_back(self, proposal: Proposal) -> None:
        """A batch whose slot became null is proposed again, unchanged, before anything newer; so is
        a change of the configuration, of which there is one at most."""
        self._ready.append(proposal)

    def due(self, now: float) -> float:
        """When to take what waits; not later than `now`: at once."""
        return now if self._ready else self.gathering.due(now)

    def next(self) -> Proposal | None:
        """The batch to propose now, if anything waits."""
        if self._ready:
            return self._ready.popleft()
        if not self._waiting:
            return None
        taken: list[Pending] = []
        size = 0
        limits = self.limits
        while self._waiting and len(taken) < limits.batch_commands and size < limits.batch_bytes:
            pending = self._waiting.popleft()
            self.waiting_bytes -= pending.size
            if pending.reply.done():
                continue  # its caller has gone, and nothing was promised
            taken.append(pending)
            size += pending.size
        if not taken:
            return None
        prepared = self._encoder.prepare([pending.command for pending in taken])
        return Proposal(prepared, [pending.reply for pending in taken], taken[0].deadline)

    def expire(self, now: float) -> None:
        """Answer commands that waited too long; none of them was proposed."""
        while self._waiting and self._waiting[0].deadline <= now:
            pending = self._waiting.popleft()
            self.waiting_bytes -= pending.size
            if not pending.reply.done():
                pending.reply.set_exception(RequestTimedOut())

    def fail_all(self, error: Exception) -> None:
        """Answer everything that waits; the node stops."""
        for pending in self._waiting:
            _fail(pending.reply, error)
        for proposal in self._ready:
            proposal.fail(error)
        self._waiting.clear()
        self._ready.clear()
        self.waiting_bytes = 0


def _fail(reply: Reply, error: Exception) -> None:
    if not reply.done():
        reply.set_exception(error)


def size_of(command: Command) -> int:
    """Roughly the bytes a command brings into a batch."""
    if isinstance(command, Put):
        return 32 + len(command.key) + len(command.value)
    if isinstance(command, Txn):
        return 64 + sum(
            size_of(each) if isinstance(each, Put | Txn) else 64
            for each in (*command.success, *command.failure)
        )
    return 64 + 8 * len(command.ids) if isinstance(command, LeaseRenew) else 64

"""Applies decided batches in order: commands to the store, results to whoever waits for them.

A guard that orders a coded value against a literal needs the value's bytes first; then everything
behind it waits, on every replica alike, until they are here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from racos.errors import RequestTimedOut
from racos.mvcc.command import CodedValue, Command, Compact, Put, Txn
from racos.mvcc.errors import StoreError
from racos.mvcc.store import Store
from racos.node.batcher import Reply

Load = Callable[[Sequence[CodedValue], Callable[[dict[CodedValue, bytes] | Exception], None]], None]
Step = Callable[[], None]


class Batch(NamedTuple):
    """A decided batch, or what is left of it."""

    position: int
    commands: Sequence[Command]
    replies: Sequence[Reply] | None
    start: int  # index of the first command that is not applied


class Applier:
    """Queue of decided work. `applied(first, last)` is told of new revisions (or a compaction)."""

    __slots__ = (
        "_applied",
        "_load",
        "_loaded",
        "_loading",
        "_queue",
        "_told",
        "between_batches",
        "commands",
        "position",
        "store",
        "stuck",
    )

    def __init__(
        self, store: Store, load: Load, applied: Callable[[int, int], None], position: int = 0
    ) -> None:
        self.store = store
        self.commands = 0  # applied so far
        self.position = position  # all batches below it that were added are applied
        self.between_batches = True  # no batch is half applied
        self.stuck = False  # the values that the next command needs could not be had
        self._load = load
        self._applied = applied
        self._told = store.revision, store.compact_revision  # what `applied` has heard of
        self._queue: deque[Batch | Step] = deque()
        self._loaded: dict[CodedValue, bytes] = {}
        self._loading = False

    @property
    def waiting(self) -> int:
        """Batches decided but not applied."""
        return len(self._queue)

    def add(
        self, position: int, commands: Sequence[Command], replies: Sequence[Reply] | None
    ) -> None:
        """The next decided batch; `replies` when its callers wait here."""
        self._queue.append(Batch(position, commands, replies, 0))

    def after(self, step: Step) -> None:
        """Call `step` when everything added before is applied."""
        self._queue.append(step)

    def run(self) -> None:
        """Apply what can be applied now."""
        while self._queue and not self._loading:
            entry = self._queue.popleft()
            if isinstance(entry, Batch):
                self._apply(entry)
            else:
                self._notify()
                entry()
        self._notify()

    def _notify(self) -> None:
        store = self.store
        first = self._told[0] + 1
        if self._told != (store.revision, store.compact_revision):
            self._told = store.revision, store.compact_revision
            self._applied(first, store.revision)

    def _apply(self, batch: Batch) -> None:
        store = self.store
        position, commands, replies, start = batch
        for index in range(start, len(commands)):
            command = commands[index]
            if not isinstance(command, Put):  # nearly all are puts, which need nothing
                if not self._ready(command):
                    self._queue.appendleft(batch._replace(start=index))
                    self.between_batches = index == 0
                    return
                if isinstance(command, Compact):
                    self._notify()  # the events before it are about to lose their history
            reply = replies[index] if replies is not None else None
            self.commands += 1
            try:
                result = store.apply(command, self._loaded, reply is not None)
            except StoreError as refused:
                if reply is not None and not reply.done():
                    reply.set_exception(refused)
                continue
            if reply is not None and result is not None and not reply.done():
                reply.set_result(result)
        self.position = position + 1
        self.between_batches = True

    def _ready(self, command: Command) -> bool:
        """Whether the bytes that applying this command needs are here; else start loading them."""
        if not isinstance(command, Txn):
            return True
        missing = [v for v in self.store.values_needed(command) if v not in self._loaded]
        if not missing:
            return True
        self._loading = True
        self._load(missing, self._arrived)
        return not self._loading

    def _arrived(self, outcome: dict[CodedValue, bytes] | Exception) -> None:
        self._loading = False
        self.stuck = isinstance(outcome, RequestTimedOut)
        if self.stuck:
            return  # `run` will ask again: nothing behind may overtake
        if isinstance(outcome, Exception):
            raise outcome  # the state cannot go on without these bytes
        self._loaded = outcome

"""When what was applied goes into the index, and when the index goes to the disk.

After each run of applied batches one step: the state's changes and, in the same step, the position
below which everything is applied. A step rests on the log's newest record at that moment, among
which is the one that calls these slots applied. So after any crash the log shows at least as much
applied as the index has, and the replay goes on from there.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct
from typing import Final, NamedTuple, Protocol

from racos.core.config import Config
from racos.mvcc.shelf import Shelf
from racos.mvcc.store import Store
from racos.storage.log import Damaged, Log, LogError

APPLIED: Final = b"a"  # key of the applied position
CONFIGS: Final = b"c"  # key of the configuration epochs

COMPACT_VERSIONS = 64  # looked at in one tick
LOAD_KEYS = 2000  # in one tick, after a start

_APPLIED = Struct("<QQ")  # position, log sequence
_CONFIG = Struct("<QqQ")  # epoch, first round, bit set of lanes that are off


class Flushes(NamedTuple):
    """When the index is flushed: what it, or the log, took since the last time, or how long ago
    that was. A start replays the log from there."""

    index_bytes: int = 16 << 20
    log_bytes: int = 64 << 20
    seconds: float = 30.0

    @classmethod
    def within(cls, index_bytes: int, log_bytes: int) -> Flushes:
        """The usual, but not more than these: for a small disk."""
        usual = cls()
        return cls(min(usual.index_bytes, index_bytes), min(usual.log_bytes, log_bytes))


class Applied(NamedTuple):
    """Everything below `position` is applied; the log's record `sequence` is the newest known."""

    position: int
    sequence: int


class Keeper(Protocol):
    """See racos.node.keeper."""

    def applied(self, end: int) -> None: ...

    def dropped(self) -> None: ...


class Readable(Protocol):
    """A shelf or a snapshot of one."""

    def get(self, key: bytes) -> bytes | None: ...


def read_applied(shelf: Readable) -> Applied:
    data = shelf.get(APPLIED)
    return Applied(0, 0) if data is None else Applied(*_APPLIED.unpack(data))


def write_applied(shelf: Shelf, position: int, sequence: int) -> None:
    shelf.put(APPLIED, _APPLIED.pack(position, sequence))


def read_configs(shelf: Readable) -> tuple[Config, ...]:
    """The epochs known when the index was written."""
    data = shelf.get(CONFIGS)
    return (Config(),) if data is None else tuple(map(Config._make, _CONFIG.iter_unpack(data)))


def write_configs(shelf: Shelf, known: Sequence[Config]) -> None:
    shelf.put(CONFIGS, b"".join([_CONFIG.pack(*config) for config in known]))


class Checkpoint:
    """`keeper` adds to each step what the batches in it were to the log."""

    __slots__ = (
        "_flushed_at",
        "_flushed_log",
        "_flushes",
        "_keeper",
        "_log",
        "_shelf",
        "_store",
        "found",
        "position",
    )

    def __init__(
        self, shelf: Shelf, store: Store, log: Log, keeper: Keeper, flushes: Flushes, now: float
    ) -> None:
        self._flushes = flushes
        self._shelf = shelf
        self._store = store
        self._log = log
        self._keeper = keeper
        self._flushed_at = now
        self._flushed_log = 0  # bytes written to the log when the last flush began
        self.found = read_applied(shelf)  # at start
        self.position = self.found.position  # of the newest step

    def replayed(self, frontier: int) -> None:
        """The log was read to its end. LogError if it lacks what the index rests on."""
        last = self._log.last_sequence
        if frontier < self.found.position or last < self.found.sequence:
            raise LogError(
                f"log and index do not belong together: the log ends at record {last} with slots "
                f"below {frontier} applied, the index rests on record {self.found.sequence} and "
                f"slots below {self.found.position}; the log was cut or replaced: with its own log "
                "this member starts again, without it `racos recover` rebuilds it from the others"
            )

    def continues(self, start: int, frontier: int) -> None:
        """A record of the log begins to call slots applied at `start`, with all below `frontier`
        known. LogError if slots between were never in this log: their state was taken from another
        replica, and only the index that it went into has it.
        """
        if start > frontier:
            raise Damaged(
                f"log and index do not belong together: slots {frontier} to {start - 1} are not in "
                "the log, and the index, which had them from another replica, is gone or older"
            )

    def step(self, position: int) -> None:
        """Everything below `position` is applied; no batch is half applied."""
        if position == self.position:
            return
        self.position = position
        sequence = self._log.last_sequence
        self._keeper.applied(position)
        write_applied(self._shelf, position, sequence)
        self._store.commit(sequence)

    def durable(self) -> None:
        """The log has become durable a little further."""
        self._shelf.durable(self._log.durable_sequence)

    def tick(self, now: float, *, between_batches: bool) -> None:
        """A little of the work that waits in the background. ShelfError if the disk fails."""
        shelf, store = self._shelf, self._store
        store.load_some(LOAD_KEYS)
        if between_batches and not store.compact_some(COMPACT_VERSIONS):
            self._keeper.dropped()
            store.commit(self._log.last_sequence)
        shelf.durable(self._log.durable_sequence)
        if shelf.flushing or not shelf.unflushed_bytes:
            return
        written = self._log.statistics().written_bytes
        if (
            shelf.unflushed_bytes >= self._flushes.index_bytes
            or written - self._flushed_log >= self._flushes.log_bytes
            or now - self._flushed_at >= self._flushes.seconds
        ):
            self._flushed_at = now
            self._flushed_log = written
            shelf.flush()

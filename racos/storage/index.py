"""The embedded store that holds a replica's state: an ordered map with atomic steps, on disk.

RocksDB with one column family and no write-ahead log: the replica's own log is that. Its memtables
reach the disk in order, so a crash leaves the state after some prefix of the steps written. A step
is written only once the log's record that it rests on is durable; until then it waits in memory,
where reads find it. So the index is never ahead of the log, and what a crash takes from it the log
still has.

Every block on disk has a checksum, verified whenever it is read. Damage ends in a ShelfError and a
file named DAMAGED beside the data, so that the next start does not trust the rest either.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
import time
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any, Final, NoReturn

from rocksdict import (
    BlockBasedOptions,
    Cache,
    DBCompressionType,
    Options,
    Rdict,
    RdictIter,
    WriteBatch,
    WriteOptions,
)

from racos.errors import ShelfError, ShelfFull

__all__ = ["DAMAGED", "OWNER", "Index", "IndexSnapshot", "erase", "index_options", "owner_of"]

FORMAT_VERSION: Final = 1
BLOCK_CACHE_BYTES = 32 << 20
MEMTABLE_BYTES = 32 << 20
# After a lack of space RocksDB looks for some every 5 s, and flushes by itself once there is; it
# does not get to that while somebody else asks for flushes all the time.
STARVED_SECONDS = 7.0
LARGE_VALUE_BYTES = 1024  # from here on a value is written once, beside the sorted files

OWNER = b"\xffowner"  # format, member and cluster; above every key that others can scan
DAMAGED = "DAMAGED"
_VALUE_FILES = "blob_garbage_collection_age_cutoff"  # such a part of them may be rewritten
_first = itemgetter(0)


class Index:
    """A Shelf (racos.mvcc.shelf) in a directory of its own. One thread uses it.

    On a full disk steps wait in memory until there is space: the log has what they rest on.
    `may_flush` is asked before a flush whether there is space for so many bytes.
    """

    def __init__(
        self,
        directory: Path,
        *,
        member_id: int,
        cluster_id: int,
        memtable_bytes: int = MEMTABLE_BYTES,
    ) -> None:
        """Open, or make, the index. ShelfError if it is damaged or somebody else's."""
        self.directory = directory
        self.may_flush: Callable[[int], bool] = lambda _size_bytes: True
        self._db = _open(directory, memtable_bytes)
        self._write_options = WriteOptions()
        # A property; the library's stub calls it a method.
        self._write_options.disable_wal = True  # type: ignore[method-assign, assignment]
        # What the database may not have yet, None for deleted: of the open step, and of committed
        # ones in two halves. All of the older half goes at once, when the last step in it is
        # written; so nobody has to look for each key whether its newest value is.
        self._step: dict[bytes, bytes | None] = {}
        self._young: dict[bytes, bytes | None] = {}
        self._old: dict[bytes, bytes | None] = {}
        self._old_steps = 0  # the older half has steps up to this number
        self._batch = WriteBatch(raw_mode=True)  # the open step
        # Steps that wait for the log, oldest first: the record each of them rests on, and what it
        # changes, twice, since a batch is gone once the database has refused it.
        self._waiting: deque[tuple[int, WriteBatch, dict[bytes, bytes | None]]] = deque()
        self._committed_steps = self._written_steps = 0
        # All that is ahead, in order; None: to be sorted again.
        self._sorted: list[tuple[bytes, bytes | None]] | None = []
        self._flusher: threading.Thread | None = None
        self._compactor: threading.Thread | None = None
        self._damage = ""  # found by a read or by a flush; final
        self._flush_covers = 0
        self._flush_bytes = 0
        self._flush_starved = False  # the flush that ran last found no space
        self._flush_not_before = 0.0
        self._unflushed_bytes = 0
        self._written_sequence = self._flushed_sequence = 0
        try:
            self._check_owner(member_id, cluster_id)
        except ShelfError:
            self._db.close()
            raise

    # -- reading ---------------------------------------------------------------------------------

    def get(self, key: bytes) -> bytes | None:
        for ahead in (self._step, self._young, self._old):
            if key in ahead:
                return ahead[key]
        try:
            found: bytes | None = self._db.get(key)
        except Exception as error:  # the library has one type for all that goes wrong
            self._fail(error)
        return found

    def many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        try:
            stored: Any = self._db.get(list(keys))
        except Exception as error:  # as above
            self._fail(error)
        ahead = self._all_ahead()
        return [ahead.get(key, value) for key, value in zip(keys, stored, strict=True)]

    def scan(
        self, start: bytes, end: bytes, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        ahead = self._ahead_between(start, end)
        stored = self._entries(self._db.iter(), start, end, reverse)
        return _merge(stored, ahead, reverse) if ahead else stored

    def keys(self, start: bytes, end: bytes) -> Iterator[bytes]:
        ahead = self._ahead_between(start, end)
        stored = self._keys(self._db.iter(), start, end)
        if not ahead:
            return stored
        return (key for key, _ in _merge(((key, b"") for key in stored), ahead, False))

    # -- writing ---------------------------------------------------------------------------------

    def put(self, key: bytes, value: bytes) -> None:
        self._batch.put(key, value)
        self._step[key] = value
        self._sorted = None

    def delete(self, key: bytes) -> None:
        self._batch.delete(key)
        self._step[key] = None
        self._sorted = None

    def delete_range(self, start: bytes, end: bytes) -> None:
        for key in self.keys(start, end):
            self.delete(key)

    def commit(self, sequence: int = 0) -> None:
        if not self._step:
            return
        self._waiting.append((sequence, self._batch, self._step))
        self._committed_steps += 1
        self._young.update(self._step)
        self._step = {}
        self._batch = WriteBatch(raw_mode=True)

    def durable(self, sequence: int) -> None:
        waiting = self._waiting
        if not waiting or waiting[0][0] > sequence:
            return
        while waiting and waiting[0][0] <= sequence:
            rests_on, batch, step = waiting.popleft()
            size = batch.size_in_bytes()
            try:
                self._db.write(batch, self._write_options)
            except Exception as error:  # as above
                if _lacks_space(error):  # nothing of it was written; one day RocksDB goes on
                    waiting.appendleft((rests_on, _batch_of(step), step))
                    break
                self._fail(error)
            self._written_sequence = rests_on
            self._unflushed_bytes += size
            self._written_steps += 1
        while self._old_steps <= self._written_steps and (self._old or self._young):
            self._old, self._young = self._young, {}
            self._old_steps = self._committed_steps
            self._sorted = None

    def flush(self) -> None:
        if self.flushing or time.monotonic() < self._flush_not_before:
            return
        if not self.may_flush(self._unflushed_bytes):
            return
        self._flush_covers = self._written_sequence
        self._flush_bytes, self._unflushed_bytes = self._unflushed_bytes, 0
        self._flush_starved = False
        self._flusher = threading.Thread(target=self._run_flush, name="index")
        self._flusher.start()

    @property
    def flushing(self) -> bool:
        if self._damage:
            raise ShelfError(self._damage)
        thread = self._flusher
        if thread is None:
            return False
        if thread.is_alive():
            return True
        thread.join()
        self._flusher = None
        if self._flush_starved:
            self._unflushed_bytes += self._flush_bytes
            self._flush_not_before = time.monotonic() + STARVED_SECONDS
        else:
            self._flushed_sequence = self._flush_covers
        return False

    def compact(self) -> None:
        """Begin to give back what deleted and replaced entries still take on disk. Never blocks;
        meanwhile the disk holds parts of the index twice. Nothing happens if it goes on already."""
        if self._compactor is None or not self._compactor.is_alive():
            self._compactor = threading.Thread(target=self._run_compaction, name="compaction")
            self._compactor.start()

    @property
    def flushed_sequence(self) -> int:
        return self._flushed_sequence

    @property
    def unflushed_bytes(self) -> int:
        return self._unflushed_bytes

    def snapshot(self) -> IndexSnapshot:
        return IndexSnapshot(self, self._db, {**self._old, **self._young})

    def size_bytes(self) -> int:
        """What the index takes on disk. RocksDB removes files meanwhile: they count as nothing."""
        total = 0
        with os.scandir(self.directory) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):
                    total += entry.stat().st_size
        return total

    def close(self) -> None:
        """Flush what the log covers, and close the files."""
        if self._flusher is not None:
            self._flusher.join()
        self._run_flush()
        if self._compactor is not None and self._compactor.is_alive():
            self._db.cancel_all_background(True)
            self._compactor.join()
            with contextlib.suppress(Exception):  # it would flush once more, and cannot any more
                self._db.close()
            del self._db  # which closes it
        else:
            self._db.close()

    # -- inside ----------------------------------------------------------------------------------

    def _check_owner(self, member_id: int, cluster_id: int) -> None:
        owner = owner_of(member_id, cluster_id)
        found = self.get(OWNER)
        if found is None:
            batch = WriteBatch(raw_mode=True)
            batch.put(OWNER, owner)
            self._db.write(batch, self._write_options)
        elif found != owner:
            raise ShelfError(
                f"{self.directory}: index of another member, cluster or version: {found.decode()}"
            )

    def _run_flush(self) -> None:
        try:
            self._db.flush()
        except Exception as error:  # as above; goes on on the owner's thread
            if _lacks_space(error):
                self._flush_starved = True
                return
            self._damage = f"{self.directory}: index cannot be written: {error}"

    def _run_compaction(self) -> None:
        """All of the value files are looked through, and not, as otherwise, the oldest only."""
        try:
            self._db.set_options({_VALUE_FILES: "1.0"})
            self._db.compact_range(None, None)
            self._db.set_options({_VALUE_FILES: "0.25"})
        except Exception as error:  # as above
            if not _lacks_space(error) and "Shutdown in progress" not in str(error):
                self._damage = f"{self.directory}: index cannot be compacted: {error}"

    def _all_ahead(self) -> dict[bytes, bytes | None]:
        return {**self._old, **self._young, **self._step}

    def _ahead_between(self, start: bytes, end: bytes) -> list[tuple[bytes, bytes | None]]:
        if self._sorted is None:
            self._sorted = sorted(self._all_ahead().items())
        return _between(self._sorted, start, end)

    def _entries(
        self, entries: RdictIter, start: bytes, end: bytes, reverse: bool
    ) -> Iterator[tuple[bytes, bytes]]:
        try:
            if reverse:
                entries.seek_for_prev(end)
                if entries.valid() and entries.key() == end:
                    entries.prev()
                while entries.valid() and (key := entries.key()) >= start:
                    yield key, entries.value()
                    entries.prev()
            else:
                entries.seek(start)
                while entries.valid() and (key := entries.key()) < end:
                    yield key, entries.value()
                    entries.next()
            entries.status()
            return
        except Exception as error:  # as above
            text = str(error)
        # Not inside the handler: an error that remembers the iterator would keep the files open.
        del entries
        self._fail(text)

    def _keys(self, entries: RdictIter, start: bytes, end: bytes) -> Iterator[bytes]:
        try:
            entries.seek(start)
            while entries.valid() and (key := entries.key()) < end:
                yield key
                entries.next()
            entries.status()
            return
        except Exception as error:  # as above
            text = str(error)
        del entries  # as above
        self._fail(text)

    def _fail(self, error: Exception | str) -> NoReturn:
        self._damage = f"{self.directory}: index is damaged: {error}"
        if "IO error" not in str(error):
            with contextlib.suppress(OSError):
                (self.directory / DAMAGED).write_text(self._damage + "\n")
        raise ShelfError(self._damage)


class IndexSnapshot:
    """All steps committed up to a moment, those included that wait for the log."""

    def __init__(self, index: Index, db: Rdict, ahead: dict[bytes, bytes | None]) -> None:
        self._index = index
        self._frozen: Any = db.snapshot()
        self._ahead = ahead
        self._sorted = sorted(ahead.items())

    def get(self, key: bytes) -> bytes | None:
        if key in self._ahead:
            return self._ahead[key]
        for _, value in self.scan(key, key + b"\x00"):
            return value
        return None

    def scan(self, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        ahead = _between(self._sorted, start, end)
        stored = self._index._entries(self._frozen.iter(), start, end, False)
        return _merge(stored, ahead, False)

    def close(self) -> None:
        self._frozen = None


def owner_of(member_id: int, cluster_id: int) -> bytes:
    """What an index of this version says about whose it is."""
    return b"%d %x %x" % (FORMAT_VERSION, member_id, cluster_id)


def erase(directory: Path) -> None:
    """Remove an index, whatever state it is in."""
    shutil.rmtree(directory, ignore_errors=True)


def _batch_of(step: dict[bytes, bytes | None]) -> WriteBatch:
    batch = WriteBatch(raw_mode=True)
    for key, value in step.items():
        if value is None:
            batch.delete(key)
        else:
            batch.put(key, value)
    return batch


def _lacks_space(error: Exception) -> bool:
    """Whether the database wants nothing but space: what it could not write it still has."""
    return "No space left on device" in str(error)


def _open(directory: Path, memtable_bytes: int) -> Rdict:
    damaged = directory / DAMAGED
    if damaged.exists():
        raise ShelfError(damaged.read_text().strip() or f"{directory}: index is damaged")
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        return Rdict(str(directory), index_options(memtable_bytes))
    except Exception as error:  # the library has one type for all that goes wrong
        kind = ShelfFull if "No space left on device" in str(error) else ShelfError
        raise kind(f"{directory}: index cannot be opened: {error}") from None


def index_options(memtable_bytes: int = MEMTABLE_BYTES) -> Options:
    table = BlockBasedOptions()
    table.set_block_cache(Cache(BLOCK_CACHE_BYTES))
    table.set_bloom_filter(10, False)  # a key that is not there costs no read
    table.set_block_size(8 << 10)
    table.set_format_version(5)
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_block_based_table_factory(table)
    options.set_compression_type(DBCompressionType.none())
    options.set_write_buffer_size(memtable_bytes)
    options.set_max_write_buffer_number(4)
    options.set_memtable_whole_key_filtering(True)  # the same for keys not on disk yet
    options.set_memtable_prefix_bloom_ratio(0.02)
    # Writes are never held up for the sake of compactions: the writer is the node's event loop.
    options.set_level_zero_slowdown_writes_trigger(64)
    options.set_level_zero_stop_writes_trigger(256)
    options.set_soft_pending_compaction_bytes_limit(0)
    options.set_hard_pending_compaction_bytes_limit(0)
    options.set_max_background_jobs(2)
    options.set_enable_blob_files(True)
    options.set_min_blob_size(LARGE_VALUE_BYTES)
    options.set_enable_blob_gc(True)
    options.set_paranoid_checks(True)
    options.set_max_log_file_size(1 << 20)
    options.set_keep_log_file_num(2)
    options.set_stats_dump_period_sec(0)
    return options


def _between(
    entries: list[tuple[bytes, bytes | None]], start: bytes, end: bytes
) -> list[tuple[bytes, bytes | None]]:
    """Those with start <= key < end."""
    first = bisect_left(entries, start, key=_first)
    return entries[first : bisect_left(entries, end, first, key=_first)]


def _merge(
    stored: Iterator[tuple[bytes, bytes]],
    ahead: list[tuple[bytes, bytes | None]],
    reverse: bool,
) -> Iterator[tuple[bytes, bytes]]:
    """Both in order, what is ahead in place of what is stored under the same key."""
    newer = iter(reversed(ahead) if reverse else ahead)
    fresh = next(newer, None)
    for key, value in stored:
        while fresh is not None and fresh[0] != key and (fresh[0] < key) != reverse:
            if fresh[1] is not None:
                yield fresh[0], fresh[1]
            fresh = next(newer, None)
        if fresh is not None and fresh[0] == key:
            if fresh[1] is not None:
                yield key, fresh[1]
            fresh = next(newer, None)
        else:
            yield key, value
    while fresh is not None:
        if fresh[1] is not None:
            yield fresh[0], fresh[1]
        fresh = next(newer, None)

"""A store at one revision as an etcd database file, made while it is sent.

Nothing is copied first: the view keeps what the file needs, large values are fetched and verified a
few at a time, and the work is done in steps of about a millisecond between which everything else
goes on. Held at once are a reference to each version that is older than the history, one group of
values, and one open page per level of the tree.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing
from hashlib import sha256
from heapq import merge
from itertools import islice

from racos.backup.contents import (
    BUCKETS,
    GHOST,
    KEYS,
    Facts,
    encode_version,
    encoded_size,
    entries,
    revision_key,
)
from racos.backup.writer import Layout, Size, Writer
from racos.mvcc.command import CodedValue, KeyValue
from racos.mvcc.view import View

__all__ = ["Load", "Snapshot"]

Load = Callable[[Sequence[CodedValue]], Awaitable[list[bytes]]]

_STEP = 256  # versions handled without a pause
_GROUP_BYTES_MAX = 4 << 20  # of values on their way here at once, but never less than one value
_BLOCK_BYTES = 32 << 10  # what one message carries, as with etcd

_Change = tuple[bytes, KeyValue | None]  # None: a ghost


class Snapshot:
    """One backup. `prepare`, then `blocks`; `close` in any case."""

    def __init__(self, view: View, load: Load, facts: Facts) -> None:
        self._view = view
        self._load = load
        self._facts = facts
        self._runs: list[list[KeyValue]] = []
        self._size: Size | None = None

    @property
    def revision(self) -> int:
        """What the file is a backup of."""
        return self._view.revision

    @property
    def size(self) -> int:
        """Bytes of the database, without the trailer; known once prepared."""
        assert self._size is not None
        return self._size.bytes

    async def prepare(self) -> None:
        """Find out how large the file will be, which its first page must say."""
        await self._gather()
        layout = Layout()
        for bucket in BUCKETS:
            layout.begin_bucket(bucket)
            if bucket != KEYS:
                for key, value in entries(bucket, self._facts):
                    layout.add_length(key, len(value))
                continue
            changes = self._changes()
            while step := list(islice(changes, _STEP)):
                for key, kv in step:
                    layout.add_length(key, len(GHOST) if kv is None else encoded_size(kv))
                await asyncio.sleep(0)
        self._size = layout.finish()

    async def blocks(self) -> AsyncGenerator[bytes, None]:
        """The file in blocks of at most 32 KiB; the last one is the SHA-256 of all before it.

        Raises what loading a value raises: a value that cannot be had ends the backup.
        """
        digest = sha256()
        rest = b""
        async with aclosing(self._pages()) as pages:
            async for page in pages:
                digest.update(page)
                rest += page
                whole = len(rest) - len(rest) % _BLOCK_BYTES
                for start in range(0, whole, _BLOCK_BYTES):
                    yield rest[start : start + _BLOCK_BYTES]
                rest = rest[whole:]
        if rest:
            yield rest
        yield digest.digest()

    def close(self) -> None:
        self._runs = []
        self._view.close()

    async def _gather(self) -> None:
        """Versions older than the history come by key; sorted by pieces, they merge by revision."""
        view = self._view
        after: bytes | None = b""
        while after is not None:
            versions, after = view.versions(after, _STEP)
            run = [kv for kv in versions if kv.mod_revision < view.first]
            run.sort(key=_by_revision)
            if run:
                self._runs.append(run)
            await asyncio.sleep(0)

    def _changes(self) -> Iterator[_Change]:
        """The key bucket's changes in order, each with its key there.

        Which place an old change had within its revision is forgotten with the history: places are
        given by key order then. The current revision is always there, if only as a ghost.
        """
        main, sub = 1, 0
        for kv in merge(*self._runs, key=_by_revision):
            sub = sub + 1 if kv.mod_revision == main else 0
            main = kv.mod_revision
            yield revision_key(main, sub, not kv.version), kv
        for revision in range(self._view.first, self._view.revision + 1):
            for sub, event in enumerate(self._view.changes(revision)):
                main = revision
                yield revision_key(revision, sub, event.is_delete), event.kv
        if main < self._view.revision:
            yield revision_key(self._view.revision, 0, False), None

    async def _pages(self) -> AsyncGenerator[bytes, None]:
        assert self._size is not None
        writer = Writer(self._size)
        for bucket in BUCKETS:
            writer.begin_bucket(bucket)
            if bucket != KEYS:
                for key, value in entries(bucket, self._facts):
                    writer.add(key, value)
                continue
            for group in _groups(self._changes()):
                await self._add(writer, group)
                for page in writer.take():
                    yield page
                await asyncio.sleep(0)
        writer.finish()
        for page in writer.take():
            yield page

    async def _add(self, writer: Writer, group: Sequence[_Change]) -> None:
        coded = [kv.value for _, kv in group if kv is not None and isinstance(kv.value, CodedValue)]
        loaded = dict(zip(coded, await self._load(coded), strict=True)) if coded else {}
        for key, kv in group:
            if kv is None:
                writer.add(key, GHOST)
                continue
            value = kv.value
            writer.add(
                key, encode_version(kv, value if isinstance(value, bytes) else loaded[value])
            )


def _by_revision(kv: KeyValue) -> tuple[int, bytes]:
    return kv.mod_revision, kv.key


def _groups(changes: Iterator[_Change]) -> Iterator[list[_Change]]:
    """Changes in groups that are small enough to be in memory whole."""
    group: list[_Change] = []
    size = 0
    for change in changes:
        kv = change[1]
        if kv is not None and isinstance(kv.value, CodedValue):
            size += kv.value.length
        group.append(change)
        if len(group) == _STEP or size >= _GROUP_BYTES_MAX:
            yield group
            group, size = [], 0
    if group:
        yield group

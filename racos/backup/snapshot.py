"""A store at one revision as an etcd database file, made while it is sent.

Nothing is copied first: the view keeps what the file needs, large values are fetched and verified a
few at a time, and the work is done in steps of about a millisecond between which everything else
goes on. Held at once are the names of the versions, one group of values, and one open page per
level of the tree.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing
from hashlib import sha256
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
from racos.backup.sorting import Named, Sorting
from racos.backup.writer import Layout, Size, Writer
from racos.mvcc.command import CodedValue, KeyValue
from racos.mvcc.view import View

__all__ = ["Load", "Snapshot"]

Load = Callable[[Sequence[CodedValue]], Awaitable[list[bytes]]]

_STEP = 256  # versions handled without a pause
_GROUP_BYTES_MAX = 4 << 20  # of values on their way here at once, but never less than one value
_BLOCK_BYTES = 32 << 10  # what one message carries, as with etcd

_Change = tuple[bytes, Named | None]  # None: a ghost


class Snapshot:
    """One backup. `prepare`, then `blocks`; `close` in any case."""

    def __init__(self, view: View, load: Load, facts: Facts) -> None:
        self._view = view
        self._load = load
        self._facts = facts
        self._names = Sorting()
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
        await self._sort()
        layout = Layout()
        for bucket in BUCKETS:
            layout.begin_bucket(bucket)
            if bucket != KEYS:
                for key, value in entries(bucket, self._facts):
                    layout.add_length(key, len(value))
                continue
            changes = self._changes()
            while step := list(islice(changes, _STEP)):
                for key, name in step:
                    layout.add_length(key, len(GHOST) if name is None else name.size)
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
        self._names = Sorting()
        self._view.close()

    async def _sort(self) -> None:
        """Name all versions in the order of the file."""
        above: bytes | None = b""
        while above is not None:
            versions, above = self._view.versions(above, _STEP)
            for kv in versions:
                name = Named(kv.mod_revision, kv.key, encoded_size(kv), not kv.version)
                self._names.add(name)
            await asyncio.sleep(0)
        self._names.finish()

    def _changes(self) -> Iterator[_Change]:
        """The key bucket's keys in order, each with the version it is for.

        The current revision is always among them, if only as a ghost.
        """
        revision = 1
        for sub, name in self._names.in_order(self._view):
            revision = name.revision
            yield revision_key(revision, sub, name.is_tombstone), name
        if revision < self._view.revision:
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
        versions = [(key, None if name is None else self._version(name)) for key, name in group]
        coded = [
            kv.value for _, kv in versions if kv is not None and isinstance(kv.value, CodedValue)
        ]
        loaded = dict(zip(coded, await self._load(coded), strict=True)) if coded else {}
        for key, kv in versions:
            if kv is None:
                writer.add(key, GHOST)
                continue
            data = kv.value if isinstance(kv.value, bytes) else loaded[kv.value]
            writer.add(key, encode_version(kv, data))

    def _version(self, name: Named) -> KeyValue:
        if name.is_tombstone:
            return KeyValue(name.key, 0, name.revision, 0, b"", 0)
        return self._view.version(name.key, name.revision)


def _groups(changes: Iterator[_Change]) -> Iterator[list[_Change]]:
    """Changes in groups that are small enough to be in memory whole."""
    group: list[_Change] = []
    size = 0
    for change in changes:
        name = change[1]
        size += 0 if name is None else name.size
        group.append(change)
        if len(group) == _STEP or size >= _GROUP_BYTES_MAX:
            yield group
            group, size = [], 0
    if group:
        yield group

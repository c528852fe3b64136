"""Backups made in a test: of given buckets, or of a store."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path

from racos.backup.contents import Facts
from racos.backup.snapshot import Load, Snapshot
from racos.backup.writer import Layout, Writer
from racos.mvcc.command import CodedValue
from racos.mvcc.store import Store

Buckets = Mapping[bytes, Sequence[tuple[bytes, bytes]]]


def written(buckets: Buckets) -> bytes:
    """A database of these buckets, without a trailer."""
    layout = Layout()
    for name, entries in buckets.items():
        layout.begin_bucket(name)
        for key, value in entries:
            layout.add_length(key, len(value))
    size = layout.finish()
    writer = Writer(size)
    for name, entries in buckets.items():
        writer.begin_bucket(name)
        for key, value in entries:
            writer.add(key, value)
    writer.finish()
    data = b"".join(writer.take())
    assert len(data) == size.bytes
    return data


def sealed(database: bytes) -> bytes:
    """With the trailer."""
    return database + sha256(database).digest()


async def nothing_to_load(values: Sequence[CodedValue]) -> list[bytes]:
    raise AssertionError(f"{len(values)} values asked for")


def facts_of(store: Store) -> Facts:
    return Facts(
        compact_revision=store.compact_revision,
        leases=[(lease.id, lease.ttl) for lease in store.leases],
        alarms=tuple(store.alarms),
    )


async def backup(store: Store, load: Load = nothing_to_load) -> bytes:
    """A store's backup, whole."""
    snapshot = Snapshot(store.view(), load, facts_of(store))
    try:
        await snapshot.prepare()
        blocks = [block async for block in snapshot.blocks()]
    finally:
        snapshot.close()
    assert all(len(block) <= 32 << 10 for block in blocks)
    data = b"".join(blocks)
    assert len(data) == snapshot.size + 32
    return data


def settle(store: Store) -> None:
    """Let compaction drop what it can."""
    while not store.compact_some(100):
        store.commit()


def save(path: Path, data: bytes | Iterable[bytes]) -> Path:
    path.write_bytes(data if isinstance(data, bytes) else b"".join(data))
    return path

"""Reads a backup: an etcd database file, with or without the SHA-256 that a backup ends with.

Everything in it is checked before it is handed out, and what does not fit is an error that names
the place. Refused in etcd's words where etcd refuses it, too.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from hashlib import sha256
from struct import Struct
from types import TracebackType
from typing import NamedTuple, TypeVar

from google.protobuf.message import DecodeError, Message

from racos.backup.contents import KEYS
from racos.backup.reader import BadDatabase, Database
from racos.mvcc.command import Alarm, KeyValue, LeaseGrant
from racos.pb import backup_pb2 as pb

__all__ = ["BackupError", "Source", "State"]

_TRAILER_BYTES = 32
_SECTOR_BYTES = 512  # a database is a multiple of it; what is left over is the trailer
_COPY_BYTES = 1 << 20
_REVISION = Struct(">QcQ")
_REVISION_MAX = (1 << 63) - 1

_Parsed = TypeVar("_Parsed", bound=Message)


class BackupError(Exception):
    """The file cannot be restored; one line says why."""


class State(NamedTuple):
    """What a backup says besides keys."""

    revision: int  # the newest
    compact_revision: int  # -1: none
    leases: tuple[LeaseGrant, ...]
    alarms: tuple[Alarm, ...]
    users: int  # accounts, which are not restored
    auth_enabled: bool


class Source:
    """A backup, open. Use as a context manager. Raises BackupError, BadDatabase or OSError."""

    def __init__(self, path: str | os.PathLike[str], *, skip_hash_check: bool = False) -> None:
        self.path = os.fspath(path)
        size = os.stat(path).st_size
        has_trailer = size % _SECTOR_BYTES == _TRAILER_BYTES
        if not has_trailer and not skip_hash_check:
            raise BackupError(f"{self.path}: snapshot missing hash but --skip-hash-check=false")
        if has_trailer:
            size -= _TRAILER_BYTES
            if not skip_hash_check:
                self._check_hash(size)
        self._database = Database(path, size)

    def __enter__(self) -> Source:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._database.__exit__(kind, error, trace)

    @property
    def size(self) -> int:
        """Bytes of the database."""
        return self._database.size

    def entries(self) -> Iterator[tuple[bytes, bytes | None, bytes]]:
        """Everything, as etcd's `snapshot status` goes through it: (bucket, key, value) of each
        entry, and (bucket, None, b"") where a bucket begins."""
        for bucket in self._database.buckets:
            yield bucket, None, b""
            for key, value in self._database.entries(bucket):
                yield bucket, key, value

    def state(self) -> State:
        if KEYS not in self._database.buckets:
            raise BackupError(f"{self.path}: not a backup of etcd: it has no bucket of keys")
        meta = dict(self._database.entries(b"meta"))
        compacted = max(self._revision_in(meta, name) for name in _COMPACTIONS)
        newest = self._database.last_key(KEYS)
        newest_revision = self._parse_revision(newest)[0] if newest else 1
        auth = dict(self._database.entries(b"auth"))
        return State(
            max(newest_revision, compacted, 1),
            compacted,
            tuple(self._leases()),
            tuple(self._alarms()),
            sum(1 for _ in self._database.entries(b"authUsers")),
            auth.get(b"authEnabled") == b"\x01",
        )

    def versions(self) -> Iterator[KeyValue]:
        """Every version in revision order; a tombstone has version 0."""
        last = max(self.state().compact_revision, 1)
        for key, value in self._database.entries(KEYS):
            main, is_tombstone = self._parse_revision(key)
            if main > last + _GAP_MAX:
                raise self._bad(f"there is nothing between revisions {last} and {main}")
            last = max(last, main)
            found = self._message(pb.KeyValue, value, f"revision {main}")
            if not found.key:
                continue  # holds the place of a revision, as etcd's --bump-revision leaves one
            if is_tombstone:
                yield KeyValue(found.key, 0, main, 0, b"", 0)
                continue
            if found.mod_revision != main or not 0 < found.create_revision <= main:
                raise self._bad(f"revision {main} holds a version of {found.mod_revision}")
            if found.version <= 0:
                raise self._bad(f"revision {main} holds version {found.version} of a key")
            yield KeyValue(
                found.key,
                found.create_revision,
                main,
                found.version,
                found.value,
                found.lease,
            )

    def _leases(self) -> Iterator[LeaseGrant]:
        for key, value in self._database.entries(b"lease"):
            lease = self._message(pb.Lease, value, f"lease {key.hex()}")
            if lease.id <= 0 or lease.ttl <= 0 or lease.id.to_bytes(8, "big") != key:
                raise self._bad(f"lease {key.hex()} makes no sense")
            yield LeaseGrant(lease.id, lease.ttl)

    def _alarms(self) -> Iterator[Alarm]:
        for key, _ in self._database.entries(b"alarm"):
            alarm = self._message(pb.AlarmMember, key, "an alarm")
            yield Alarm(alarm.member, alarm.alarm)

    def _revision_in(self, meta: dict[bytes, bytes], name: bytes) -> int:
        key = meta.get(name)
        return -1 if key is None else self._parse_revision(key)[0]

    def _parse_revision(self, key: bytes) -> tuple[int, bool]:
        is_tombstone = len(key) == _REVISION.size + 1 and key[-1:] == b"t"
        if len(key) == _REVISION.size or is_tombstone:
            main, middle, _ = _REVISION.unpack_from(key)
            if middle == b"_" and 0 < main < _REVISION_MAX:
                return main, is_tombstone
        raise self._bad(f"{key.hex()} is no revision")

    def _message(self, kind: Callable[[], _Parsed], data: bytes, what: str) -> _Parsed:
        message = kind()
        try:
            message.ParseFromString(data)
        except DecodeError:
            raise self._bad(f"{what} cannot be read") from None
        return message

    def _check_hash(self, size: int) -> None:
        digest = sha256()
        with open(self.path, "rb") as file:
            for start in range(0, size, _COPY_BYTES):
                digest.update(file.read(min(_COPY_BYTES, size - start)))
            expected = file.read(_TRAILER_BYTES)
        if digest.digest() != expected:
            raise BackupError(
                f"{self.path}: expected sha256 {expected.hex()}, got {digest.hexdigest()}"
            )

    def _bad(self, reason: str) -> BadDatabase:
        return BadDatabase(f"{self.path}: damaged database file: {reason}")


# Every revision above the last compaction changed something, except where etcd was told to go on at
# a higher one. All that are left out here have their place in the history.
_GAP_MAX = 1_000_000
_COMPACTIONS = (b"scheduledCompactRev", b"finishedCompactRev")

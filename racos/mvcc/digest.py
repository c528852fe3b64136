"""Hashes of values and of the whole state: BLAKE3-256, which is pure computation."""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct

from blake3 import blake3

from racos.mvcc.command import KeyValue, Value

_HEAD = Struct("<qq")  # revision, compact_revision
_VERSION = Struct(
    "<QqqqqQ32s"
)  # length of key, create, mod, version, lease, length and hash of value
_LEASES = Struct("<QQ")  # leases, renewals
_LEASE = Struct("<qqQQ")  # id, ttl, renewal, number of keys
_ALARM = Struct("<QQ")  # member, kind
_LENGTH = Struct("<Q")


def digest(data: bytes) -> bytes:
    """BLAKE3-256 of `data`, 32 bytes: the hash that names a coded value."""
    return blake3(data).digest()


class StateDigest:
    """Hash of a store's state, fed version by version in a fixed order.

    A coded value hashes as its bytes would, so the digest says nothing of how a value is kept.
    """

    __slots__ = ("_hash",)

    def __init__(self, revision: int, compact_revision: int) -> None:
        self._hash = blake3(_HEAD.pack(revision, compact_revision))

    def add(self, kv: KeyValue) -> None:
        """Take one version in. Each field has a fixed place or a length: nothing runs together."""
        length, value_hash = _describe(kv.value)
        self._hash.update(
            _VERSION.pack(
                len(kv.key),
                kv.create_revision,
                kv.mod_revision,
                kv.version,
                kv.lease,
                length,
                value_hash,
            )
            + kv.key
        )

    def add_leases(self, count: int, renewals: int) -> None:
        """After all versions: how many leases there are, and how many renewals there were."""
        self._hash.update(_LEASES.pack(count, renewals))

    def add_lease(self, id_: int, ttl: int, renewal: int, keys: Sequence[bytes]) -> None:
        """Take one lease in; leases come by id, their keys in key order."""
        self._hash.update(_LEASE.pack(id_, ttl, renewal, len(keys)))
        for key in keys:
            self._hash.update(_LENGTH.pack(len(key)) + key)

    def add_alarm(self, member: int, kind: int) -> None:
        """Take one alarm in, after all leases."""
        self._hash.update(_ALARM.pack(member, kind))

    def finish(self) -> bytes:
        """The digest, 32 bytes."""
        return self._hash.digest()


def _describe(value: Value) -> tuple[int, bytes]:
    if isinstance(value, bytes):
        return len(value), digest(value)
    return value.length, value.digest

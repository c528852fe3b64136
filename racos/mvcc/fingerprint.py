"""A hash over everything a compaction keeps up to a revision: HashKV, and what members compare.

Each version is hashed by itself and the hashes are added up, so the order in which they come does
not matter and the work can be done in small steps, over keys, while writes go on. Sums of 64-bit
hashes find what goes wrong by accident; they do not resist somebody who looks for a collision.
A coded value counts with its length and digest: its bytes were checked against those when it was
coded, and are whenever it is read.
"""

from __future__ import annotations

from struct import Struct

from blake3 import blake3

from racos.mvcc.command import KeyValue
from racos.mvcc.view import View, kept

__all__ = ["Fingerprint"]

_FIELDS = Struct("<QqqqqBQ")  # key length, create, mod, version, lease, coded, value length
_SUM = Struct("<QQqq")  # sum, versions, revision, compact revision
_HASH_BYTES = 8
_SUM_MASK = (1 << 64) - 1


class Fingerprint:
    """The hash of a view at one of its revisions. `step` until it says True, then `value`."""

    __slots__ = ("_after", "_sum", "_versions", "_view", "compact_revision", "revision")

    def __init__(self, view: View, revision: int, compact_revision: int) -> None:
        """view.compact_revision <= compact_revision <= revision <= view.revision.

        The answer is that of any view with these two revisions inside its own.
        """
        assert revision <= view.revision
        assert view.compact_revision <= compact_revision <= revision
        self.revision = revision
        self.compact_revision = compact_revision
        self._view = view
        self._after: bytes | None = b""
        self._sum = 0
        self._versions = 0

    def step(self, keys_max: int) -> bool:
        """Take in the versions of some more keys; whether that were all."""
        if self._after is None:
            return True
        versions, self._after = self._view.versions(self._after, keys_max)
        start = 0
        for end in range(1, len(versions) + 1):
            if end == len(versions) or versions[end].key != versions[start].key:
                for kv in kept(versions[start:end], self.revision, self.compact_revision):
                    self._add(kv)
                start = end
        return self._after is None

    @property
    def value(self) -> int:
        """32 bits."""
        total = _SUM.pack(self._sum, self._versions, self.revision, self.compact_revision)
        return int.from_bytes(blake3(total).digest(4), "little")

    def _add(self, kv: KeyValue) -> None:
        value = kv.value
        if isinstance(value, bytes):
            is_coded, length, data = 0, len(value), value
        else:
            is_coded, length, data = 1, value.length, value.digest
        fields = _FIELDS.pack(
            len(kv.key),
            kv.create_revision,
            kv.mod_revision,
            kv.version,
            kv.lease,
            is_coded,
            length,
        )
        hashed = blake3(fields + kv.key + data).digest(_HASH_BYTES)
        self._sum = self._sum + int.from_bytes(hashed, "little") & _SUM_MASK
        self._versions += 1

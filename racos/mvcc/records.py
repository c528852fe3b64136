"""The present versions of live keys: on the shelf, the ones used lately also in memory.

The cache is two dicts. What is used or written goes into the young one; when that has had its share
of bytes, it becomes the old one and the old one is forgotten. A hit costs one look-up, and what was
not used for that long is gone: nearly what an LRU keeps, without its bookkeeping.
"""

from __future__ import annotations

from racos.mvcc.command import KeyValue
from racos.mvcc.encoding import LIVE, decode_record, encode_record
from racos.mvcc.shelf import Shelf

CACHE_BYTES = 32 << 20
RECORD_OVERHEAD_BYTES = 350  # of a cached version in Python: tuple, integers, key, dict entry


class Records:
    __slots__ = (
        "_old",
        "_shelf",
        "_young",
        "_young_bytes",
        "_young_bytes_max",
        "written_bytes",
    )

    def __init__(self, shelf: Shelf, cache_bytes: int = CACHE_BYTES) -> None:
        self._shelf = shelf
        self._young: dict[bytes, KeyValue] = {}
        self._old: dict[bytes, KeyValue] = {}
        self._young_bytes = 0
        self._young_bytes_max = cache_bytes // 2
        self.written_bytes = 0  # of versions, since the start

    def get(self, key: bytes) -> KeyValue | None:
        """The key's present version, None if it is not live."""
        kv = self._young.get(key)
        if kv is not None:
            return kv
        kv = self._old.pop(key, None)
        if kv is None:
            data = self._shelf.get(LIVE + key)
            if data is None:
                return None
            kv = decode_record(key, data)
        self._keep(kv)
        return kv

    def peek(self, key: bytes) -> KeyValue | None:
        """As `get`, but the cache stays as it is."""
        kv = self.cached(key)
        if kv is None:
            data = self._shelf.get(LIVE + key)
            kv = None if data is None else decode_record(key, data)
        return kv

    def put(self, kv: KeyValue) -> None:
        data = encode_record(kv)
        self._shelf.put(LIVE + kv.key, data)
        self._young[kv.key] = kv
        self._young_bytes += RECORD_OVERHEAD_BYTES + len(data)
        self.written_bytes += len(data)
        if self._young_bytes > self._young_bytes_max:
            self._grow_old()

    def remove(self, key: bytes) -> None:
        self._shelf.delete(LIVE + key)
        self._young.pop(key, None)
        self._old.pop(key, None)

    def cached(self, key: bytes) -> KeyValue | None:
        """The version, if it is in memory."""
        return self._young.get(key) or self._old.get(key)

    def _keep(self, kv: KeyValue) -> None:
        value = kv.value
        self._young[kv.key] = kv
        self._young_bytes += RECORD_OVERHEAD_BYTES + (
            len(value) if isinstance(value, bytes) else RECORD_OVERHEAD_BYTES
        )
        if self._young_bytes > self._young_bytes_max:
            self._grow_old()

    def _grow_old(self) -> None:
        self._old, self._young = self._young, {}
        self._young_bytes = 0

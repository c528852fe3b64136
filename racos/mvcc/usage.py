"""How much the versions held are, kept up to date change by change; the quota rests on it."""

from __future__ import annotations

from struct import Struct

from racos.mvcc.command import KeyValue

_USAGE = Struct("<qqq")


class Usage:
    """Bytes of keys and values as clients gave them."""

    __slots__ = ("coded_bytes", "inline_bytes", "versions")

    def __init__(self, data: bytes | None = None) -> None:
        """`data` is what `encode` gave; None for a store without a version."""
        found = (0, 0, 0) if data is None else _USAGE.unpack(data)
        self.versions: int = found[0]
        self.inline_bytes: int = found[1]  # of keys, and of values that are not coded
        self.coded_bytes: int = found[2]  # of values that are, each whole

    def encode(self) -> bytes:
        return _USAGE.pack(self.versions, self.inline_bytes, self.coded_bytes)

    def add(self, kv: KeyValue) -> None:
        value = kv.value
        self.versions += 1
        if isinstance(value, bytes):
            self.inline_bytes += len(kv.key) + len(value)
        else:
            self.inline_bytes += len(kv.key)
            self.coded_bytes += value.length

    def drop(self, kv: KeyValue) -> None:
        value = kv.value
        self.versions -= 1
        self.inline_bytes -= len(kv.key)
        if isinstance(value, bytes):
            self.inline_bytes -= len(value)
        else:
            self.coded_bytes -= value.length

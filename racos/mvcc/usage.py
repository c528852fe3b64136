"""How much the versions held are, kept up to date change by change; the quota rests on it."""

from __future__ import annotations

from racos.mvcc.command import KeyValue


class Usage:
    """Bytes of keys and values as clients gave them."""

    __slots__ = ("coded_bytes", "inline_bytes", "versions")

    def __init__(self, versions: int = 0, inline_bytes: int = 0, coded_bytes: int = 0) -> None:
        self.versions = versions
        self.inline_bytes = inline_bytes  # of keys, and of values that are not coded
        self.coded_bytes = coded_bytes  # of values that are, each whole

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

"""Watch answers as bytes: each event is encoded once and shared by all answers that hold it.

An answer is the concatenation of its fields, so what differs between watchers (the watch id) and
what does not (header, events) are encoded apart and joined.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from etcdshim import values
from etcdshim.backend import Backend
from etcdshim.convert import fill_key_value
from etcdshim.pb import kv_pb2
from etcdshim.pb import rpc_pb2 as pb
from racos.mvcc.command import CodedValue, Event, KeyValue

_HEADER_TAG = b"\x0a"  # field 1, length-delimited
_EVENT_TAG = b"\x5a"  # field 11, length-delimited
_FRAGMENT_TRUE = b"\x38\x01"  # field 7, varint


class SharedEvent:
    """One event with its encodings, made when first needed: with and without the previous value."""

    __slots__ = ("_bare", "_full", "event", "size")

    def __init__(self, event: Event) -> None:
        self.event = event
        self.size = _size(event)  # bytes, about: for bounds, before the values are at hand
        self._bare: bytes | None = None
        self._full: bytes | None = None

    def encoded(self, prev_kv: bool) -> bytes | None:
        """The event as a field of an answer; None until `encode` was called for that form."""
        return self._full if prev_kv else self._bare

    def coded_values(self, prev_kv: bool) -> list[CodedValue]:
        """The coded values in that form of the event."""
        kvs: list[KeyValue] = [self.event.kv]
        if prev_kv and self.event.prev_kv is not None:
            kvs.append(self.event.prev_kv)
        return [kv.value for kv in kvs if isinstance(kv.value, CodedValue)]

    def encode(self, prev_kv: bool, loaded: Mapping[CodedValue, bytes]) -> bytes:
        message = kv_pb2.Event()
        if self.event.is_delete:
            message.type = kv_pb2.Event.DELETE
        fill_key_value(message.kv, self.event.kv, loaded)
        if prev_kv and self.event.prev_kv is not None:
            fill_key_value(message.prev_kv, self.event.prev_kv, loaded)
        data = message.SerializeToString()
        field = b"".join((_EVENT_TAG, _varint(len(data)), data))
        if prev_kv:
            self._full = field
        else:
            self._bare = field
        return field


def _size(event: Event) -> int:
    size = 0
    for kv in (event.kv, event.prev_kv):
        if kv is not None:
            value = kv.value
            size += 64 + len(kv.key)
            size += value.length if isinstance(value, CodedValue) else len(value)
    return size


class Answer:
    """Events on their way to one watcher, whose values may still have to be loaded."""

    __slots__ = ("_events", "_fragment_bytes", "_header", "_prev_kv", "_watch_id", "size")

    def __init__(
        self,
        header: bytes,
        watch_id: bytes,
        events: Sequence[SharedEvent],
        *,
        prev_kv: bool,
        fragment_bytes: int,  # 0: never split
    ) -> None:
        self._header = header
        self._watch_id = watch_id
        self._events = events
        self._prev_kv = prev_kv
        self._fragment_bytes = fragment_bytes
        self.size = sum(event.size for event in events)

    def try_encode(self, backend: Backend) -> list[bytes] | None:
        """The messages to send, or None when bytes must be loaded first."""
        for event in self._events:
            if event.encoded(self._prev_kv) is None:
                loaded: dict[CodedValue, bytes] = {}
                for value in event.coded_values(self._prev_kv):
                    data = backend.cached(value)
                    if data is None:
                        return None
                    loaded[value] = data
                event.encode(self._prev_kv, loaded)
        return self._messages()

    async def encode(self, backend: Backend) -> list[bytes]:
        """The messages to send, after one load of all that is missing. Raises as Backend.load."""
        missing = [event for event in self._events if event.encoded(self._prev_kv) is None]
        wanted = [value for event in missing for value in event.coded_values(self._prev_kv)]
        loaded = await values.load(backend, wanted)
        for event in missing:
            event.encode(self._prev_kv, loaded)
        return self._messages()

    def _messages(self) -> list[bytes]:
        fields = [event.encoded(self._prev_kv) or b"" for event in self._events]
        size = len(self._header) + len(self._watch_id) + sum(map(len, fields))
        if not self._fragment_bytes or size < self._fragment_bytes or len(fields) < 2:
            return [b"".join((self._header, self._watch_id, *fields))]
        parts = _pack(fields, self._fragment_bytes - len(self._header) - len(self._watch_id) - 2)
        last = parts.pop()
        marked = [b"".join((self._header, self._watch_id, _FRAGMENT_TRUE, *part)) for part in parts]
        return [*marked, b"".join((self._header, self._watch_id, *last))]


def _pack(fields: Sequence[bytes], room: int) -> list[list[bytes]]:
    """Consecutive fields in parts smaller than `room`, each of one field at least."""
    parts: list[list[bytes]] = [[]]
    size = 0
    for field in fields:
        if parts[-1] and size + len(field) >= room:
            parts.append([])
            size = 0
        parts[-1].append(field)
        size += len(field)
    return parts


def header_field(header: pb.ResponseHeader) -> bytes:
    """A header as the first field of an answer."""
    data = header.SerializeToString()
    return b"".join((_HEADER_TAG, _varint(len(data)), data))


def watch_id_field(watch_id: int) -> bytes:
    return pb.WatchResponse(watch_id=watch_id).SerializeToString()


def _varint(value: int) -> bytes:
    if value < 0x80:
        return bytes((value,))
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)

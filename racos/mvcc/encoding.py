"""How the state machine's state is laid out on a shelf.

One byte says what an entry is. Integers in keys are big-endian: the shelf's order is theirs.

    k key                        the present version of a live key
    v key 00 01 revision number  a superseded version, or a tombstone
    r revision                   which keys changed, from that revision up to the next such entry
    l lease                      a lease;  x lease key: that the key is attached to it
    m                            the store's counters
    z member kind                an alarm

In a `v` key every 00 of the key is written 00 ff: versions sort by key, then age, whatever bytes
the keys have. `number` orders several changes of one key within one revision.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from struct import Struct
from typing import Final, NamedTuple

from racos.mvcc.command import Alarm, CodedValue, KeyValue, Value

LIVE: Final = b"k"
PAST: Final = b"v"
CHANGES: Final = b"r"
LEASES: Final = b"l"
ATTACHED: Final = b"x"
COUNTERS: Final = b"m"
ALARMS: Final = b"z"

FINAL_NUMBER: Final = 0xFFFFFFFF  # of the version with which a key left its revision

_END = b"\x00\x01"  # of the key in a `v` key
_AGE = Struct(">QI")  # revision, number
_AGE_BYTES = _AGE.size
_RECORD = Struct("<qqqqB")  # create, mod, version, lease, kind of value
_RECORD_BYTES = _RECORD.size
_PLAIN, _CODED = 0, 1
_CODED_HEAD = Struct("<Q32sQHIH")  # length, digest, round, lane, index, number of fragments
_FRAGMENT_BYTES = 16
_REVISION = Struct(">Q")
_COUNT = Struct("<I")
_CHANGE = Struct("<BI")  # is_delete, length of key
_ONE_PUT = Struct("<IBI")
_LEASE_KEY = Struct(">q")
_LEASE = Struct("<qQQ")
_ALARM_KEY = Struct(">QQ")  # member, kind
_COUNTERS = Struct("<qqqQQQQQ")


class Counters(NamedTuple):
    """What a store counts. `compacted`: the compaction whose dropping of versions is done."""

    revision: int
    compact_revision: int
    compacted: int
    renewals: int
    granted: int
    versions: int  # see mvcc.usage, as are the next ones
    inline_bytes: int
    coded_bytes: int


class LeaseRecord(NamedTuple):
    ttl: int  # seconds
    renewal: int
    number: int  # of its grant, among all grants there were


def encode_record(kv: KeyValue) -> bytes:
    """A version without its key."""
    _, create, mod, version, value, lease = kv
    if isinstance(value, bytes):
        return _RECORD.pack(create, mod, version, lease, _PLAIN) + value
    return _RECORD.pack(create, mod, version, lease, _CODED) + _encode_coded(value)


def decode_record(key: bytes, data: bytes) -> KeyValue:
    create, mod, version, lease, kind = _RECORD.unpack_from(data)
    value: Value = data[_RECORD_BYTES:]
    if kind == _CODED:
        value = _decode_coded(data)
    return KeyValue(key, create, mod, version, value, lease)


def _encode_coded(value: CodedValue) -> bytes:
    digests = value.fragment_digests
    head = _CODED_HEAD.pack(
        value.length, value.digest, value.round, value.lane, value.index, len(digests)
    )
    return head + b"".join(digests)


def _decode_coded(data: bytes) -> CodedValue:
    fields = _CODED_HEAD.unpack_from(data, _RECORD_BYTES)
    length, digest, round_, lane, index, count = fields
    start = _RECORD_BYTES + _CODED_HEAD.size
    ends = range(start, start + count * _FRAGMENT_BYTES, _FRAGMENT_BYTES)
    digests = tuple(data[at : at + _FRAGMENT_BYTES] for at in ends)
    return CodedValue(length, digest, digests, round_, lane, index)


def past_of(key: bytes) -> bytes:
    """What all `v` entries of the key begin with."""
    return PAST + key.replace(b"\x00", b"\x00\xff") + _END


def past_bound(key: bytes) -> bytes:
    """Where the `v` entries of this key and the following ones begin."""
    return PAST + key.replace(b"\x00", b"\x00\xff")


def past_key(key: bytes, revision: int, number: int) -> bytes:
    return past_of(key) + _AGE.pack(revision, number)


def split_past_key(entry: bytes) -> tuple[bytes, int]:
    """The `v` entry's key as in `past_of`, and its revision."""
    return entry[:-_AGE_BYTES], _AGE.unpack_from(entry, len(entry) - _AGE_BYTES)[0]


def key_of_past(prefix: bytes) -> bytes:
    """The key that `past_of` wrote."""
    return prefix[1 : -len(_END)].replace(b"\x00\xff", b"\x00")


def changes_key(revision: int) -> bytes:
    return CHANGES + _REVISION.pack(revision)


def revision_of_changes(entry: bytes) -> int:
    number: int = _REVISION.unpack_from(entry, 1)[0]
    return number


def encode_changes(changes: Sequence[tuple[bool, bytes]]) -> bytes:
    """One revision: (is_delete, key) of its changes in order."""
    listed = [_CHANGE.pack(is_delete, len(key)) + key for is_delete, key in changes]
    return _COUNT.pack(len(listed)) + b"".join(listed)


def encode_put(key: bytes) -> bytes:
    """As `encode_changes`, of the commonest revision: one put."""
    return _ONE_PUT.pack(1, 0, len(key)) + key


def decode_changes(data: bytes) -> list[list[tuple[bool, bytes]]]:
    """The revisions whose encodings were joined."""
    revisions: list[list[tuple[bool, bytes]]] = []
    at = 0
    while at < len(data):
        (count,) = _COUNT.unpack_from(data, at)
        at += _COUNT.size
        changes = []
        for _ in range(count):
            is_delete, length = _CHANGE.unpack_from(data, at)
            at += _CHANGE.size
            changes.append((bool(is_delete), data[at : at + length]))
            at += length
        revisions.append(changes)
    return revisions


def lease_key(id_: int) -> bytes:
    return LEASES + _LEASE_KEY.pack(id_)


def lease_id(entry: bytes) -> int:
    """Of an `l` or `x` entry."""
    id_: int = _LEASE_KEY.unpack_from(entry, 1)[0]
    return id_


def attached_key(id_: int, key: bytes) -> bytes:
    return ATTACHED + _LEASE_KEY.pack(id_) + key


def key_of_attached(entry: bytes) -> bytes:
    return entry[1 + _LEASE_KEY.size :]


def alarm_key(alarm: Alarm) -> bytes:
    return ALARMS + _ALARM_KEY.pack(*alarm)


def alarm_of(entry: bytes) -> Alarm:
    """The alarm that `alarm_key` wrote."""
    return Alarm(*_ALARM_KEY.unpack_from(entry, 1))


def encode_lease(lease: LeaseRecord) -> bytes:
    return _LEASE.pack(*lease)


def decode_lease(data: bytes) -> LeaseRecord:
    return LeaseRecord(*_LEASE.unpack(data))


def encode_counters(counters: Counters) -> bytes:
    return _COUNTERS.pack(*counters)


def decode_counters(data: bytes) -> Counters:
    return Counters(*_COUNTERS.unpack(data))


def after(prefix: bytes) -> bytes:
    """The end of the range of entries that begin with a one-byte `prefix`."""
    return bytes([prefix[0] + 1])


def past_entries(
    entries: Iterable[tuple[bytes, bytes]],
) -> Iterator[tuple[bytes, list[KeyValue]]]:
    """`v` entries grouped: (key, its versions, oldest first)."""
    prefix, key, versions = b"", b"", list[KeyValue]()
    for entry, data in entries:
        own, _ = split_past_key(entry)
        if own != prefix:
            if versions:
                yield key, versions
            prefix, key, versions = own, key_of_past(own), []
        versions.append(decode_record(key, data))
    if versions:
        yield key, versions

"""What etcd keeps in which bucket of its database, and how each entry is written.

Bytes are etcd's own, so that its tools find in a file from here what they would find in one of
theirs. The schema is that of etcd 3.5, which 3.6 reads, too, and brings up to date by itself.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from struct import Struct
from typing import NamedTuple

from racos.mvcc.command import Alarm, KeyValue
from racos.pb import backup_pb2 as pb

__all__ = [
    "BUCKETS",
    "GHOST",
    "KEYS",
    "SCHEMA_VERSION",
    "Facts",
    "MemberFacts",
    "encode_version",
    "encoded_size",
    "entries",
    "revision_key",
]

SCHEMA_VERSION = "3.5.0"
KEYS = b"key"
BUCKETS = (
    b"alarm",
    b"auth",
    b"authRoles",
    b"authUsers",
    b"cluster",
    KEYS,
    b"lease",
    b"members",
    b"members_removed",
    b"meta",
)
GHOST = b""  # the value at a revision that exists only so that revisions go on from there

_REVISION = Struct(">QcQ")
_NUMBER = Struct(">Q")
_TOMBSTONE = b"t"


class MemberFacts(NamedTuple):
    id: int  # u64
    name: str
    peer_urls: tuple[str, ...]
    client_urls: tuple[str, ...]


class Facts(NamedTuple):
    """What a backup says besides keys, all of it at the keys' revision."""

    compact_revision: int  # -1: none
    leases: Sequence[tuple[int, int]] = ()  # id, TTL in seconds
    alarms: Sequence[Alarm] = ()
    members: Sequence[MemberFacts] = ()
    applied_index: int = 1
    term: int = 1


def revision_key(main: int, sub: int, is_tombstone: bool) -> bytes:
    """The key of one change: its revision, and its place among the revision's changes."""
    key = _REVISION.pack(main, b"_", sub)
    return key + _TOMBSTONE if is_tombstone else key


def encode_version(kv: KeyValue, value: bytes) -> bytes:
    """The value of one change; of a tombstone it is only the key."""
    if not kv.version:
        return pb.KeyValue(key=kv.key).SerializeToString()
    return pb.KeyValue(
        key=kv.key,
        create_revision=kv.create_revision,
        mod_revision=kv.mod_revision,
        version=kv.version,
        value=value,
        lease=kv.lease,
    ).SerializeToString()


def encoded_size(kv: KeyValue) -> int:
    """How long `encode_version` makes it, without its value's bytes."""
    if not kv.version:
        return pb.KeyValue(key=kv.key).ByteSize()
    size = pb.KeyValue(
        key=kv.key,
        create_revision=kv.create_revision,
        mod_revision=kv.mod_revision,
        version=kv.version,
        lease=kv.lease,
    ).ByteSize()
    length = len(kv.value) if isinstance(kv.value, bytes) else kv.value.length
    if not length:
        return size
    return size + 1 + (length.bit_length() + 6) // 7 + length


def entries(bucket: bytes, facts: Facts) -> Iterator[tuple[bytes, bytes]]:
    """The entries of a bucket other than that of keys, in key order."""
    return iter(sorted(_entries(bucket, facts)))


def _entries(bucket: bytes, facts: Facts) -> Iterable[tuple[bytes, bytes]]:
    match bucket:
        case b"alarm":
            return [(_alarm(alarm), b"") for alarm in facts.alarms]
        case b"auth":
            return [(b"authEnabled", b"\0"), (b"authRevision", _NUMBER.pack(1))]
        case b"cluster":
            return [(b"clusterVersion", SCHEMA_VERSION.encode())]
        case b"lease":
            return [_lease(*lease) for lease in facts.leases]
        case b"members":
            return [(b"%x" % member.id, _member(member)) for member in facts.members]
        case b"meta":
            return _meta(facts)
    return ()


def _alarm(alarm: Alarm) -> bytes:
    return pb.AlarmMember(member=alarm.member, alarm=alarm.kind).SerializeToString()


def _lease(id_: int, ttl: int) -> tuple[bytes, bytes]:
    return _NUMBER.pack(id_), pb.Lease(id=id_, ttl=ttl).SerializeToString()


def _member(member: MemberFacts) -> bytes:
    fields = {
        "id": member.id,
        "peerURLs": member.peer_urls,
        "name": member.name,
        "clientURLs": member.client_urls,
    }
    return _json(fields)


def _meta(facts: Facts) -> Iterator[tuple[bytes, bytes]]:
    yield b"consistent_index", _NUMBER.pack(facts.applied_index)
    yield b"term", _NUMBER.pack(facts.term)
    yield b"confState", _json({"voters": [m.id for m in facts.members], "auto_leave": False})
    if facts.compact_revision > 0:
        revision = revision_key(facts.compact_revision, 0, False)
        yield b"scheduledCompactRev", revision
        yield b"finishedCompactRev", revision


def _json(fields: object) -> bytes:
    return json.dumps(fields, separators=(",", ":")).encode()

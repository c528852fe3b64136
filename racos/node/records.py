"""Records of the core as records of the log, and back."""

from __future__ import annotations

from enum import IntEnum
from typing import TypeAlias

from crc32c import crc32c

from racos.core.ballots import Ballot
from racos.core.messages import (
    AppliedRecord,
    Buffer,
    Payload,
    PayRecord,
    Record,
    ReserveRecord,
    StateRecord,
    VoteRecord,
)
from racos.core.quorum import bits
from racos.pb import log_pb2 as pb

_CRC_BYTES = 4


class Kind(IntEnum):
    """What the log calls each record; numbers are on disk and never change their meaning."""

    PAY = 1
    STATE = 2
    VOTE = 3
    RESERVE = 4
    APPLIED = 5
    KEPT = 7  # a PayRecord that promises nothing: fragments healed or moved, descriptors taken over
    BALLOT = 30


LogRecord: TypeAlias = tuple[int, bytes, list[Buffer]]  # kind, header, blobs


class BadDescriptor(Exception):
    """Bytes read back from the log are not the descriptor that was put there."""


def seal(descriptor: Buffer) -> bytes:
    """A descriptor with its checksum, as the log keeps it.

    It is read by its place long after the record that holds it was checked, and by others: a
    replica that is behind applies what it is given. (Fragments are checked by their digests.)
    """
    return b"".join((descriptor, crc32c(descriptor).to_bytes(_CRC_BYTES, "little")))


def unseal(blob: bytes) -> bytes:
    """The descriptor. Raises BadDescriptor."""
    descriptor, crc = blob[:-_CRC_BYTES], blob[-_CRC_BYTES:]
    if crc32c(descriptor).to_bytes(_CRC_BYTES, "little") != crc:
        raise BadDescriptor(f"the {len(descriptor)} bytes of a batch's descriptor are damaged")
    return descriptor


def encode(record: Record) -> LogRecord:
    """How the log keeps a record. Blobs: sealed descriptor, then each stored fragment's values."""
    if isinstance(record, PayRecord):
        return _encode_pay(record)
    if isinstance(record, AppliedRecord):
        start, end, ones, names = record
        applied = pb.AppliedRecord(start=start, end=end, ones=ones, names=names)
        return Kind.APPLIED, applied.SerializeToString(), []
    if isinstance(record, StateRecord):
        kind, header = Kind.STATE, pb.StateRecord(**record._asdict()).SerializeToString()
    elif isinstance(record, VoteRecord):
        kind, header = Kind.VOTE, pb.VoteRecord(**record._asdict()).SerializeToString()
    elif isinstance(record, Ballot):
        kind, header = Kind.BALLOT, pb.BallotRecord(**record._asdict()).SerializeToString()
    else:
        kind, header = Kind.RESERVE, pb.ReserveRecord(upto=record.upto).SerializeToString()
    return kind, header, []


def encode_kept(record: PayRecord) -> LogRecord:
    """What is kept of a batch for its values' sake: of no meaning to the agreement."""
    _, header, blobs = _encode_pay(record)
    return Kind.KEPT, header, blobs


def _encode_pay(record: PayRecord) -> LogRecord:
    lane, round_, payload, held, says_one = record
    blobs: list[Buffer] = [seal(payload.descriptor)]
    values = 0
    if payload.coded:
        for index in bits(held):
            part = payload.fragments[index]
            values = len(part)
            blobs.extend(part)
    header = pb.PayRecord(
        lane=lane,
        round=round_,
        held=held,
        values=values,
        coded=payload.coded,
        says_one=says_one,
    )
    return Kind.PAY, header.SerializeToString(), blobs


def decode(kind: int, header: bytes) -> tuple[Record, int]:
    """The record, and how many blobs each of its fragments has (0: none). A batch's bytes stay in
    the log: its payload here is empty but for `coded`. ValueError for an unknown kind."""
    if kind in (Kind.PAY, Kind.KEPT):
        pay = pb.PayRecord.FromString(header)
        payload = Payload(b"", pay.coded)
        record = PayRecord(pay.lane, pay.round, payload, pay.held, pay.says_one)
        return record, pay.values
    if kind == Kind.STATE:
        s = pb.StateRecord.FromString(header)
        return StateRecord(s.lane, s.first, s.last, s.phase, s.value), 0
    if kind == Kind.VOTE:
        v = pb.VoteRecord.FromString(header)
        return VoteRecord(v.lane, v.first, v.last, v.phase, v.value), 0
    if kind == Kind.RESERVE:
        return ReserveRecord(pb.ReserveRecord.FromString(header).upto), 0
    if kind == Kind.APPLIED:
        a = pb.AppliedRecord.FromString(header)
        return AppliedRecord(a.start, a.end, tuple(a.ones), tuple(a.names)), 0
    if kind == Kind.BALLOT:
        b = pb.BallotRecord.FromString(header)
        return Ballot(b.slot, b.step, b.value, b.name), 0
    raise ValueError(f"record of unknown kind {kind}")


def values_per_fragment(record: PayRecord) -> int:
    """How many blobs each fragment of the batch has: its coded values; 0 if none comes with it."""
    payload = record.payload
    for index in bits(record.held):
        return len(payload.fragments[index]) if payload.coded else 0
    return 0

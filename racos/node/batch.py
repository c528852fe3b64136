"""Batches: commands to a descriptor and back, large values to fragments.

A value above the inline limit leaves the descriptor and becomes n fragments; what stays is its
length, its digest and a digest of each fragment. Its name, the CodedValue, holds the slot it was
proposed in, so commands are bound to their slot only once that is known (and again if the slot
became null).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, TypeAlias

from racos.core.config import Change
from racos.core.messages import Buffer, Payload
from racos.erasure.codec import Codec
from racos.erasure.verify import FRAGMENT_DIGEST_BYTES, digest, fragment_digest
from racos.mvcc.command import (
    Alarm,
    CodedValue,
    Command,
    Compare,
    CompareTarget,
    DeleteRange,
    KeyValue,
    LeaseGrant,
    Load,
    Operation,
    Put,
    Range,
    Txn,
    Value,
)
from racos.node import changes
from racos.node.commands import decode_plain, encode_plain
from racos.pb import batch_pb2 as pb

_AnyCommand: TypeAlias = Command | Operation


class Prepared(NamedTuple):
    """A batch ready to propose: its payload has all fragments."""

    commands: tuple[Command, ...]  # with plain values
    payload: Payload
    values: tuple[CodedValue, ...]  # the coded ones, round and lane not yet known


class BatchEncoder:
    """Turns commands into batches; one per node."""

    __slots__ = ("_codec", "inline_limit")

    def __init__(self, codec: Codec, inline_limit: int) -> None:
        self._codec = codec
        self.inline_limit = inline_limit  # bytes

    def prepare(self, commands: Sequence[Command]) -> Prepared:
        """Encode commands, coding every put value above the inline limit."""
        batch = pb.Batch()
        values: list[CodedValue] = []
        fragments: dict[int, list[Buffer]] = {}
        for command in commands:
            self._add(batch.commands.add(), command, values, fragments)
        payload = Payload(batch.SerializeToString(), bool(values), fragments)
        return Prepared(tuple(commands), payload, tuple(values))

    def bind(self, prepared: Prepared, round_: int, lane: int) -> Sequence[Command]:
        """The commands as every replica will apply them when this slot is decided."""
        if not prepared.values:
            return prepared.commands
        values = iter([v._replace(round=round_, lane=lane) for v in prepared.values])
        return [self._bind(command, values) for command in prepared.commands]

    def _bind(self, command: Command, values: Iterator[CodedValue]) -> Command:
        if isinstance(command, Put):
            return self._bind_put(command, values)
        return self._bind_txn(command, values) if isinstance(command, Txn) else command

    def _bind_put(self, put: Put, values: Iterator[CodedValue]) -> Put:
        return put._replace(value=next(values)) if len(put.value) > self.inline_limit else put

    def _bind_txn(self, txn: Txn, values: Iterator[CodedValue]) -> Txn:
        success = tuple([self._bind_operation(each, values) for each in txn.success])
        failure = tuple([self._bind_operation(each, values) for each in txn.failure])
        return txn._replace(success=success, failure=failure)

    def _bind_operation(self, operation: Operation, values: Iterator[CodedValue]) -> Operation:
        if isinstance(operation, Put):
            return self._bind_put(operation, values)
        return self._bind_txn(operation, values) if isinstance(operation, Txn) else operation

    def _add(
        self,
        target: pb.Command,
        command: Command,
        values: list[CodedValue],
        fragments: dict[int, list[Buffer]],
    ) -> None:
        if isinstance(command, Put):
            self._add_put(target.put, command, values, fragments)
        elif isinstance(command, DeleteRange):
            _add_delete(target.delete_range, command)
        elif isinstance(command, Txn):
            self._add_txn(target.txn, command, values, fragments)
        elif isinstance(command, Load):
            self._add_load(target.load, command, values, fragments)
        else:
            encode_plain(target, command)

    def _add_put(
        self,
        target: pb.Put,
        put: Put,
        values: list[CodedValue],
        fragments: dict[int, list[Buffer]],
    ) -> None:
        target.key = put.key
        value = put.value
        assert isinstance(value, bytes)
        if len(value) > self.inline_limit:
            coded = self._code(value, len(values), fragments)
            values.append(coded)
            target.coded.length = coded.length
            target.coded.digest = coded.digest
            target.coded.fragment_digests = b"".join(coded.fragment_digests)
        else:
            target.value = value
        if put.lease or put.ignore_value or put.ignore_lease or put.prev_kv:
            target.lease = put.lease
            target.ignore_value = put.ignore_value
            target.ignore_lease = put.ignore_lease
            target.prev_kv = put.prev_kv

    def _add_load(
        self,
        target: pb.Load,
        piece: Load,
        values: list[CodedValue],
        fragments: dict[int, list[Buffer]],
    ) -> None:
        for kv in piece.versions:
            version = target.versions.add(
                create_revision=kv.create_revision,
                mod_revision=kv.mod_revision,
                version=kv.version,
            )
            self._add_put(version.put, Put(kv.key, kv.value, kv.lease), values, fragments)
        for grant in piece.leases:
            target.leases.add(id=grant.id, ttl=grant.ttl)
        for alarm in piece.alarms:
            target.alarms.add(member=alarm.member, kind=alarm.kind)
        target.compact_revision = piece.compact_revision
        target.revision = piece.revision

    def _code(self, value: bytes, index: int, fragments: dict[int, list[Buffer]]) -> CodedValue:
        parts = self._codec.encode(value)
        for number, part in enumerate(parts):
            fragments.setdefault(number, []).append(part)
        digests = tuple([fragment_digest(part) for part in parts])
        return CodedValue(len(value), digest(value), digests, 0, 0, index)

    def _add_txn(
        self,
        target: pb.Txn,
        txn: Txn,
        values: list[CodedValue],
        fragments: dict[int, list[Buffer]],
    ) -> None:
        target.SetInParent()
        for compare in txn.compare:
            _add_compare(target.compare.add(), compare)
        for branch, operations in ((target.success, txn.success), (target.failure, txn.failure)):
            for operation in operations:
                self._add_operation(branch.add(), operation, values, fragments)

    def _add_operation(
        self,
        target: pb.Operation,
        operation: Operation,
        values: list[CodedValue],
        fragments: dict[int, list[Buffer]],
    ) -> None:
        if isinstance(operation, Put):
            self._add_put(target.put, operation, values, fragments)
        elif isinstance(operation, DeleteRange):
            _add_delete(target.delete_range, operation)
        elif isinstance(operation, Range):
            for field, value in zip(Range._fields, operation, strict=True):
                setattr(target.range, field, value)
            target.range.SetInParent()
        else:
            self._add_txn(target.txn, operation, values, fragments)


def _add_delete(target: pb.DeleteRange, command: DeleteRange) -> None:
    target.key = command.key
    target.range_end = command.range_end
    target.prev_kv = command.prev_kv
    target.SetInParent()


def _add_compare(target: pb.Compare, compare: Compare) -> None:
    target.result = compare.result
    target.target = compare.target
    target.key = compare.key
    target.range_end = compare.range_end
    if isinstance(compare.operand, bytes):
        target.literal = compare.operand
    else:
        target.number = compare.operand


class _Namer:
    """Gives the coded values of one batch their names, in order of appearance."""

    __slots__ = ("index", "lane", "round")

    def __init__(self, round_: int, lane: int) -> None:
        self.round = round_
        self.lane = lane
        self.index = 0

    def value(self, put: pb.Put) -> Value:
        if not put.HasField("coded"):
            return put.value
        coded, size = put.coded, FRAGMENT_DIGEST_BYTES
        joined = coded.fragment_digests
        digests = tuple([joined[at : at + size] for at in range(0, len(joined), size)])
        index, self.index = self.index, self.index + 1
        return CodedValue(coded.length, coded.digest, digests, self.round, self.lane, index)


def prepare_change(change: Change) -> Prepared:
    """A batch that changes the configuration, and nothing else."""
    return Prepared((), Payload(changes.encode(change)), ())


class Unpacked(NamedTuple):
    """What a decided batch holds: commands for the store, or a change of the configuration."""

    commands: list[Command]
    change: Change | None


def unpack(descriptor: bytes, round_: int, lane: int) -> Unpacked:
    """A decided batch, its coded values named after their slot."""
    batch = pb.Batch.FromString(descriptor)
    change = changes.found_in(batch)
    if change is not None:
        return Unpacked([], change)
    namer = _Namer(round_, lane)
    return Unpacked([_command(command, namer) for command in batch.commands], None)


def decode(descriptor: bytes, round_: int, lane: int) -> list[Command]:
    """The commands of a decided batch: see `unpack`."""
    return unpack(descriptor, round_, lane).commands


def coded_values(descriptor: bytes, round_: int, lane: int) -> list[CodedValue]:
    """The coded values of a batch in the order of its fragments."""
    found: list[CodedValue] = []
    for command in decode(descriptor, round_, lane):
        found.extend(_values_of(command))
    return found


def plain_values(commands: Iterable[_AnyCommand], inline_limit: int) -> Iterator[bytes]:
    """The values above the inline limit among plain commands, in the order of coding."""
    for command in commands:
        if isinstance(command, Put):
            if isinstance(command.value, bytes) and len(command.value) > inline_limit:
                yield command.value
        elif isinstance(command, Txn):
            yield from plain_values((*command.success, *command.failure), inline_limit)


def _values_of(command: _AnyCommand) -> Iterable[CodedValue]:
    if isinstance(command, Put) and isinstance(command.value, CodedValue):
        yield command.value
    elif isinstance(command, Txn):
        for operation in (*command.success, *command.failure):
            yield from _values_of(operation)
    elif isinstance(command, Load):
        for kv in command.versions:
            if isinstance(kv.value, CodedValue):
                yield kv.value


def _command(command: pb.Command, namer: _Namer) -> Command:
    kind = command.WhichOneof("kind")
    if kind == "put":
        return _put(command.put, namer)
    if kind == "txn":
        return _txn(command.txn, namer)
    if kind == "delete_range":
        return _delete(command.delete_range)
    if kind == "load":
        return _load(command.load, namer)
    return decode_plain(command, kind)


def _put(put: pb.Put, namer: _Namer) -> Put:
    return Put(
        put.key, namer.value(put), put.lease, put.prev_kv, put.ignore_value, put.ignore_lease
    )


def _load(load: pb.Load, namer: _Namer) -> Load:
    return Load(
        tuple([_version(version, namer) for version in load.versions]),
        tuple([LeaseGrant(grant.id, grant.ttl) for grant in load.leases]),
        tuple([Alarm(alarm.member, alarm.kind) for alarm in load.alarms]),
        load.compact_revision,
        load.revision,
    )


def _version(version: pb.Version, namer: _Namer) -> KeyValue:
    return KeyValue(
        version.put.key,
        version.create_revision,
        version.mod_revision,
        version.version,
        namer.value(version.put),
        version.put.lease,
    )


def _delete(delete: pb.DeleteRange) -> DeleteRange:
    return DeleteRange(delete.key, delete.range_end, delete.prev_kv)


def _txn(txn: pb.Txn, namer: _Namer) -> Txn:
    return Txn(
        tuple([_compare(compare) for compare in txn.compare]),
        tuple([_operation(operation, namer) for operation in txn.success]),
        tuple([_operation(operation, namer) for operation in txn.failure]),
    )


def _operation(operation: pb.Operation, namer: _Namer) -> Operation:
    kind = operation.WhichOneof("kind")
    if kind == "put":
        return _put(operation.put, namer)
    if kind == "txn":
        return _txn(operation.txn, namer)
    if kind == "delete_range":
        return _delete(operation.delete_range)
    return Range(*[getattr(operation.range, field) for field in Range._fields])


def _compare(compare: pb.Compare) -> Compare:
    by_value = compare.target == CompareTarget.VALUE
    operand: int | bytes = compare.literal if by_value else compare.number
    return Compare(compare.result, compare.target, compare.key, operand, compare.range_end)

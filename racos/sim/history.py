"""What clients did and saw: one entry per call, to be judged after the run."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple, TypeAlias

from racos.mvcc.command import (
    Command,
    Compare,
    CompareResult,
    CompareTarget,
    DeleteRange,
    KeyValue,
    LeaseGrant,
    LeaseRevoke,
    Put,
    Range,
    Result,
    Txn,
)


class Outcome(Enum):
    """What the client knows of its call."""

    OPEN = "no answer yet"
    OK = "answered, maybe with a refusal that every replica agrees on"
    NOT_DONE = "surely not done"
    UNKNOWN = "maybe done"


class KeepAlive(NamedTuple):
    """A request that is no command: the node asked decides whether it becomes one."""

    id: int


# str: the name of a refusal; int: the TTL that a keep-alive was answered with.
Answer: TypeAlias = Result | str | int | None


@dataclass(slots=True)
class Call:
    """One operation of one client. Times are the world's; `returned_at` None: never."""

    number: int
    client: int
    lane: int
    called_at: float
    request: Command | Range | KeepAlive
    returned_at: float | None = None
    outcome: Outcome = Outcome.OPEN
    answer: Answer = None
    linearizable: bool = True  # reads only
    revision: int = 0  # the state that a read saw
    compacted: int = -1  # the node's compaction revision then
    loaded: dict[bytes, bytes] = field(default_factory=dict)  # value bytes a read fetched, by key

    @property
    def is_read(self) -> bool:
        return isinstance(self.request, Range)

    @property
    def is_command(self) -> bool:
        """Whether it has a place of its own in the decided order."""
        return not isinstance(self.request, Range | KeepAlive)


_MARK = b"~"


def name_put(number: int, filler: int) -> bytes:
    """A value that names its call, `filler` bytes long at least."""
    head = b"%d%s" % (number, _MARK)
    if filler <= len(head):
        return head
    block = b"%d-" % (number * 2654435761 % (1 << 32))
    return head + (block * (filler // len(block) + 1))[: filler - len(head)]


def name_delete(key: bytes, number: int, prev_kv: bool) -> DeleteRange:
    """Deletes one key, by a range that names the call (nothing else lies within)."""
    return DeleteRange(key, key + b"\0%d" % number, prev_kv)


def name_txn(number: int, txn: Txn) -> Txn:
    """The transaction with a guard that always holds and names the call."""
    guard = Compare(CompareResult.EQUAL, CompareTarget.VERSION, b"call/%d" % number, 0)
    return txn._replace(compare=(*txn.compare, guard))


def lease_id(number: int) -> int:
    """The id of the lease that a call grants; no other call ever grants it."""
    return number + 1


def number_of(
    command: Command, heads: dict[bytes, int], revocations: dict[int, int] | None = None
) -> int | None:
    """The call a decided command came from; None for compactions, which have no name, and for
    renewals and expiries, which nodes propose.

    `heads` maps the digest of each coded value to its call; `revocations` each lease to the call
    that revokes it.
    """
    if isinstance(command, Put):
        value = command.value
        if isinstance(value, bytes):
            return int(value.partition(_MARK)[0])
        return heads[value.digest]
    if isinstance(command, DeleteRange):
        return int(command.range_end.rpartition(b"\0")[2])
    if isinstance(command, Txn):
        return int(command.compare[-1].key.rpartition(b"/")[2])
    if isinstance(command, LeaseGrant):
        return command.id - 1
    if isinstance(command, LeaseRevoke):
        return (revocations or {})[command.id]
    return None


def same_kv(actual: KeyValue | None, expected: KeyValue | None, digests: dict[bytes, int]) -> bool:
    """Whether a replica's key-value equals the model's; coded values are known by digest."""
    if actual is None or expected is None:
        return actual is expected
    if actual[:4] != expected[:4] or actual.lease != expected.lease:
        return False
    value = actual.value
    if isinstance(value, bytes):
        return value == expected.value
    assert isinstance(expected.value, bytes)
    call = int(expected.value.partition(_MARK)[0])
    return value.length == len(expected.value) and digests.get(value.digest) == call

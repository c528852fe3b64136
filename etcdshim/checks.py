"""What etcd checks in a request before it looks at the store, in etcd's order."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from etcdshim.errors import Refusal
from etcdshim.large_put import AnyPut
from etcdshim.pb import rpc_pb2 as pb

_SORT_ORDERS = frozenset(pb.RangeRequest.SortOrder.values())
_SORT_TARGETS = frozenset(pb.RangeRequest.SortTarget.values())


def check_range(request: pb.RangeRequest) -> None:
    if not request.key:
        raise Refusal.KEY_NOT_PROVIDED.error()
    if request.sort_order not in _SORT_ORDERS or request.sort_target not in _SORT_TARGETS:
        raise Refusal.INVALID_SORT.error()


def check_put(request: AnyPut) -> None:
    if not request.key:
        raise Refusal.KEY_NOT_PROVIDED.error()
    if request.ignore_value and request.value:
        raise Refusal.VALUE_PROVIDED.error()
    if request.ignore_lease and request.lease:
        raise Refusal.LEASE_PROVIDED.error()


def check_delete(request: pb.DeleteRangeRequest) -> None:
    if not request.key:
        raise Refusal.KEY_NOT_PROVIDED.error()


def check_txn(request: pb.TxnRequest, max_ops: int) -> None:
    """Both branches at every depth: sizes, keys, flags, then doubly written keys."""
    _check_txn_shape(request, max_ops)
    for branch in (request.success, request.failure):
        # One plain operation cannot clash; most transactions in use have just that.
        if len(branch) > 1 or (branch and branch[0].HasField("request_txn")):
            _branch_writes(branch)


def _check_txn_shape(request: pb.TxnRequest, max_ops: int) -> None:
    ops = max(len(request.compare), len(request.success), len(request.failure))
    if ops > max_ops:
        raise Refusal.TOO_MANY_OPS.error()
    for compare in request.compare:
        if not compare.key:
            raise Refusal.KEY_NOT_PROVIDED.error()
    for branch in (request.success, request.failure):
        for operation in branch:
            _check_operation(operation, max_ops - ops)


def _check_operation(operation: pb.RequestOp, max_ops: int) -> None:
    match operation.WhichOneof("request"):
        case "request_range":
            check_range(operation.request_range)
        case "request_put":
            check_put(operation.request_put)
        case "request_delete_range":
            check_delete(operation.request_delete_range)
        case "request_txn":
            _check_txn_shape(operation.request_txn, max_ops)
        case _:
            raise Refusal.KEY_NOT_FOUND.error()  # what etcd says of an operation without content


class _Writes:
    """The keys that a branch puts and the spans that it deletes."""

    __slots__ = ("_ends", "_starts", "puts", "spans")

    def __init__(self) -> None:
        self.puts: set[bytes] = set()
        self.spans: list[tuple[bytes, bytes]] = []
        self._starts: list[bytes] = []
        self._ends: list[bytes] = []

    def delete(self, spans: Sequence[tuple[bytes, bytes]]) -> None:
        if spans:
            self.spans.extend(spans)
            self._starts, self._ends = _disjoint(self.spans)

    def put(self, key: bytes, unless_in: set[bytes] | None = None) -> None:
        """Note a put; refuse one that meets another put (not one `unless_in`) or a delete."""
        if key in self.puts and (unless_in is None or key not in unless_in):
            raise Refusal.DUPLICATE_KEY.error()
        place = bisect_right(self._starts, key) - 1
        if place >= 0 and key < self._ends[place]:
            raise Refusal.DUPLICATE_KEY.error()
        self.puts.add(key)


def _disjoint(spans: list[tuple[bytes, bytes]]) -> tuple[list[bytes], list[bytes]]:
    """Starts and ends of the union of `spans`, ascending.

    A span whose end is not above its start matches nothing. That includes the open end, a zero
    byte: etcd does not see a put above an open-ended delete as a clash (compared with 3.5.1).
    """
    starts: list[bytes] = []
    ends: list[bytes] = []
    for start, end in sorted(spans):
        if end <= start:
            continue
        if ends and start <= ends[-1]:
            ends[-1] = max(ends[-1], end)
        else:
            starts.append(start)
            ends.append(end)
    return starts, ends


def _branch_writes(branch: Sequence[pb.RequestOp]) -> _Writes:
    """The branch's writes with those of its nested transactions; refuses a doubly written key.

    The two arms of one nested transaction may overlap, since only one of them will run. The order
    is etcd's: deletes of this level, nested transactions one by one (puts, then deletes), puts of
    this level. So a nested delete clashes with a later nested put, not with an earlier one.
    """
    writes = _Writes()
    by_kind: dict[str | None, list[pb.RequestOp]] = {}
    for operation in branch:
        by_kind.setdefault(operation.WhichOneof("request"), []).append(operation)
    deletes = [op.request_delete_range for op in by_kind.get("request_delete_range", ())]
    writes.delete([(delete.key, delete.range_end or delete.key + b"\0") for delete in deletes])
    for operation in by_kind.get("request_txn", ()):
        _add_nested(writes, operation.request_txn)
    for operation in by_kind.get("request_put", ()):
        writes.put(operation.request_put.key)
    return writes


def _add_nested(writes: _Writes, nested: pb.TxnRequest) -> None:
    success = _branch_writes(nested.success)
    failure = _branch_writes(nested.failure)
    for key in success.puts:
        writes.put(key)
    for key in failure.puts:
        writes.put(key, unless_in=success.puts)
    writes.delete(success.spans + failure.spans)


def is_read_only(request: pb.TxnRequest) -> bool:
    """Only ranges in both branches; a nested transaction counts as a write, as in etcd."""
    return all(op.HasField("request_range") for branch in _branches(request) for op in branch)


def is_serializable(request: pb.TxnRequest) -> bool:
    """A read-only transaction whose ranges may all be answered from this member's state."""
    return all(op.request_range.serializable for branch in _branches(request) for op in branch)


def _branches(request: pb.TxnRequest) -> tuple[Sequence[pb.RequestOp], Sequence[pb.RequestOp]]:
    return request.success, request.failure


class SizeCheck:
    """etcd's limit on a write: it counts the request inside the envelope that its log stores.

    The envelope is a header with the request's id (whose encoded length depends on the member id,
    which is the id's high part), and the tag and length of the request itself.
    """

    __slots__ = ("_limit", "_safe")

    _HEADER = 2 + 1 + 1  # tag and length of the header, tag of the id
    _CHEAP_SLACK = 64  # more than all fields of a put but key and value, tags included

    def __init__(self, max_request_bytes: int, member_id: int) -> None:
        id_bytes = _varint_size((member_id & 0xFFFF) << 48 | 1 << 47)
        self._limit = max_request_bytes - self._HEADER - id_bytes - 1
        self._safe = self._limit - self._CHEAP_SLACK

    def check_put(self, request: AnyPut, size: int) -> None:
        """As `check`, without measuring the message when key and value, which have `size` bytes,
        are far from the limit."""
        if size > self._safe:
            self.check(request)

    def check(self, request: AnyPut | pb.DeleteRangeRequest | pb.TxnRequest) -> None:
        size = request.ByteSize()
        if size + _varint_size(size) > self._limit:
            raise Refusal.REQUEST_TOO_LARGE.error()


def _varint_size(value: int) -> int:
    return max(1, (value.bit_length() + 6) // 7)

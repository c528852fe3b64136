"""The space quota: checked before a write is proposed, on the member that takes it.

A write that does not fit raises this member's NOSPACE alarm, which then stops such writes on all
members, until somebody clears it. The costs are etcd's. While any member is out of space, writes
are refused before they are proposed, too: each would take space in every member's log, only to be
refused when it is applied.
"""

from __future__ import annotations

from collections.abc import Iterable

from etcdshim.backend import Backend, TooManyRequests, Unavailable
from etcdshim.errors import BackendFailure, Refusal, translate
from etcdshim.pb import rpc_pb2 as pb
from racos.mvcc.command import Alarm, AlarmKind, AlarmSwitch

PUT_BYTES = 256  # of a put besides key and value
GRANT_BYTES = 64


def _put_cost(request: pb.PutRequest) -> int:
    return PUT_BYTES + len(request.key) + len(request.value)


def txn_cost(request: pb.TxnRequest) -> int:
    """That of the larger branch."""
    return max(_branch_cost(request.success), _branch_cost(request.failure))


class Quota:
    """Refuses what `Backend.has_room` says does not fit."""

    __slots__ = ("_backend",)

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def refuse(self, cost: int) -> None:
        """Refuse with a GrpcError; raise this member's alarm first if it is this one that lacks
        room. Comes back only if an alarm was the reason, which was cleared before this call."""
        if not self._backend.fits(cost):
            await self._raise_alarm()
            raise Refusal.NO_SPACE.error()
        try:
            await self._backend.barrier()
        except BackendFailure as failure:
            raise translate(failure) from failure
        kinds = {alarm.kind for alarm in self._backend.alarms()}
        if AlarmKind.CORRUPT in kinds:
            return  # worse, and the store says so
        if AlarmKind.NOSPACE in kinds:
            raise Refusal.NO_SPACE.error()

    async def _raise_alarm(self) -> None:
        alarm = Alarm(self._backend.member_id, AlarmKind.NOSPACE)
        if alarm in self._backend.alarms():
            return
        try:
            await self._backend.propose(AlarmSwitch(alarm, True))
        except (Unavailable, TooManyRequests):
            return  # the write is refused all the same, and the next one tries again


def _branch_cost(branch: Iterable[pb.RequestOp]) -> int:
    cost = 0
    for operation in branch:
        if operation.HasField("request_put"):
            cost += _put_cost(operation.request_put)
        elif operation.HasField("request_txn"):
            cost += txn_cost(operation.request_txn)
    return cost

"""Maintenance: Status and the list of alarms; Cluster: the list of members."""

from __future__ import annotations

from etcdshim.asgi import Call
from etcdshim.backend import Backend
from etcdshim.errors import BackendFailure, Refusal, translate, unimplemented
from etcdshim.header import Headers, check_call
from etcdshim.pb import rpc_pb2 as pb

VERSION = "3.6.11"  # of etcd's API, which clients read to choose features
STORAGE_VERSION = "3.6.0"


class MaintenanceService:
    __slots__ = ("_backend", "_headers")

    def __init__(self, backend: Backend, headers: Headers) -> None:
        self._backend = backend
        self._headers = headers

    async def status(self, _request: pb.StatusRequest, call: Call) -> pb.StatusResponse:
        check_call(call, self._backend)
        status = self._backend.status()
        errors = list(status.errors)
        _, no_leader = Refusal.NO_LEADER.value
        if status.leader == 0 and no_leader not in errors:
            errors.append(no_leader)
        response = pb.StatusResponse(
            version=VERSION,
            dbSize=status.db_size,
            leader=status.leader,
            raftIndex=status.committed_index,
            raftTerm=self._backend.term,
            raftAppliedIndex=status.applied_index,
            errors=errors,
            dbSizeInUse=status.db_size_in_use,
            isLearner=self._is_learner(),
            storageVersion=STORAGE_VERSION,
            dbSizeQuota=status.db_size_quota,
            downgradeInfo=pb.DowngradeInfo(enabled=False),
        )
        self._headers.stamp(response.header, self._backend.revision)
        return response

    async def alarm(self, request: pb.AlarmRequest, call: Call) -> pb.AlarmResponse:
        """No alarm is ever raised yet: GET answers an empty list, the rest is refused."""
        check_call(call, self._backend)
        if request.action != pb.AlarmRequest.GET:
            raise unimplemented("raising and clearing alarms is")
        return pb.AlarmResponse(header=self._headers.current())

    def _is_learner(self) -> bool:
        own = self._backend.member_id
        return any(member.is_learner for member in self._backend.members() if member.id == own)


class ClusterService:
    __slots__ = ("_backend", "_headers")

    def __init__(self, backend: Backend, headers: Headers) -> None:
        self._backend = backend
        self._headers = headers

    async def member_list(self, request: pb.MemberListRequest, call: Call) -> pb.MemberListResponse:
        check_call(call, self._backend)
        if request.linearizable:
            try:
                await self._backend.barrier()
            except BackendFailure as failure:
                raise translate(failure) from failure
        response = pb.MemberListResponse()
        self._headers.stamp(response.header, 0)  # membership has no revision; etcd sends 0 as well
        for member in self._backend.members():
            response.members.add(
                ID=member.id,
                name=member.name,
                peerURLs=member.peer_urls,
                clientURLs=member.client_urls,
                isLearner=member.is_learner,
            )
        return response

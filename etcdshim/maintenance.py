"""Maintenance: Status, Defragment, Hash and HashKV; Cluster: the list of members."""

from __future__ import annotations

from zlib import crc32

from etcdshim.alarms import describe
from etcdshim.asgi import Call
from etcdshim.backend import Backend
from etcdshim.errors import BackendFailure, Refusal, translate
from etcdshim.header import Headers, check_call
from etcdshim.pb import rpc_pb2 as pb
from etcdshim.steady import fingerprint

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
        errors += map(describe, self._backend.alarms())
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

    async def defragment(self, _request: pb.DefragmentRequest, call: Call) -> pb.DefragmentResponse:
        """Answers at once: space is given back while the store works, never by a stop."""
        check_call(call, self._backend)
        self._backend.defragment()
        return pb.DefragmentResponse()

    async def hash_kv(self, request: pb.HashKVRequest, call: Call) -> pb.HashKVResponse:
        """The hash of all keys and versions kept up to a revision; O(versions), in small steps."""
        check_call(call, self._backend)
        work, revision = await fingerprint(self._backend, request.revision)
        response = pb.HashKVResponse(
            hash=work.value, compact_revision=work.compact_revision, hash_revision=work.revision
        )
        self._headers.stamp(response.header, revision)
        return response

    async def hash(self, _request: pb.HashRequest, call: Call) -> pb.HashResponse:
        """As HashKV now, with the alarms and which leases there are: everything replicated that
        does not change by itself."""
        check_call(call, self._backend)
        rest = [*sorted(self._backend.leases()), *self._backend.alarms()]
        work, revision = await fingerprint(self._backend, 0)
        response = pb.HashResponse(hash=crc32(repr(rest).encode(), work.value))
        self._headers.stamp(response.header, revision)
        return response

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

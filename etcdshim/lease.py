"""The Lease service: grants, revocations, keep-alive streams, and what leases there are."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from etcdshim.asgi import Call, Stream
from etcdshim.backend import Backend
from etcdshim.errors import BackendFailure, Refusal, translate
from etcdshim.header import Headers, check_call
from etcdshim.limits import Limits
from etcdshim.pb import rpc_pb2 as pb
from etcdshim.quota import GRANT_BYTES, Quota
from racos.mvcc.command import LeaseEndResult, LeaseGrant, LeaseGrantResult, LeaseRevoke
from racos.mvcc.errors import LeaseExists

_DRAWS_MAX = 8  # ids tried for one grant; that a single random one is taken is next to impossible
_MISSING = -1  # the TTL of a lease that does not exist


class LeaseService:
    """See etcd's Lease API. Times are whole seconds there."""

    __slots__ = ("_backend", "_headers", "_limits", "_quota", "_streams")

    def __init__(self, backend: Backend, limits: Limits, headers: Headers) -> None:
        self._backend = backend
        self._limits = limits
        self._headers = headers
        self._quota = Quota(backend)
        self._streams: set[_KeepAliveStream] = set()

    async def grant(self, request: pb.LeaseGrantRequest, call: Call) -> pb.LeaseGrantResponse:
        check_call(call, self._backend)
        wanted = request.TTL
        if wanted > self._limits.lease_ttl_max:
            raise Refusal.LEASE_TTL_TOO_LARGE.error()
        ttl = max(wanted, self._limits.lease_ttl_min)
        if not self._backend.has_room(GRANT_BYTES):
            await self._quota.refuse(GRANT_BYTES)
        try:
            result = await self._grant(request.ID, ttl)
        except BackendFailure as failure:
            raise translate(failure) from failure
        response = pb.LeaseGrantResponse(ID=result.id, TTL=result.ttl)
        self._headers.stamp(response.header, result.revision)
        return response

    async def _grant(self, id_: int, ttl: int) -> LeaseGrantResult:
        for _ in range(_DRAWS_MAX):
            chosen = id_ or self._backend.new_lease_id()
            try:
                result = await self._backend.propose(LeaseGrant(chosen, ttl))
            except LeaseExists:
                if id_:
                    raise
                continue  # somebody else drew or named the same one
            assert isinstance(result, LeaseGrantResult)
            return result
        raise LeaseExists

    async def revoke(self, request: pb.LeaseRevokeRequest, call: Call) -> pb.LeaseRevokeResponse:
        check_call(call, self._backend)
        try:
            result = await self._backend.propose(LeaseRevoke(request.ID))
        except BackendFailure as failure:
            raise translate(failure) from failure
        assert isinstance(result, LeaseEndResult)
        response = pb.LeaseRevokeResponse()
        self._headers.stamp(response.header, result.revision)
        return response

    async def time_to_live(
        self, request: pb.LeaseTimeToLiveRequest, call: Call
    ) -> pb.LeaseTimeToLiveResponse:
        check_call(call, self._backend)
        await self._catch_up()
        response = pb.LeaseTimeToLiveResponse(header=self._headers.current(), ID=request.ID)
        lease = self._backend.lease(request.ID)
        if lease is None:
            response.TTL = _MISSING
            return response
        response.TTL = int(lease.remaining)
        response.grantedTTL = lease.ttl
        if request.keys:
            response.keys.extend(lease.keys)
        return response

    async def leases(self, _request: pb.LeaseLeasesRequest, call: Call) -> pb.LeaseLeasesResponse:
        check_call(call, self._backend)
        await self._catch_up()
        statuses = [pb.LeaseStatus(ID=id_) for id_ in self._backend.leases()]
        return pb.LeaseLeasesResponse(header=self._headers.current(), leases=statuses)

    async def keep_alive(self, stream: Stream) -> None:
        """Serve one stream until its client closes it."""
        check_call(stream, self._backend)
        session = _KeepAliveStream(stream, self._backend, self._limits, self._headers)
        self._streams.add(session)
        try:
            await session.run()
        finally:
            self._streams.discard(session)

    def close(self) -> None:
        """End all streams with `etcdserver: server stopped`."""
        for session in tuple(self._streams):
            session.close()

    async def _catch_up(self) -> None:
        try:
            await self._backend.barrier()
        except BackendFailure as failure:
            raise translate(failure) from failure


class _Asked(NamedTuple):
    """One keep-alive; its header is older than its renewal, as etcd's is."""

    id: int
    header: pb.ResponseHeader
    ttl: asyncio.Future[int]


class _KeepAliveStream:
    """One stream: answers in the order of requests, which are not held up by earlier answers.

    A client with many leases sends their keep-alives at once; waiting for each renewal in turn
    would take as many round trips.
    """

    def __init__(self, stream: Stream, backend: Backend, limits: Limits, headers: Headers) -> None:
        self._stream = stream
        self._backend = backend
        self._headers = headers
        self._asked: asyncio.Queue[_Asked | None] = asyncio.Queue(limits.lease_stream_waiting)
        self._closing: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def run(self) -> None:
        """Raises GrpcError when the backend fails or the service closes."""
        try:
            async with asyncio.TaskGroup() as tasks:
                ending = tasks.create_task(self._end_on_close())
                reading = tasks.create_task(self._read_requests())
                await self._write_answers()
                reading.cancel()
                ending.cancel()
        except ExceptionGroup as group:
            raise group.exceptions[0] from None
        finally:
            self._drop_unanswered()

    def close(self) -> None:
        if not self._closing.done():
            self._closing.set_result(None)

    async def _end_on_close(self) -> None:
        await self._closing
        raise Refusal.STOPPED.error()

    async def _read_requests(self) -> None:
        while (request := await self._stream.receive()) is not None:
            assert isinstance(request, pb.LeaseKeepAliveRequest)
            header = self._headers.current()
            ttl = self._backend.keep_alive(request.ID)
            await self._asked.put(_Asked(request.ID, header, ttl))
        await self._asked.put(None)

    async def _write_answers(self) -> None:
        while (asked := await self._asked.get()) is not None:
            try:
                ttl = await asked.ttl
            except BackendFailure as failure:
                raise translate(failure) from failure
            answer = pb.LeaseKeepAliveResponse(header=asked.header, ID=asked.id, TTL=ttl)
            await self._stream.send(answer)

    def _drop_unanswered(self) -> None:
        while not self._asked.empty():
            asked = self._asked.get_nowait()
            if asked is not None and not asked.ttl.cancel() and not asked.ttl.cancelled():
                asked.ttl.exception()  # seen: nobody is left to tell

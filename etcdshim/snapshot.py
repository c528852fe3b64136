"""The Snapshot call: one consistent revision of everything, as the file that etcd would send."""

from __future__ import annotations

import logging
from contextlib import aclosing
from functools import partial

from etcdshim.asgi import Stream
from etcdshim.backend import Backend
from etcdshim.errors import BackendFailure, Refusal, translate
from etcdshim.header import Headers, check_call
from etcdshim.pb import rpc_pb2 as pb
from etcdshim.steady import view_of
from racos.backup.contents import SCHEMA_VERSION, Facts, MemberFacts
from racos.backup.snapshot import Snapshot

log = logging.getLogger(__name__)

AT_ONCE_MAX = 4  # backups sent at the same time; each holds back what compactions drop


class SnapshotService:
    __slots__ = ("_backend", "_headers", "_sending")

    def __init__(self, backend: Backend, headers: Headers) -> None:
        self._backend = backend
        self._headers = headers
        self._sending = 0

    async def snapshot(self, stream: Stream) -> None:
        """Serve one backup. A client that reads slowly gets it slowly; nothing gathers here."""
        check_call(stream, self._backend)
        if await stream.receive() is None:
            return
        if self._sending >= AT_ONCE_MAX:
            raise Refusal.TOO_MANY_REQUESTS.error()
        load = partial(self._backend.load, background=True)
        snapshot = Snapshot(view_of(self._backend), load, self._facts())
        self._sending += 1
        try:
            await self._send(snapshot, stream)
        except BackendFailure as failure:
            log.warning("snapshot.failed revision=%d: %s", snapshot.revision, failure)
            raise translate(failure) from failure
        finally:
            self._sending -= 1
            snapshot.close()

    async def _send(self, snapshot: Snapshot, stream: Stream) -> None:
        await snapshot.prepare()
        log.info("snapshot.begin revision=%d bytes=%d", snapshot.revision, snapshot.size)
        remaining = snapshot.size
        header = pb.ResponseHeader()
        self._headers.stamp(header, snapshot.revision)
        async with aclosing(snapshot.blocks()) as blocks:
            async for block in blocks:
                remaining = max(0, remaining - len(block))
                await stream.send(
                    pb.SnapshotResponse(
                        header=header, remaining_bytes=remaining, blob=block, version=SCHEMA_VERSION
                    )
                )
        log.info("snapshot.end revision=%d", snapshot.revision)

    def _facts(self) -> Facts:
        backend = self._backend
        status = backend.status()
        ttls = []
        for id_ in backend.leases():
            lease = backend.lease(id_)
            assert lease is not None, "nothing runs between the list and this"
            ttls.append((id_, lease.ttl))
        return Facts(
            compact_revision=backend.compact_revision,
            leases=ttls,
            alarms=backend.alarms(),
            members=[MemberFacts(*member[:4]) for member in backend.members()],
            applied_index=status.applied_index,
            term=backend.term,
        )

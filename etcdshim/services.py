"""All services of etcd's API by path, over one backend."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, NoReturn

from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from etcdshim.alarms import AlarmService
from etcdshim.asgi import Call, Stream, Streaming, Unary
from etcdshim.asgi_call import Request
from etcdshim.auth import AuthService
from etcdshim.backend import Backend
from etcdshim.errors import unimplemented
from etcdshim.header import Headers
from etcdshim.health import HealthService
from etcdshim.kv import KvService
from etcdshim.large_put import PutDecoder
from etcdshim.lease import LeaseService
from etcdshim.limits import Limits
from etcdshim.maintenance import ClusterService, MaintenanceService
from etcdshim.pb import election_pb2, health_pb2, lock_pb2, rpc_pb2
from etcdshim.snapshot import SnapshotService
from etcdshim.watch import WatchService

UnaryHandler = Callable[[Any, Call], Awaitable[Message]]
StreamHandler = Callable[[Stream], Awaitable[None]]

_SERVICES: tuple[ServiceDescriptor, ...] = tuple(
    service
    for module in (rpc_pb2, lock_pb2, election_pb2, health_pb2)
    for service in module.DESCRIPTOR.services_by_name.values()
)


# Of requests that are not left to their protobuf class.
_DECODERS: Final[dict[str, Request]] = {"/etcdserverpb.KV/Put": PutDecoder()}


class Services:
    """Every RPC of every service; those not built yet answer Unimplemented.

    `close` ends the open streams, so that their clients resume elsewhere.
    """

    def __init__(self, backend: Backend, limits: Limits | None = None) -> None:
        limits = limits or Limits()
        headers = Headers(backend)
        self._kv = KvService(backend, limits, headers)
        self._watch = WatchService(backend, limits, headers)
        self._lease = LeaseService(backend, limits, headers)
        self._maintenance = MaintenanceService(backend, headers)
        self._alarms = AlarmService(backend, headers)
        self._snapshot = SnapshotService(backend, headers)
        self._cluster = ClusterService(backend, headers)
        self._auth = AuthService(backend, headers)
        self._health = HealthService()

    def routes(self) -> dict[str, Unary | Streaming]:
        """The handler of each path, such as `/etcdserverpb.KV/Put`."""
        unary, streaming = self._unary_handlers(), self._stream_handlers()
        table: dict[str, Unary | Streaming] = {}
        for service in _SERVICES:
            for method in service.methods:
                path = f"/{service.full_name}/{method.name}"
                request: type[Message] = GetMessageClass(method.input_type)
                if method.client_streaming or method.server_streaming:
                    handler = streaming.get(path) or _refuse_stream(_missing(service, method))
                    table[path] = Streaming(request, handler)
                else:
                    refused = _refuse(_missing(service, method))
                    table[path] = Unary(_DECODERS.get(path, request), unary.get(path, refused))
        return table

    def close(self) -> None:
        self._watch.close()
        self._lease.close()
        self._health.close()

    def _unary_handlers(self) -> dict[str, UnaryHandler]:
        return {
            "/etcdserverpb.KV/Range": self._kv.range,
            "/etcdserverpb.KV/Put": self._kv.put,
            "/etcdserverpb.KV/DeleteRange": self._kv.delete_range,
            "/etcdserverpb.KV/Txn": self._kv.txn,
            "/etcdserverpb.KV/Compact": self._kv.compact,
            "/etcdserverpb.Lease/LeaseGrant": self._lease.grant,
            "/etcdserverpb.Lease/LeaseRevoke": self._lease.revoke,
            "/etcdserverpb.Lease/LeaseTimeToLive": self._lease.time_to_live,
            "/etcdserverpb.Lease/LeaseLeases": self._lease.leases,
            "/etcdserverpb.Maintenance/Status": self._maintenance.status,
            "/etcdserverpb.Maintenance/Alarm": self._alarms.alarm,
            "/etcdserverpb.Maintenance/Defragment": self._maintenance.defragment,
            "/etcdserverpb.Maintenance/Hash": self._maintenance.hash,
            "/etcdserverpb.Maintenance/HashKV": self._maintenance.hash_kv,
            "/etcdserverpb.Cluster/MemberList": self._cluster.member_list,
            "/etcdserverpb.Auth/AuthStatus": self._auth.status,
            "/grpc.health.v1.Health/Check": self._health.check,
        }

    def _stream_handlers(self) -> dict[str, StreamHandler]:
        return {
            "/etcdserverpb.Watch/Watch": self._watch.watch,
            "/etcdserverpb.Lease/LeaseKeepAlive": self._lease.keep_alive,
            "/etcdserverpb.Maintenance/Snapshot": self._snapshot.snapshot,
            "/grpc.health.v1.Health/Watch": self._health.watch,
        }


def routes(backend: Backend, limits: Limits | None = None) -> dict[str, Unary | Streaming]:
    """The routes of a server that never needs `Services.close`."""
    return Services(backend, limits).routes()


def _missing(service: ServiceDescriptor, method: MethodDescriptor) -> str:
    return f"{service.name}.{method.name} is"


def _refuse(what: str) -> UnaryHandler:
    async def handler(_request: Message, _call: Call) -> NoReturn:
        raise unimplemented(what)

    return handler


def _refuse_stream(what: str) -> StreamHandler:
    async def handler(_stream: Stream) -> NoReturn:
        raise unimplemented(what)

    return handler

"""The table of routes, and the small services: Status, Alarm, MemberList, AuthStatus, health."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import cast

import pytest

from etcdshim.asgi import Call, GrpcError, Stream, Streaming, Unary
from etcdshim.backend import BackendStatus, MemberInfo
from etcdshim.memory import MemoryBackend
from etcdshim.pb import health_pb2
from etcdshim.pb import rpc_pb2 as pb
from etcdshim.services import Services, routes
from tests.etcdshim.fakes import FakeCall, FakeStream, Server, make_server

UNIMPLEMENTED = 12

# Reference table of methods: service -> (unary methods, streaming methods).
METHODS = {
    "etcdserverpb.KV": ("Range Put DeleteRange Txn Compact", "RangeStream"),
    "etcdserverpb.Watch": ("", "Watch"),
    "etcdserverpb.Lease": ("LeaseGrant LeaseRevoke LeaseTimeToLive LeaseLeases", "LeaseKeepAlive"),
    "etcdserverpb.Cluster": (
        "MemberAdd MemberRemove MemberUpdate MemberList MemberPromote",
        "",
    ),
    "etcdserverpb.Maintenance": (
        "Alarm Status Defragment Hash HashKV MoveLeader Downgrade",
        "Snapshot",
    ),
    "etcdserverpb.Auth": (
        "AuthEnable AuthDisable AuthStatus Authenticate UserAdd UserGet UserList UserDelete "
        "UserChangePassword UserGrantRole UserRevokeRole RoleAdd RoleGet RoleList RoleDelete "
        "RoleGrantPermission RoleRevokePermission",
        "",
    ),
    "v3lockpb.Lock": ("Lock Unlock", ""),
    "v3electionpb.Election": ("Campaign Proclaim Leader Resign", "Observe"),
    "grpc.health.v1.Health": ("Check", "Watch"),
}
BUILT = {
    "/etcdserverpb.KV/Range",
    "/etcdserverpb.KV/Put",
    "/etcdserverpb.KV/DeleteRange",
    "/etcdserverpb.KV/Txn",
    "/etcdserverpb.KV/Compact",
    "/etcdserverpb.Watch/Watch",
    "/etcdserverpb.Lease/LeaseGrant",
    "/etcdserverpb.Lease/LeaseRevoke",
    "/etcdserverpb.Lease/LeaseTimeToLive",
    "/etcdserverpb.Lease/LeaseLeases",
    "/etcdserverpb.Lease/LeaseKeepAlive",
    "/etcdserverpb.Maintenance/Status",
    "/etcdserverpb.Maintenance/Alarm",
    "/etcdserverpb.Maintenance/Defragment",
    "/etcdserverpb.Maintenance/Hash",
    "/etcdserverpb.Maintenance/HashKV",
    "/etcdserverpb.Maintenance/Snapshot",
    "/etcdserverpb.Cluster/MemberList",
    "/etcdserverpb.Auth/AuthStatus",
    "/grpc.health.v1.Health/Check",
    "/grpc.health.v1.Health/Watch",
}


async def test_every_method_of_every_service_has_a_route_of_its_kind() -> None:
    expected: dict[str, type] = {}
    for service, (unary, streaming) in METHODS.items():
        expected |= {f"/{service}/{name}": Unary for name in unary.split()}
        expected |= {f"/{service}/{name}": Streaming for name in streaming.split()}
    table = routes(MemoryBackend())
    assert {path: type(route) for path, route in table.items()} == expected


async def test_what_is_not_built_yet_says_so_by_name() -> None:
    for path, route in routes(MemoryBackend()).items():
        if path in BUILT:
            continue
        if isinstance(route, Unary):
            answer: Awaitable[object] = route.handler(
                route.request.FromString(b""), cast(Call, FakeCall())
            )
        else:
            answer = route.handler(cast(Stream, FakeStream()))
        with pytest.raises(GrpcError) as caught:
            await answer
        service, method = path.rsplit("/", 2)[-2:]
        assert caught.value.code == UNIMPLEMENTED
        assert f"{service.rsplit('.')[-1]}.{method}" in caught.value.message


async def test_status() -> None:
    server = make_server()
    await server.put(b"a", b"v" * 100)
    status = await server.call("/etcdserverpb.Maintenance/Status", pb.StatusRequest())
    assert isinstance(status, pb.StatusResponse)
    assert status.version == "3.6.11"
    assert status.storageVersion == "3.6.0"
    assert 0 < status.dbSizeInUse <= status.dbSize < status.dbSizeQuota == 2147483648
    assert status.raftIndex >= status.raftAppliedIndex > 0
    assert status.raftTerm == status.header.raft_term > 0
    assert status.leader == server.backend.member_id
    assert (list(status.errors), status.isLearner) == ([], False)
    assert status.HasField("downgradeInfo")
    assert status.header.revision == 2


class LostBackend(MemoryBackend):
    """Without a quorum, and a learner."""

    def status(self) -> BackendStatus:
        return super().status()._replace(leader=0)

    def members(self) -> tuple[MemberInfo, ...]:
        return (
            MemberInfo(1, "n1", ("http://p1",), ("http://c1", "http://c2"), True),
            MemberInfo(2, "n2", ("http://p2",), (), False),
        )


async def test_status_without_a_quorum_names_the_error() -> None:
    backend = LostBackend()
    server = Server(backend, Services(backend))
    status = await server.call("/etcdserverpb.Maintenance/Status", pb.StatusRequest())
    assert isinstance(status, pb.StatusResponse)
    assert (status.leader, list(status.errors)) == (0, ["etcdserver: no leader"])
    assert status.isLearner


async def test_calls_that_insist_on_a_leader_are_refused_without_one() -> None:
    backend = LostBackend()
    server = Server(backend, Services(backend))
    request = pb.PutRequest(key=b"a")
    with pytest.raises(GrpcError, match="no leader") as caught:
        await server.call("/etcdserverpb.KV/Put", request, {"hasleader": "true"})
    assert (caught.value.code, caught.value.message) == (14, "etcdserver: no leader")
    await server.call("/etcdserverpb.KV/Put", request, {"hasleader": "false"})


@pytest.mark.parametrize(
    ("version", "refused"), [("3.6.0", False), ("3.6-\u00e9", False), ("3.6\udcff", True)]
)
async def test_client_version_must_be_text(version: str, refused: bool) -> None:
    server = make_server()
    call = server.call(
        "/etcdserverpb.KV/Put", pb.PutRequest(key=b"a"), {"client-api-version": version}
    )
    if not refused:
        await call
        return
    with pytest.raises(GrpcError) as caught:
        await call
    assert (caught.value.code, caught.value.message) == (
        3,
        "etcdserver: invalid client api version",
    )


async def test_member_list_has_ids_but_no_revision() -> None:
    backend = LostBackend()
    server = Server(backend, Services(backend))
    for linearizable in (False, True):
        request = pb.MemberListRequest(linearizable=linearizable)
        response = await server.call("/etcdserverpb.Cluster/MemberList", request)
        assert isinstance(response, pb.MemberListResponse)
        assert response.header.revision == 0
        assert response.header.cluster_id == backend.cluster_id
        assert list(response.members) == [
            pb.Member(
                ID=1,
                name="n1",
                peerURLs=["http://p1"],
                clientURLs=["http://c1", "http://c2"],
                isLearner=True,
            ),
            pb.Member(ID=2, name="n2", peerURLs=["http://p2"]),
        ]


async def test_auth_is_disabled() -> None:
    server = make_server()
    response = await server.call("/etcdserverpb.Auth/AuthStatus", pb.AuthStatusRequest())
    assert isinstance(response, pb.AuthStatusResponse)
    assert (response.enabled, response.authRevision) == (False, 1)


async def test_health_check_knows_the_empty_name_only() -> None:
    server = make_server()
    path = "/grpc.health.v1.Health/Check"
    serving = await server.call(path, health_pb2.HealthCheckRequest())
    assert serving == health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVING)
    with pytest.raises(GrpcError) as caught:
        await server.call(path, health_pb2.HealthCheckRequest(service="x"))
    assert (caught.value.code, caught.value.message) == (5, "unknown service")


@pytest.mark.parametrize(("name", "status"), [("", 1), ("x", 3)])
async def test_health_watch_answers_once_and_ends_with_the_server(name: str, status: int) -> None:
    services = Services(MemoryBackend())
    route = services.routes()["/grpc.health.v1.Health/Watch"]
    assert isinstance(route, Streaming)
    stream = FakeStream()
    stream.requests.put_nowait(health_pb2.HealthCheckRequest(service=name))
    task = asyncio.ensure_future(route.handler(cast(Stream, stream)))
    answer = health_pb2.HealthCheckResponse.FromString(await stream.answers.get())
    assert answer.status == status
    services.close()
    with pytest.raises(GrpcError, match="server stopped"):
        await task

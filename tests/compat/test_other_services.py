"""The small services on the wire: health, status, members, and what is not built yet."""

from __future__ import annotations

import pytest

from etcdshim.pb import health_pb2
from etcdshim.pb import rpc_pb2 as pb
from tests.compat.pair import Failure, Pair

pytestmark = [pytest.mark.process, pytest.mark.slow]


def test_health_check(pair: Pair) -> None:
    path = "/grpc.health.v1.Health/Check"
    for service in ("", "etcdserverpb.KV"):
        pair.call(path, health_pb2.HealthCheckRequest(service=service))


def test_alarms_and_auth_status(pair: Pair) -> None:
    pair.call("/etcdserverpb.Maintenance/Alarm", pb.AlarmRequest())
    pair.call("/etcdserverpb.Auth/AuthStatus", pb.AuthStatusRequest())


def test_status_keeps_what_clients_rely_on(pair: Pair) -> None:
    for server in (pair.etcd, pair.ours):
        status = server.call("/etcdserverpb.Maintenance/Status", pb.StatusRequest())
        assert isinstance(status, pb.StatusResponse)
        assert 0 < status.dbSizeInUse <= status.dbSize, server.name
        assert status.raftIndex >= status.raftAppliedIndex > 0, server.name
        assert status.leader, server.name
        assert status.raftTerm, server.name
        assert list(status.errors) == [], server.name


def test_member_list_has_this_member_and_no_revision(pair: Pair) -> None:
    for server in (pair.etcd, pair.ours):
        for linearizable in (False, True):
            request = pb.MemberListRequest(linearizable=linearizable)
            answer = server.call("/etcdserverpb.Cluster/MemberList", request)
            assert isinstance(answer, pb.MemberListResponse)
            assert answer.header.revision == 0, server.name
            assert server.member_id() in [member.ID for member in answer.members], server.name


def test_what_is_not_built_yet_is_unimplemented(pair: Pair) -> None:
    answer = pair.ours.call("/etcdserverpb.Auth/UserList", pb.AuthUserListRequest())
    text = "racos: Auth.UserList is not supported yet"
    assert answer == Failure("UNIMPLEMENTED", text)

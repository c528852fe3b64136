"""What the lease workloads ask, and that wrong answers are found."""

from __future__ import annotations

import pytest

from bench.leases import TTL_S, GrantAll, Grants, KeepAlives
from bench.workload import WrongAnswer, framed, message
from etcdshim.pb import rpc_pb2

HEADER = rpc_pb2.ResponseHeader(revision=1)


def granted(lease: int, ttl: int = TTL_S, error: str = "") -> bytes:
    answer = rpc_pb2.LeaseGrantResponse(header=HEADER, ID=lease, TTL=ttl, error=error)
    return framed(answer.SerializeToString())


def kept(lease: int, ttl: int) -> bytes:
    answer = rpc_pb2.LeaseKeepAliveResponse(header=HEADER, ID=lease, TTL=ttl)
    return framed(answer.SerializeToString())


def test_a_lease_is_granted_and_then_revoked() -> None:
    grants = Grants(token=3)
    ids = set()
    for number in (4, 5):
        call = grants.request(number)
        asked = rpc_pb2.LeaseGrantRequest.FromString(message(call.body))
        assert (call.method, asked.TTL) == (0, TTL_S)
        ids.add(asked.ID)
        assert grants.check(number, granted(asked.ID)) == 0
        call = grants.request(number)
        assert call.method == 1
        assert rpc_pb2.LeaseRevokeRequest.FromString(message(call.body)).ID == asked.ID
        revoked = rpc_pb2.LeaseRevokeResponse(header=HEADER)
        assert grants.check(number, framed(revoked.SerializeToString())) == 1
    assert len(ids) == 2


@pytest.mark.parametrize(("change", "ttl", "error"), [(1, TTL_S, ""), (0, 5, ""), (0, TTL_S, "x")])
def test_wrong_grants_are_found(change: int, ttl: int, error: str) -> None:
    grants = Grants(token=3)
    lease = rpc_pb2.LeaseGrantRequest.FromString(message(grants.request(0).body)).ID
    with pytest.raises(WrongAnswer, match="grant of lease"):
        grants.check(0, granted(lease + change, ttl, error))


def test_what_is_kept_alive_was_granted_before() -> None:
    filling, keep = GrantAll(token=7, leases=10), KeepAlives(token=7, leases=10)
    ids = [
        rpc_pb2.LeaseGrantRequest.FromString(message(filling.request(number).body)).ID
        for number in range(filling.operations)
    ]
    asked = [
        rpc_pb2.LeaseKeepAliveRequest.FromString(message(keep.request(number).body)).ID
        for number in range(20)
    ]
    assert asked == ids + ids
    assert filling.check(2, granted(ids[2])) == 1
    assert keep.check(12, kept(ids[2], TTL_S)) == 1


@pytest.mark.parametrize("ttl", [0, TTL_S - 1])
def test_expired_lease_is_found(ttl: int) -> None:
    keep = KeepAlives(token=0, leases=1)
    lease = rpc_pb2.LeaseKeepAliveRequest.FromString(message(keep.request(0).body)).ID
    with pytest.raises(WrongAnswer, match=f"TTL {ttl} s"):
        keep.check(0, kept(lease, ttl))
    with pytest.raises(WrongAnswer, match="answered with lease"):
        keep.check(0, kept(lease + 1, TTL_S))


def test_runs_have_leases_of_their_own() -> None:
    bodies = {Grants(token).request(0).body for token in range(5)}
    assert len(bodies) == 5

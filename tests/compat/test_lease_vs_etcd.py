"""The Lease service of a real etcd and of ours: the same answers, events and endings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from etcdshim.pb import rpc_pb2 as pb
from tests.compat.pair import PATIENCE_S, Failure, Pair, Server, plain
from tests.compat.requests import delete_op, put_op

pytestmark = [pytest.mark.process, pytest.mark.slow]

LEASE = "/etcdserverpb.Lease/Lease"


def grant(pair: Pair, id_: int, ttl: int) -> Any:
    return pair.call(LEASE + "Grant", pb.LeaseGrantRequest(ID=id_, TTL=ttl))


def revoke(pair: Pair, id_: int) -> Any:
    return pair.call(LEASE + "Revoke", pb.LeaseRevokeRequest(ID=id_))


def time_to_live(pair: Pair, id_: int, *, keys: bool = False) -> Any:
    """Both servers' answer; keys sorted, since etcd promises no order."""
    request = pb.LeaseTimeToLiveRequest(ID=id_, keys=keys)
    answers = []
    for server in (pair.etcd, pair.ours):
        answer = server.call(LEASE + "TimeToLive", request)
        assert isinstance(answer, pb.LeaseTimeToLiveResponse)
        answer.keys[:] = sorted(answer.keys)
        answers.append(answer)
    assert answers[0] == answers[1]
    return answers[1]


def ids_of(server: Server) -> set[int]:
    answer = server.call(LEASE + "Leases", pb.LeaseLeasesRequest())
    assert isinstance(answer, pb.LeaseLeasesResponse)
    return {status.ID for status in answer.leases}


def keep_alive(pair: Pair, *ids: int) -> Sequence[pb.LeaseKeepAliveResponse]:
    """Send keep-alives on one stream to each, half-close; the answers, which must be equal."""
    requests = [pb.LeaseKeepAliveRequest(ID=id_) for id_ in ids]
    found = []
    for server in (pair.etcd, pair.ours):
        open_stream = server.channel.stream_stream(
            LEASE + "KeepAlive",
            request_serializer=pb.LeaseKeepAliveRequest.SerializeToString,
            response_deserializer=pb.LeaseKeepAliveResponse.FromString,
        )
        answers = open_stream(iter(requests), timeout=PATIENCE_S)
        found.append([plain(answer, server.base) for answer in answers])
    assert found[0] == found[1]
    return found[1]


@pytest.mark.parametrize("ttl", [-5, 0, 1, 2, 3, 60, 9_000_000_000])
def test_granted_ttls(pair: Pair, ttl: int) -> None:
    id_ = 1000 + ttl
    assert max(ttl, 2) == grant(pair, id_, ttl).TTL
    assert time_to_live(pair, id_).grantedTTL == max(ttl, 2)
    revoke(pair, id_)


def test_refusals(pair: Pair) -> None:
    grant(pair, 21, 60)
    assert grant(pair, 21, 60) == Failure("FAILED_PRECONDITION", "etcdserver: lease already exists")
    too_large = Failure("OUT_OF_RANGE", "etcdserver: too large lease TTL")
    assert grant(pair, 22, 9_000_000_001) == too_large
    assert grant(pair, 21, 9_000_000_001) == too_large
    missing = Failure("NOT_FOUND", "etcdserver: requested lease not found")
    assert revoke(pair, 22) == missing
    assert revoke(pair, 0) == missing
    assert pair.put(key=b"a", lease=22) == missing
    revoke(pair, 21)


def test_a_negative_id_is_an_id(pair: Pair) -> None:
    grant(pair, -3, 60)
    pair.put(key=b"a", lease=-3)
    time_to_live(pair, -3, keys=True)
    keep_alive(pair, -3)
    revoke(pair, -3)
    assert pair.range(key=b"a").count == 0


def test_the_server_chooses_an_id(pair: Pair) -> None:
    for server in (pair.etcd, pair.ours):
        answers = [server.call(LEASE + "Grant", pb.LeaseGrantRequest(TTL=60)) for _ in range(2)]
        ids = set()
        for answer in answers:
            assert isinstance(answer, pb.LeaseGrantResponse)
            assert (answer.TTL, answer.error) == (60, "")
            assert 0 < answer.ID < 2**63
            ids.add(answer.ID)
        assert len(ids) == 2
        assert ids <= ids_of(server)
        for id_ in ids:
            server.call(LEASE + "Revoke", pb.LeaseRevokeRequest(ID=id_))


def test_lists(pair: Pair) -> None:
    before = [ids_of(server) for server in (pair.etcd, pair.ours)]
    for id_ in (31, 32, 33):
        grant(pair, id_, 60)
    revoke(pair, 32)
    after = [ids_of(server) for server in (pair.etcd, pair.ours)]
    assert [now - then for now, then in zip(after, before, strict=True)] == [{31, 33}] * 2
    revoke(pair, 31)
    revoke(pair, 33)


def test_keys_move_between_leases(pair: Pair) -> None:
    grant(pair, 41, 60)
    grant(pair, 42, 60)

    def look() -> None:
        for id_ in (41, 42):
            time_to_live(pair, id_, keys=True)
            assert not time_to_live(pair, id_).keys
        pair.range(key=b"\0", range_end=b"\0")

    for key in (b"c", b"a", b"b"):
        pair.put(key=key, lease=41)
    look()
    pair.put(key=b"a", lease=42, prev_kv=True)
    look()
    pair.put(key=b"b", prev_kv=True)
    pair.put(key=b"c", ignore_lease=True, value=b"x")
    look()
    pair.put(key=b"a", ignore_value=True, lease=41)
    pair.delete(key=b"c")
    look()
    pair.txn(success=[delete_op(b"a"), put_op(b"d", lease=42), put_op(b"e", lease=43)])
    pair.txn(success=[delete_op(b"a"), put_op(b"d", lease=42), put_op(b"e", lease=41)])
    look()
    revoke(pair, 41)
    revoke(pair, 42)
    pair.range(key=b"\0", range_end=b"\0")


def test_a_revocation_is_one_revision_of_deletes_in_key_order(pair: Pair) -> None:
    with pair.watch() as watch:
        watch.create(key=b"\0", range_end=b"\0", prev_kv=True)
        grant(pair, 51, 60)
        for key in (b"c", b"a", b"b"):
            pair.put(key=key, value=key, lease=51)
            watch.next()
        pair.put(key=b"d")
        watch.next()
        revoke(pair, 51)
        events = watch.next().events
        assert [(event.type, event.kv.key) for event in events] == [
            (1, b"a"),
            (1, b"b"),
            (1, b"c"),
        ]
        grant(pair, 52, 60)
        revoke(pair, 52)
        pair.put(key=b"e")
        watch.next()


def test_keep_alives_answer_in_order_and_a_missing_lease_ends_no_stream(pair: Pair) -> None:
    grant(pair, 61, 60)
    grant(pair, 62, 30)
    pair.put(key=b"a")
    answers = keep_alive(pair, 61, 63, 62, 61, 0)
    assert [(answer.ID, answer.TTL) for answer in answers] == [
        (61, 60),
        (63, 0),
        (62, 30),
        (61, 60),
        (0, 0),
    ]
    revoke(pair, 61)
    assert [answer.TTL for answer in keep_alive(pair, 61, 62)] == [0, 30]
    revoke(pair, 62)
    keep_alive(pair)


def test_time_to_live_of_what_is_not_there(pair: Pair) -> None:
    answer = time_to_live(pair, 71, keys=True)
    assert (answer.ID, answer.TTL, answer.grantedTTL) == (71, -1, 0)
    time_to_live(pair, 0)


def test_an_abandoned_lease_ends_with_its_keys_in_one_revision(pair: Pair) -> None:
    with pair.watch() as watch:
        grant(pair, 81, 1)
        pair.txn(success=[put_op(b"b", lease=81), put_op(b"a", lease=81), put_op(b"c")])
        watch.create(key=b"\0", range_end=b"\0", prev_kv=True)
        events = watch.next().events
        assert [(event.type, event.kv.key) for event in events] == [(1, b"a"), (1, b"b")]
    time_to_live(pair, 81)
    keep_alive(pair, 81)
    assert grant(pair, 81, 60).TTL == 60
    revoke(pair, 81)

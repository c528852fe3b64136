"""The calls that kube-apiserver sends, in the shapes in which it sends them, to a real cluster."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import grpc
import pytest

from cluster.supervisor import LocalCluster
from etcdshim.pb import kv_pb2
from etcdshim.pb import rpc_pb2 as pb
from tests.compat.endpoints import channel
from tests.e2e.calls import Client, Watch, end_of

pytestmark = [pytest.mark.process, pytest.mark.slow]

POD = b"k8s\0" + bytes(range(256)) * 8
PUT, DELETE = kv_pb2.Event.PUT, kv_pb2.Event.DELETE


@pytest.fixture
def clients(cluster: LocalCluster) -> Iterator[list[Client]]:
    """One client per node: the calls of a test go round."""
    with ExitStack() as stack:
        yield [Client(stack.enter_context(channel(each))) for each in cluster.endpoints()]


@pytest.fixture
def prefix(request: pytest.FixtureRequest) -> bytes:
    return f"/registry/{request.node.name}/".encode()


def unchanged(key: bytes, mod_revision: int) -> pb.Compare:
    return pb.Compare(
        result=pb.Compare.EQUAL, target=pb.Compare.MOD, key=key, mod_revision=mod_revision
    )


def create(client: Client, key: bytes, value: bytes) -> pb.TxnResponse:
    put = pb.RequestOp(request_put=pb.PutRequest(key=key, value=value))
    return client.txn(compare=[unchanged(key, 0)], success=[put])


def update(client: Client, key: bytes, value: bytes, mod_revision: int) -> pb.TxnResponse:
    return client.txn(
        compare=[unchanged(key, mod_revision)],
        success=[pb.RequestOp(request_put=pb.PutRequest(key=key, value=value))],
        failure=[pb.RequestOp(request_range=pb.RangeRequest(key=key))],
    )


def delete(client: Client, key: bytes, mod_revision: int) -> pb.TxnResponse:
    return client.txn(
        compare=[unchanged(key, mod_revision)],
        success=[pb.RequestOp(request_delete_range=pb.DeleteRangeRequest(key=key))],
        failure=[pb.RequestOp(request_range=pb.RangeRequest(key=key))],
    )


def test_create_tells_the_revision_in_both_headers(clients: list[Client], prefix: bytes) -> None:
    key = prefix + b"default/pod"
    made = create(clients[0], key, POD)
    assert made.succeeded
    assert made.responses[0].response_put.header.revision == made.header.revision
    assert not create(clients[1], key, POD).succeeded
    found = clients[2].range(key=key, limit=1)
    assert found.kvs[0].mod_revision == found.kvs[0].create_revision == made.header.revision
    assert found.kvs[0].value == POD


def test_a_conflicting_update_gets_the_current_object(clients: list[Client], prefix: bytes) -> None:
    key = prefix + b"default/pod"
    first = create(clients[0], key, POD).header.revision
    second = update(clients[1], key, POD + b"2", first)
    assert second.succeeded
    lost = update(clients[2], key, POD + b"3", first)
    assert not lost.succeeded
    (kv,) = lost.responses[0].response_range.kvs
    assert (kv.value, kv.mod_revision, kv.version) == (POD + b"2", second.header.revision, 2)
    assert update(clients[2], key, POD + b"3", kv.mod_revision).succeeded


def test_delete_only_what_was_seen(clients: list[Client], prefix: bytes) -> None:
    key = prefix + b"default/pod"
    seen = create(clients[0], key, POD).header.revision
    assert not delete(clients[1], key, seen - 1).succeeded
    gone = delete(clients[1], key, seen)
    assert gone.succeeded
    assert gone.responses[0].response_delete_range.deleted == 1
    assert clients[2].range(key=key, limit=1).count == 0


def test_list_in_pages_at_one_revision(clients: list[Client], prefix: bytes) -> None:
    keys = [prefix + b"default/pod-%02d" % number for number in range(25)]
    for number, key in enumerate(keys):
        create(clients[number % 3], key, b"%d" % number)
    page = clients[0].range(key=prefix, range_end=end_of(prefix), limit=10)
    pinned = page.header.revision
    found = [kv.key for kv in page.kvs]
    assert (page.count, page.more) == (25, True)
    create(clients[1], prefix + b"default/pod-99", b"later")  # must not be seen
    while page.more:
        page = clients[len(found) % 3].range(
            key=found[-1] + b"\0", range_end=end_of(prefix), limit=10, revision=pinned
        )
        assert page.count == 25 - len(found)
        assert page.header.revision >= pinned
        found += [kv.key for kv in page.kvs]
    assert found == keys
    counted = clients[2].range(key=prefix, range_end=end_of(prefix), count_only=True)
    assert (counted.count, len(counted.kvs)) == (26, 0)


def test_list_then_watch_misses_nothing(clients: list[Client], prefix: bytes) -> None:
    key = prefix + b"default/pod"
    first = create(clients[0], key, b"1").header.revision
    listed = clients[1].range(key=prefix, range_end=end_of(prefix))
    second = update(clients[0], key, b"2", first).header.revision
    with Watch(clients[2], prefix, listed.header.revision + 1) as watch:
        delete(clients[1], key, second)
        third = create(clients[0], key, b"3").header.revision
        changed, deleted, created = watch.events(3)
        assert (changed.type, changed.kv.value, changed.prev_kv.value) == (PUT, b"2", b"1")
        assert (deleted.type, deleted.kv.key, deleted.prev_kv.value) == (DELETE, key, b"2")
        assert (created.type, created.kv.value) == (PUT, b"3")
        assert created.kv.create_revision == created.kv.mod_revision == third
        assert not created.HasField("prev_kv")


def test_progress_covers_every_acknowledged_write(clients: list[Client], prefix: bytes) -> None:
    start = clients[0].range(key=prefix, limit=1).header.revision
    with Watch(clients[2], prefix, start + 1) as watch:
        elsewhere = create(clients[0], b"/elsewhere" + prefix, b"x").header.revision
        # The consistent read of a watch cache: ask until the watch has got as far.
        while True:
            watch.ask_progress()
            told = watch.next()
            assert list(told.events) == []
            if told.header.revision >= elsewhere:
                break
        mine = create(clients[1], prefix + b"pod", b"x").header.revision
        (event,) = watch.events(1)
        assert event.kv.mod_revision == mine


def test_compaction_is_agreed_by_a_transaction(clients: list[Client], prefix: bytes) -> None:
    agreed, key = prefix + b"compact_rev_key", prefix + b"default/pod"
    seen = create(clients[0], key, b"1").header.revision
    last = update(clients[0], key, b"2", seen).header.revision
    compare = pb.Compare(target=pb.Compare.VERSION, key=agreed, version=0)
    put = pb.RequestOp(request_put=pb.PutRequest(key=agreed, value=b"%d" % last))
    get = pb.RequestOp(request_range=pb.RangeRequest(key=agreed))
    won = [
        client.txn(compare=[compare], success=[put], failure=[get]).succeeded for client in clients
    ]
    assert won == [True, False, False]
    clients[0].compact(last)
    # Every node refuses what was compacted as soon as it knows; a linearizable read makes it know.
    for client in clients:
        assert client.range(key=key).kvs[0].value == b"2"
        with pytest.raises(grpc.RpcError) as caught:
            client.range(key=key, revision=seen)
        assert caught.value.code() is grpc.StatusCode.OUT_OF_RANGE
        assert caught.value.details() == "etcdserver: mvcc: required revision has been compacted"
        with Watch(client, prefix, seen) as watch:
            canceled = watch.next()
        assert (canceled.canceled, canceled.compact_revision) == (True, last)


def test_size_and_health(clients: list[Client]) -> None:
    for client in clients:
        assert client.status().dbSize > 0
        assert client.range(key=b"/registry/health").count == 0

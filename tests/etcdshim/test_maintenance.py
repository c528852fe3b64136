"""Alarms, the quota, hashes and backups, as clients meet them."""

from __future__ import annotations

import asyncio
from hashlib import sha256
from typing import cast

import pytest

from etcdshim.asgi import GrpcError, Stream, Streaming
from etcdshim.memory import MemoryBackend
from etcdshim.pb import rpc_pb2 as pb
from etcdshim.services import Services
from racos.errors import Corrupt
from racos.mvcc.command import Alarm, AlarmKind, AlarmSwitch
from tests.etcdshim.fakes import FakeStream, Server, make_server

MAINTENANCE = "/etcdserverpb.Maintenance/"
GET, ON, OFF = pb.AlarmRequest.GET, pb.AlarmRequest.ACTIVATE, pb.AlarmRequest.DEACTIVATE
NO_SPACE = (8, "etcdserver: mvcc: database space exceeded")
CORRUPT = (15, "etcdserver: corrupt cluster")


async def alarm(
    server: Server,
    action: pb.AlarmRequest.AlarmAction,
    member: int = 0,
    kind: pb.AlarmType = pb.NONE,
) -> list[tuple[int, int]]:
    request = pb.AlarmRequest(action=action, memberID=member, alarm=kind)
    answer = await server.call(f"{MAINTENANCE}Alarm", request)
    assert isinstance(answer, pb.AlarmResponse)
    assert answer.header.revision == server.backend.revision
    return [(each.memberID, each.alarm) for each in answer.alarms]


async def refused(server: Server, path: str, request: object) -> tuple[int, str]:
    with pytest.raises(GrpcError) as caught:
        await server.call(path, request)  # type: ignore[arg-type]
    return caught.value.code, caught.value.message


def put_in(branch: str, *, nested: bool = False) -> pb.TxnRequest:
    put = pb.RequestOp(request_put=pb.PutRequest(key=b"k", value=b"v"))
    if nested:
        put = pb.RequestOp(request_txn=pb.TxnRequest(success=[put]))
    return pb.TxnRequest(**{branch: [put]})  # type: ignore[arg-type]


async def test_alarms_are_listed_raised_and_cleared() -> None:
    server = make_server()
    assert await alarm(server, GET) == []
    assert await alarm(server, ON, 7, pb.NOSPACE) == [(7, pb.NOSPACE)]
    assert await alarm(server, ON, 7, pb.NOSPACE) == [(7, pb.NOSPACE)], "again: the same"
    assert await alarm(server, ON, 0, pb.CORRUPT) == [(0, pb.CORRUPT)], "0 is taken literally"
    assert await alarm(server, GET) == [(7, pb.NOSPACE), (0, pb.CORRUPT)]
    assert await alarm(server, GET, kind=pb.CORRUPT) == [(0, pb.CORRUPT)]
    assert await alarm(server, OFF, 8, pb.NOSPACE) == [], "not an error"
    assert await alarm(server, OFF, 7, pb.NOSPACE) == [(7, pb.NOSPACE)]
    assert await alarm(server, OFF, 0, pb.CORRUPT) == [(0, pb.CORRUPT)]
    assert await alarm(server, GET) == []
    assert server.backend.revision == 1


async def test_status_tells_of_alarms() -> None:
    server = make_server()
    await alarm(server, ON, 123, pb.NOSPACE)
    await alarm(server, ON, 0, pb.CORRUPT)
    status = await server.call(f"{MAINTENANCE}Status", pb.StatusRequest())
    assert isinstance(status, pb.StatusResponse)
    assert list(status.errors) == ["memberID:123 alarm:NOSPACE ", "alarm:CORRUPT "]


async def test_what_no_space_refuses_and_what_goes_on() -> None:
    server = make_server()
    await server.put(b"a", b"1")
    lease = pb.LeaseGrantRequest(TTL=60, ID=5)
    await server.call("/etcdserverpb.Lease/LeaseGrant", lease)
    await alarm(server, ON, 1, pb.NOSPACE)
    revision, applied = server.backend.revision, server.backend.status().applied_index
    assert await refused(server, "/etcdserverpb.KV/Put", pb.PutRequest(key=b"k")) == NO_SPACE
    for request in (
        put_in("success"),
        put_in("failure"),
        put_in("success", nested=True),
    ):
        assert await refused(server, "/etcdserverpb.KV/Txn", request) == NO_SPACE
    other = pb.LeaseGrantRequest(TTL=60, ID=6)
    assert await refused(server, "/etcdserverpb.Lease/LeaseGrant", other) == NO_SPACE
    assert server.backend.revision == revision
    assert server.backend.status().applied_index == applied, "refused before it takes a slot"

    await server.range(pb.RangeRequest(key=b"a"))
    deletion = pb.RequestOp(request_delete_range=pb.DeleteRangeRequest(key=b"a"))
    await server.txn(pb.TxnRequest(success=[deletion]))
    await server.delete(b"b")
    await server.call("/etcdserverpb.Lease/LeaseRevoke", pb.LeaseRevokeRequest(ID=5))
    await server.compact(server.backend.revision)
    await server.call(f"{MAINTENANCE}Defragment", pb.DefragmentRequest())
    await alarm(server, OFF, 1, pb.NOSPACE)
    await server.put(b"k", b"v")


async def test_an_alarm_that_was_cleared_elsewhere_refuses_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = make_server()
    await alarm(server, ON, 1, pb.NOSPACE)
    barrier = server.backend.barrier

    def hears_of_it() -> asyncio.Future[None]:
        server.backend.propose(AlarmSwitch(Alarm(1, AlarmKind.NOSPACE), False))
        return barrier()

    monkeypatch.setattr(server.backend, "barrier", hears_of_it)
    await server.put(b"k", b"v")


async def test_what_corrupt_refuses() -> None:
    server = make_server()
    await server.put(b"a", b"1")
    await server.call("/etcdserverpb.Lease/LeaseGrant", pb.LeaseGrantRequest(TTL=60, ID=5))
    await alarm(server, ON, 1, pb.CORRUPT)
    await alarm(server, ON, 1, pb.NOSPACE)
    deletion = pb.RequestOp(request_delete_range=pb.DeleteRangeRequest(key=b"a"))
    for path, request in (
        ("KV/Put", pb.PutRequest(key=b"k")),
        ("KV/DeleteRange", pb.DeleteRangeRequest(key=b"k")),
        ("KV/Txn", pb.TxnRequest(success=[deletion])),
        ("KV/Compact", pb.CompactionRequest(revision=2)),
        ("Lease/LeaseGrant", pb.LeaseGrantRequest(TTL=60, ID=6)),
        ("Lease/LeaseRevoke", pb.LeaseRevokeRequest(ID=5)),
    ):
        assert await refused(server, f"/etcdserverpb.{path}", request) == CORRUPT, path
    assert (await server.range(pb.RangeRequest(key=b"a"))).count == 1
    await alarm(server, OFF, 1, pb.CORRUPT)
    await server.delete(b"a")


async def test_the_quota_raises_the_alarm_and_compaction_makes_room() -> None:
    server = make_server(quota_bytes=20_000)
    large = pb.PutRequest(key=b"k", value=bytes(1000))
    for _ in range(15):
        await server.call("/etcdserverpb.KV/Put", large)
    assert await refused(server, "/etcdserverpb.KV/Put", large) == NO_SPACE
    own = server.backend.member_id
    assert await alarm(server, GET) == [(own, pb.NOSPACE)]
    put = pb.PutRequest(key=b"small")
    assert await refused(server, "/etcdserverpb.KV/Put", put) == NO_SPACE
    await server.compact(server.backend.revision)
    assert await refused(server, "/etcdserverpb.KV/Put", put) == NO_SPACE, "until it is cleared"
    await alarm(server, OFF, own, pb.NOSPACE)
    await server.put(b"small")


@pytest.mark.parametrize(
    "request_",
    [put_in("success"), put_in("failure", nested=True), pb.LeaseGrantRequest(TTL=60)],
)
async def test_the_quota_counts_transactions_and_grants(request_: object) -> None:
    server = make_server(quota_bytes=4100)
    path = "Lease/LeaseGrant" if isinstance(request_, pb.LeaseGrantRequest) else "KV/Txn"
    assert await refused(server, f"/etcdserverpb.{path}", request_) == NO_SPACE
    assert await alarm(server, GET) == [(server.backend.member_id, pb.NOSPACE)]


async def test_what_needs_no_room_needs_no_quota() -> None:
    server = make_server(quota_bytes=1)
    deletion = pb.RequestOp(request_delete_range=pb.DeleteRangeRequest(key=b"a"))
    await server.txn(pb.TxnRequest(success=[deletion]))
    await server.delete(b"a")
    assert await alarm(server, GET) == []


async def hash_kv(server: Server, revision: int = 0) -> pb.HashKVResponse:
    answer = await server.call(f"{MAINTENANCE}HashKV", pb.HashKVRequest(revision=revision))
    assert isinstance(answer, pb.HashKVResponse)
    return answer


async def test_equal_stores_have_equal_hashes_at_every_revision() -> None:
    one, other = make_server(), make_server()
    for server in (one, other):
        for number in range(600):
            await server.put(b"%d" % (number % 400), b"%d" % number)
        await server.delete(b"1", b"2")
    await other.put(b"later", b"x")
    await other.delete(b"3")
    hashes = []
    for revision in (0, 2, 300, 602):
        answer = await hash_kv(one, revision)
        wanted = revision or 602
        assert answer.hash == (await hash_kv(other, wanted)).hash
        assert (answer.hash_revision, answer.compact_revision) == (wanted, -1)
        assert answer.header.revision == 602
        hashes.append(answer.hash)
    assert len(set(hashes)) == 3
    await one.compact(500)
    compacted = await hash_kv(one)
    assert compacted.compact_revision == 500
    assert compacted.hash not in hashes


@pytest.mark.parametrize(
    ("revision", "text"),
    [(3, "has been compacted"), (6, "is a future revision")],
)
async def test_revisions_that_have_no_hash(revision: int, text: str) -> None:
    server = make_server()
    for _ in range(4):
        await server.put(b"k", b"v")
    await server.compact(4)
    await hash_kv(server, 4)
    code, message = await refused(
        server, f"{MAINTENANCE}HashKV", pb.HashKVRequest(revision=revision)
    )
    assert (code, message) == (11, f"etcdserver: mvcc: required revision {text}")


async def test_hash_sees_leases_and_alarms_too() -> None:
    server = make_server()
    seen = set()
    for path, request in (
        ("KV/Put", pb.PutRequest(key=b"a")),
        ("Lease/LeaseGrant", pb.LeaseGrantRequest(TTL=60, ID=5)),
        ("Maintenance/Alarm", pb.AlarmRequest(action=ON, memberID=1, alarm=pb.NOSPACE)),
    ):
        await server.call(f"/etcdserverpb.{path}", request)
        answer = await server.call(f"{MAINTENANCE}Hash", pb.HashRequest())
        assert isinstance(answer, pb.HashResponse)
        seen.add(answer.hash)
    assert len(seen) == 3


class Backup:
    """A Snapshot call under way."""

    def __init__(self, backend: MemoryBackend, services: Services) -> None:
        route = services.routes()[f"{MAINTENANCE}Snapshot"]
        assert isinstance(route, Streaming)
        self.stream = FakeStream()
        self.stream.requests.put_nowait(pb.SnapshotRequest())
        self.task = asyncio.ensure_future(route.handler(cast(Stream, self.stream)))
        self.backend = backend

    def answers(self) -> list[pb.SnapshotResponse]:
        found = []
        while not self.stream.answers.empty():
            found.append(pb.SnapshotResponse.FromString(self.stream.answers.get_nowait()))
        return found


async def test_a_backup_counts_down_and_ends_with_its_hash() -> None:
    backend = MemoryBackend(inline_limit=100)
    server = Server(backend, Services(backend))
    values = [bytes([number]) * 50_000 for number in range(5)]
    for number, value in enumerate(values):
        await server.put(b"%d" % number, value)
    backup = Backup(backend, server.services)
    await backup.task
    *blocks, last = backup.answers()
    data = b"".join(each.blob for each in blocks)
    assert len(data) % 4096 == 0
    assert last.blob == sha256(data).digest()
    assert all(len(each.blob) <= 32 << 10 for each in blocks)
    left = len(data)
    for each in blocks:
        left -= len(each.blob)
        assert each.remaining_bytes == left
        assert (each.header.revision, each.version) == (6, "3.5.0")
    assert last.remaining_bytes == 0
    for value in values:
        assert value[:2000] in data


async def test_a_slow_reader_holds_nothing_up_and_its_departure_frees_everything() -> None:
    backend = MemoryBackend()
    server = Server(backend, Services(backend))
    for number in range(3000):
        await server.put(b"%d" % (number % 10), bytes(100))
    backup = Backup(backend, server.services)
    backup.stream.reading.clear()
    for _ in range(200):
        await asyncio.sleep(0)
    await server.compact(3000)
    assert backend.view().first == 3000, "compacted for everyone else"
    assert not backup.task.done()
    backup.task.cancel()
    await asyncio.wait([backup.task])
    with pytest.raises(asyncio.CancelledError):
        backup.task.result()


async def test_only_so_many_backups_at_once() -> None:
    backend = MemoryBackend()
    services = Services(backend)
    backups = [Backup(backend, services) for _ in range(5)]
    for each in backups:
        each.stream.reading.clear()
    await asyncio.wait([each.task for each in backups], return_when=asyncio.FIRST_COMPLETED)
    done = [each.task for each in backups if each.task.done()]
    with pytest.raises(GrpcError, match="too many requests"):
        await done[0]
    assert len(done) == 1
    for each in backups:
        each.stream.reading.set()
        if each.task is not done[0]:
            await each.task


async def test_a_value_that_is_gone_ends_the_backup_with_an_error() -> None:
    class Lost(MemoryBackend):
        async def load(self, *_: object, **__: object) -> list[bytes]:
            raise Corrupt("no good copy")

    backend = Lost(inline_limit=10)
    server = Server(backend, Services(backend))
    await server.put(b"k", bytes(100))
    backup = Backup(backend, server.services)
    with pytest.raises(GrpcError) as caught:
        await backup.task
    assert (caught.value.code, caught.value.message) == CORRUPT

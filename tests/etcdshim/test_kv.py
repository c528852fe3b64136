"""The KV service: checks, their order and texts, and the shape of answers."""

from __future__ import annotations

import asyncio

import pytest

from etcdshim.asgi import GrpcError
from etcdshim.backend import Corrupt, RequestTimedOut, TooManyRequests
from etcdshim.limits import Limits
from etcdshim.memory import MemoryBackend
from etcdshim.pb import rpc_pb2 as pb
from etcdshim.services import Services
from racos.mvcc.command import Command, Result
from tests.etcdshim.fakes import Server, make_server

BIG = b"v" * 10_000
INVALID = 3
OUT_OF_RANGE = 11


@pytest.fixture(params=[None, 100], ids=["inline", "coded"])
def server(request: pytest.FixtureRequest) -> Server:
    return make_server(inline_limit=request.param)


def put_op(key: bytes, value: bytes = b"") -> pb.RequestOp:
    return pb.RequestOp(request_put=pb.PutRequest(key=key, value=value))


def range_op(key: bytes, **options: bool | int) -> pb.RequestOp:
    request = pb.RangeRequest(key=key, **options)  # type: ignore[arg-type]
    return pb.RequestOp(request_range=request)


def delete_op(key: bytes, range_end: bytes = b"") -> pb.RequestOp:
    return pb.RequestOp(request_delete_range=pb.DeleteRangeRequest(key=key, range_end=range_end))


def txn_op(
    success: tuple[pb.RequestOp, ...] = (), failure: tuple[pb.RequestOp, ...] = ()
) -> pb.RequestOp:
    return pb.RequestOp(request_txn=pb.TxnRequest(success=success, failure=failure))


async def refused(server: Server, path: str, request: object) -> tuple[int, str]:
    with pytest.raises(GrpcError) as caught:
        await server.call(path, request)  # type: ignore[arg-type]
    return caught.value.code, caught.value.message


async def test_header_is_complete_and_at_the_current_revision(server: Server) -> None:
    first = await server.put(b"a")
    assert first.header.revision == 2
    assert first.header.cluster_id == server.backend.cluster_id
    assert first.header.member_id == server.backend.member_id
    assert first.header.raft_term == server.backend.term
    await server.put(b"a")
    old = await server.range(pb.RangeRequest(key=b"a", revision=2))
    assert (old.header.revision, old.kvs[0].mod_revision) == (3, 2)


async def test_values_come_back_whole(server: Server) -> None:
    await server.put(b"a", BIG)
    await server.put(b"b", b"small")
    response = await server.range(pb.RangeRequest(key=b"a", range_end=b"c"))
    assert [kv.value for kv in response.kvs] == [BIG, b"small"]
    keys = await server.range(pb.RangeRequest(key=b"a", range_end=b"c", keys_only=True))
    assert [kv.value for kv in keys.kvs] == [b"", b""]


async def test_sort_by_value_orders_bytes_and_then_cuts(server: Server) -> None:
    for key, value in ((b"a", b"2" + BIG), (b"b", b"3"), (b"c", b"1" + BIG)):
        await server.put(key, value)
    request = pb.RangeRequest(
        key=b"a",
        range_end=b"z",
        sort_target=pb.RangeRequest.VALUE,
        sort_order=pb.RangeRequest.DESCEND,
        limit=2,
    )
    response = await server.range(request)
    assert [kv.key for kv in response.kvs] == [b"b", b"a"]
    assert (response.more, response.count) == (True, 3)
    nested = await server.txn(
        pb.TxnRequest(success=[pb.RequestOp(request_range=request), put_op(b"z")])
    )
    assert [kv.key for kv in nested.responses[0].response_range.kvs] == [b"b", b"a"]


async def test_prev_kv_of_put_and_delete(server: Server) -> None:
    first = await server.put(b"a", BIG, prev_kv=True)
    second = await server.put(b"a", b"2", prev_kv=True)
    assert not first.HasField("prev_kv")
    assert (second.prev_kv.value, second.prev_kv.version) == (BIG, 1)
    request = pb.DeleteRangeRequest(key=b"a", prev_kv=True)
    deleted = await server.call("/etcdserverpb.KV/DeleteRange", request)
    assert isinstance(deleted, pb.DeleteRangeResponse)
    assert (deleted.deleted, [kv.value for kv in deleted.prev_kvs]) == (1, [b"2"])


async def test_nested_headers_carry_the_revision_alone(server: Server) -> None:
    response = await server.txn(
        pb.TxnRequest(
            success=[put_op(b"a", BIG), range_op(b"a"), delete_op(b"z"), txn_op((put_op(b"b"),))]
        )
    )
    put, got, deleted, nested = response.responses
    revision_only = pb.ResponseHeader(revision=2)
    assert put.response_put.header == revision_only
    assert got.response_range.header == revision_only
    assert got.response_range.kvs[0].value == BIG
    assert deleted.response_delete_range.header == revision_only
    assert nested.response_txn.HasField("header")
    assert nested.response_txn.header == pb.ResponseHeader()
    assert nested.response_txn.responses[0].response_put.header == revision_only


@pytest.mark.parametrize(
    ("path", "request_", "text"),
    [
        ("Range", pb.RangeRequest(sort_order=9), "key is not provided"),  # type: ignore[arg-type]
        ("Range", pb.RangeRequest(key=b"a", sort_order=9), "invalid sort option"),  # type: ignore[arg-type]
        ("Range", pb.RangeRequest(key=b"a", sort_target=5), "invalid sort option"),  # type: ignore[arg-type]
        ("Put", pb.PutRequest(value=b"v", ignore_value=True), "key is not provided"),
        ("Put", pb.PutRequest(key=b"a", value=b"v", ignore_value=True), "value is provided"),
        ("Put", pb.PutRequest(key=b"a", lease=1, ignore_lease=True), "lease is provided"),
        ("Put", pb.PutRequest(key=b"a", ignore_value=True), "key not found"),
        ("Put", pb.PutRequest(key=b"a", ignore_lease=True), "key not found"),
        ("DeleteRange", pb.DeleteRangeRequest(range_end=b"b"), "key is not provided"),
        ("Txn", pb.TxnRequest(compare=[pb.Compare()]), "key is not provided"),
        ("Txn", pb.TxnRequest(success=[pb.RequestOp()]), "key not found"),
        ("Txn", pb.TxnRequest(failure=[txn_op((put_op(b""),))]), "key is not provided"),
        ("Txn", pb.TxnRequest(success=[put_op(b"a")] * 129), "too many operations in txn request"),
    ],
)
async def test_bad_requests(server: Server, path: str, request_: object, text: str) -> None:
    assert await refused(server, f"/etcdserverpb.KV/{path}", request_) == (
        INVALID,
        f"etcdserver: {text}",
    )


async def test_unknown_lease_is_not_found(server: Server) -> None:
    request = pb.PutRequest(key=b"a", lease=5)
    assert await refused(server, "/etcdserverpb.KV/Put", request) == (
        5,
        "etcdserver: requested lease not found",
    )


async def test_revision_limits(server: Server) -> None:
    for _ in range(3):
        await server.put(b"a")
    await server.compact(3)
    compacted = (OUT_OF_RANGE, "etcdserver: mvcc: required revision has been compacted")
    future = (OUT_OF_RANGE, "etcdserver: mvcc: required revision is a future revision")
    path = "/etcdserverpb.KV/Range"
    assert await refused(server, path, pb.RangeRequest(key=b"a", revision=2)) == compacted
    assert await refused(server, path, pb.RangeRequest(key=b"a", revision=5)) == future
    assert (await server.range(pb.RangeRequest(key=b"a", revision=3))).count == 1
    path = "/etcdserverpb.KV/Compact"
    assert await refused(server, path, pb.CompactionRequest(revision=3)) == compacted
    assert await refused(server, path, pb.CompactionRequest(revision=5)) == future


@pytest.mark.parametrize(
    ("operations", "clash"),
    [
        ((put_op(b"a"), put_op(b"a")), True),
        ((delete_op(b"a"), put_op(b"a")), True),
        ((put_op(b"b"), delete_op(b"a", b"c")), True),
        ((put_op(b"c"), delete_op(b"a", b"c")), False),
        ((delete_op(b"a", b"c"), delete_op(b"b", b"d")), False),
        ((delete_op(b"a", b"c"), delete_op(b"b", b"d"), put_op(b"cc")), True),
        ((put_op(b"b"), delete_op(b"a", b"\0")), False),  # etcd overlooks open-ended deletes
        ((put_op(b"b"), delete_op(b"c", b"a")), False),
        ((put_op(b"a"), range_op(b"a")), False),
        ((txn_op((put_op(b"a"),), (put_op(b"a"),)),), False),
        ((txn_op((put_op(b"a"),), (delete_op(b"a"),)),), False),
        ((txn_op((put_op(b"a"),)), txn_op((put_op(b"a"),))), True),
        ((txn_op((put_op(b"a"),)), txn_op((), (put_op(b"a"),))), True),
        ((txn_op((put_op(b"a"),)), txn_op((delete_op(b"a"),))), False),
        ((txn_op((delete_op(b"a"),)), txn_op((put_op(b"a"),))), True),
        ((put_op(b"a"), txn_op((), (put_op(b"a"),))), True),
        ((txn_op((put_op(b"a"),)), delete_op(b"a")), True),
    ],
)
async def test_doubly_written_keys(
    server: Server, operations: tuple[pb.RequestOp, ...], clash: bool
) -> None:
    for request in (pb.TxnRequest(success=operations), pb.TxnRequest(failure=operations)):
        if clash:
            assert await refused(server, "/etcdserverpb.KV/Txn", request) == (
                INVALID,
                "etcdserver: duplicate key given in txn request",
            )
        else:
            await server.txn(request)


async def test_nested_transactions_share_the_budget_of_operations(server: Server) -> None:
    outer = [range_op(b"a")] * 27
    await server.txn(pb.TxnRequest(success=[*outer, txn_op((range_op(b"a"),) * 100)]))
    too_many = pb.TxnRequest(success=[*outer, txn_op((range_op(b"a"),) * 101)])
    assert (await refused(server, "/etcdserverpb.KV/Txn", too_many))[1].startswith(
        "etcdserver: too many operations"
    )


@pytest.mark.parametrize(("member_id", "overhead"), [(1, 15), (0x8000, 18), (0x7FFF, 17)])
async def test_size_limit_counts_the_log_envelope(member_id: int, overhead: int) -> None:
    limit = Limits().max_request_bytes
    server = make_server(member_id=member_id)
    empty = pb.PutRequest(key=b"k", value=b"v" * 100_000).ByteSize() - 100_000
    fits = limit - overhead - empty
    await server.put(b"k", b"v" * fits)
    request = pb.PutRequest(key=b"k", value=b"v" * (fits + 1))
    expected = (INVALID, "etcdserver: request is too large")
    assert await refused(server, "/etcdserverpb.KV/Put", request) == expected
    txn = pb.TxnRequest(success=[put_op(b"k", b"v" * fits)])
    assert await refused(server, "/etcdserverpb.KV/Txn", txn) == expected
    delete = pb.DeleteRangeRequest(key=b"k" * limit)
    assert await refused(server, "/etcdserverpb.KV/DeleteRange", delete) == expected
    await server.txn(pb.TxnRequest(success=[range_op(b"k" * limit)]))  # a read is not limited


class BarrierBackend(MemoryBackend):
    """Counts barriers, and fails proposals with `failure` when it is set."""

    barriers = 0
    failure: Exception | None = None

    def barrier(self) -> asyncio.Future[None]:
        self.barriers += 1
        return super().barrier()

    def propose(self, command: Command) -> asyncio.Future[Result]:
        if self.failure is None:
            return super().propose(command)
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        future.set_exception(self.failure)
        return future


@pytest.mark.parametrize(
    ("operations", "barriers"),
    [
        ([range_op(b"a")], 1),
        ([range_op(b"a", serializable=True)], 0),
        ([range_op(b"a", serializable=True), range_op(b"b")], 1),
        ([], 0),
        ([txn_op((range_op(b"a"),))], 0),  # counts as a write: goes through the log
    ],
)
async def test_reads_wait_for_the_barrier_unless_serializable(
    operations: list[pb.RequestOp], barriers: int
) -> None:
    backend = BarrierBackend()
    server = Server(backend, Services(backend))
    await server.txn(pb.TxnRequest(success=operations))
    assert backend.barriers == barriers
    applied = backend.status().applied_index
    assert applied == (2 if operations and operations[0].HasField("request_txn") else 1)


async def test_serializable_range_needs_no_barrier() -> None:
    backend = BarrierBackend()
    server = Server(backend, Services(backend))
    await server.range(pb.RangeRequest(key=b"a", serializable=True))
    assert backend.barriers == 0
    await server.range(pb.RangeRequest(key=b"a"))
    assert backend.barriers == 1


@pytest.mark.parametrize(
    ("failure", "code", "text"),
    [
        (RequestTimedOut(), 14, "etcdserver: request timed out"),
        (TooManyRequests(), 8, "etcdserver: too many requests"),
        (Corrupt(), 15, "etcdserver: corrupt cluster"),
    ],
)
async def test_backend_failures(failure: Exception, code: int, text: str) -> None:
    backend = BarrierBackend()
    backend.failure = failure
    server = Server(backend, Services(backend))
    for path, request in (
        ("Put", pb.PutRequest(key=b"a")),
        ("DeleteRange", pb.DeleteRangeRequest(key=b"a")),
        ("Txn", pb.TxnRequest(success=[put_op(b"a")])),
        ("Compact", pb.CompactionRequest(revision=1)),
    ):
        assert await refused(server, f"/etcdserverpb.KV/{path}", request) == (code, text)


async def test_stopped_backend_answers_unavailable(server: Server) -> None:
    server.backend.close()
    stopped = (14, "etcdserver: server stopped")
    assert await refused(server, "/etcdserverpb.KV/Put", pb.PutRequest(key=b"a")) == stopped
    assert await refused(server, "/etcdserverpb.KV/Range", pb.RangeRequest(key=b"a")) == stopped


class SlowBackend(MemoryBackend):
    """Decides nothing until `decide`; like any backend, skips callers that have gone."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: list[tuple[Command, asyncio.Future[Result]]] = []

    def propose(self, command: Command) -> asyncio.Future[Result]:
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self.waiting.append((command, future))
        return future

    def decide(self) -> None:
        for command, future in self.waiting:
            result = super().propose(command).result()
            if not future.done():
                future.set_result(result)


async def test_a_caller_that_leaves_does_not_take_its_proposal_or_others_along() -> None:
    backend = SlowBackend()
    server = Server(backend, Services(backend))
    leaving = asyncio.ensure_future(server.put(b"a", b"1"))
    staying = asyncio.ensure_future(server.put(b"b", b"2"))
    await asyncio.sleep(0)  # both run up to their wait
    assert len(backend.waiting) == 2
    leaving.cancel()
    await asyncio.wait([leaving])
    assert leaving.cancelled()
    backend.decide()
    assert (await staying).header.revision == 3
    both = await server.range(pb.RangeRequest(key=b"a", range_end=b"z"))
    assert [kv.value for kv in both.kvs] == [b"1", b"2"]

"""The Watch service, rule by rule (one fake client, memory backend)."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from etcdshim.backend import BackendStatus
from etcdshim.limits import Limits
from etcdshim.memory import MemoryBackend
from etcdshim.pb import kv_pb2
from etcdshim.pb import rpc_pb2 as pb
from etcdshim.services import Services
from etcdshim.watch_session import WatchSession
from racos.mvcc.command import Put, Txn
from tests.etcdshim.fakes import Server, make_server, summary

BIG = 10_000  # bytes; above the inline limit of the tests with coded values


@pytest.fixture(params=[None, 100], ids=["inline", "coded"])
def server(request: pytest.FixtureRequest) -> Server:
    return make_server(inline_limit=request.param)


def limited(**options: int | float) -> Server:
    backend = MemoryBackend()
    return Server(backend, Services(backend, replace(Limits(), **options)))  # type: ignore[arg-type]


async def test_created_answer_has_the_current_revision_and_ids_count_from_zero(
    server: Server,
) -> None:
    await server.put(b"a")
    async with server.watch() as client:
        first = await client.create(key=b"a")
        second = await client.create(key=b"a")
    assert (first.created, first.watch_id, first.header.revision) == (True, 0, 2)
    assert (second.created, second.watch_id) == (True, 1)
    assert first.header.cluster_id == server.backend.cluster_id
    assert first.header.raft_term == server.backend.term


async def test_explicit_ids_are_kept_and_automatic_ones_step_over_them(server: Server) -> None:
    async with server.watch() as client:
        assert (await client.create(key=b"a", watch_id=1)).watch_id == 1
        assert (await client.create(key=b"a")).watch_id == 0
        assert (await client.create(key=b"a")).watch_id == 2


async def test_duplicate_id_is_refused_and_the_stream_goes_on(server: Server) -> None:
    async with server.watch() as client:
        await client.create(key=b"a", watch_id=7)
        refused = await client.create(key=b"b", watch_id=7)
        await server.put(b"a")
        event = await client.next()
    assert (refused.created, refused.canceled, refused.watch_id) == (True, True, -1)
    assert refused.cancel_reason == "mvcc: duplicate watch ID provided on the WatchStream"
    assert summary(event) == [("put", b"a", 2)]


@pytest.mark.parametrize(("key", "end"), [(b"b", b"a"), (b"a", b"a")])
async def test_empty_range_is_refused(server: Server, key: bytes, end: bytes) -> None:
    async with server.watch() as client:
        refused = await client.create(key=key, range_end=end)
    assert (refused.created, refused.canceled, refused.watch_id) == (True, True, -1)
    assert refused.cancel_reason == "mvcc: watcher range is empty"


async def test_negative_start_is_refused_as_compacted(server: Server) -> None:
    async with server.watch() as client:
        refused = await client.create(key=b"a", start_revision=-1)
    assert (refused.created, refused.canceled, refused.watch_id) == (True, True, -1)
    assert refused.cancel_reason == "etcdserver: mvcc: required revision has been compacted"


async def test_live_events_carry_their_revision_one_answer_each(server: Server) -> None:
    async with server.watch() as client:
        await client.create(key=b"a", range_end=b"c")
        await server.put(b"a", b"1" * BIG)
        await server.put(b"c")
        await server.put(b"b", b"2")
        await server.delete(b"a")
        answers = [await client.next() for _ in range(3)]
    assert [summary(answer) for answer in answers] == [
        [("put", b"a", 2)],
        [("put", b"b", 4)],
        [("delete", b"a", 5)],
    ]
    assert [answer.header.revision for answer in answers] == [2, 4, 5]
    assert answers[0].events[0].kv.value == b"1" * BIG
    assert answers[2].events[0].kv == kv_pb2.KeyValue(key=b"a", mod_revision=5)


@pytest.mark.parametrize(
    ("key", "end", "seen"),
    [
        (b"", b"\0", [b"\0", b"a", b"b"]),  # everything
        (b"b", b"\0", [b"b"]),  # from a key on
        (b"", b"", [b"\0"]),  # the least key alone
        (b"a", b"", [b"a"]),
        (b"a", b"b", [b"a"]),
    ],
)
async def test_spans(server: Server, key: bytes, end: bytes, seen: list[bytes]) -> None:
    async with server.watch() as client:
        await client.create(key=key, range_end=end)
        for written in (b"\0", b"a", b"b"):
            await server.put(written)
        answers = await client.settle()
    assert [event.kv.key for answer in answers for event in answer.events] == seen


async def test_events_of_one_revision_come_in_one_answer_in_order(server: Server) -> None:
    operations = [
        pb.RequestOp(request_put=pb.PutRequest(key=key, value=b"v" * BIG)) for key in (b"b", b"a")
    ]
    async with server.watch() as client:
        await client.create(key=b"a", range_end=b"z")
        await server.txn(pb.TxnRequest(success=operations))
        assert summary(await client.next()) == [("put", b"b", 2), ("put", b"a", 2)]


async def test_start_at_an_old_revision_replays_in_one_answer_then_goes_live(
    server: Server,
) -> None:
    for value in (b"1", b"2" * BIG, b"3"):
        await server.put(b"a", value)
    async with server.watch() as client:
        await client.create(key=b"a", start_revision=3)
        replayed = await client.next()
        await server.put(b"a", b"4")
        live = await client.next()
    assert summary(replayed) == [("put", b"a", 3), ("put", b"a", 4)]
    assert replayed.header.revision == 4
    assert replayed.events[0].kv.value == b"2" * BIG
    assert (summary(live), live.header.revision) == ([("put", b"a", 5)], 5)


async def test_start_in_the_future_is_silent_until_then(server: Server) -> None:
    async with server.watch() as client:
        await client.create(key=b"a", start_revision=4)
        await server.put(b"a")
        client.ask_progress()
        await server.put(b"a")
        assert await client.settle() == []
        await server.put(b"a")
        assert summary(await client.next()) == [("put", b"a", 4)]
        client.ask_progress()
        assert (await client.next()).watch_id == -1


async def test_long_history_comes_in_pieces_that_never_split_a_revision() -> None:
    server = limited(watch_catch_up_revisions=2)
    for number in range(5):
        await server.put(b"a%d" % number)
    async with server.watch() as client:
        await client.create(key=b"a", range_end=b"b", start_revision=2)
        answers = [await client.next() for _ in range(3)]
    assert [[event.kv.mod_revision for event in answer.events] for answer in answers] == [
        [2, 3],
        [4, 5],
        [6],
    ]


async def test_history_is_cut_by_bytes_too() -> None:
    server = limited(watch_catch_up_bytes=BIG)
    for number in range(3):
        await server.put(b"a%d" % number, b"v" * BIG)
    async with server.watch() as client:
        await client.create(key=b"a", range_end=b"b", start_revision=1)
        answers = [await client.next() for _ in range(3)]
    assert [len(answer.events) for answer in answers] == [1, 1, 1]


async def test_compacted_start_is_created_and_then_canceled(server: Server) -> None:
    for _ in range(3):
        await server.put(b"a")
    await server.compact(3)
    async with server.watch() as client:
        created = await client.create(key=b"a", start_revision=2)
        canceled = await client.next()
        again = await client.create(key=b"a", start_revision=3)
        replayed = await client.next()
    assert (created.created, created.canceled, created.watch_id) == (True, False, 0)
    assert (canceled.canceled, canceled.watch_id, canceled.compact_revision) == (True, 0, 3)
    assert (canceled.cancel_reason, canceled.header.revision) == ("", 0)
    assert canceled.header.cluster_id
    assert (again.created, again.watch_id) == (True, 1)
    assert summary(replayed) == [("put", b"a", 3), ("put", b"a", 4)]


async def test_start_at_a_compacted_delete_still_shows_the_delete(server: Server) -> None:
    await server.put(b"a")
    await server.delete(b"a")
    await server.compact(3)
    async with server.watch() as client:
        await client.create(key=b"a", start_revision=3)
        assert summary(await client.next()) == [("delete", b"a", 3)]


async def test_filters_drop_events_and_leave_no_empty_answer(server: Server) -> None:
    async with server.watch() as client:
        await client.create(key=b"a", filters=[pb.WatchCreateRequest.NOPUT])
        await client.create(key=b"a", filters=[pb.WatchCreateRequest.NODELETE])
        await client.create(key=b"a", filters=[0, 1])
        await server.put(b"a")
        await server.delete(b"a")
        answers = await client.settle()
    assert [(answer.watch_id, summary(answer)) for answer in answers] == [
        (1, [("put", b"a", 2)]),
        (0, [("delete", b"a", 3)]),
    ]


async def test_prev_kv_on_all_but_creates_and_only_for_who_asked(server: Server) -> None:
    async with server.watch() as client:
        await client.create(key=b"a", prev_kv=True)
        await client.create(key=b"a")
        await server.put(b"a", b"1" * BIG)
        await server.put(b"a", b"2")
        await server.delete(b"a")
        answers = [await client.next() for _ in range(6)]
    asked = [answer.events[0] for answer in answers if answer.watch_id == 0]
    others = [answer.events[0] for answer in answers if answer.watch_id == 1]
    assert not asked[0].HasField("prev_kv")
    assert [event.prev_kv.value for event in asked[1:]] == [b"1" * BIG, b"2"]
    assert not any(event.HasField("prev_kv") for event in others)


async def test_fragments_split_what_is_too_big_for_one_message() -> None:
    server = limited(max_request_bytes=0)  # fragments of 512 KiB; the write goes past the check
    puts = tuple(Put(b"a%d" % number, b"v" * 200_000) for number in range(5))
    async with server.watch() as client:
        await client.create(key=b"a", range_end=b"b", fragment=True)
        await client.create(key=b"a", range_end=b"b")
        await server.backend.propose(Txn(success=puts))
        answers = [await client.next() for _ in range(4)]
    split = [answer for answer in answers if answer.watch_id == 0]
    whole = [answer for answer in answers if answer.watch_id == 1]
    assert [(len(answer.events), answer.fragment) for answer in split] == [
        (2, True),
        (2, True),
        (1, False),
    ]
    assert {answer.header.revision for answer in split} == {2}
    assert [(len(answer.events), answer.fragment) for answer in whole] == [(5, False)]


async def test_cancel_answers_once_and_stops_the_events(server: Server) -> None:
    async with server.watch() as client:
        await client.create(key=b"a")
        await server.put(b"a")
        client.cancel(0)
        client.cancel(0)
        client.cancel(9)
        before = await client.settle()
        await server.put(b"a")
        after = await client.settle()
    assert [(answer.canceled, answer.watch_id) for answer in before] == [(False, 0), (True, 0)]
    assert before[1].header.revision == 2
    assert after == []


async def test_empty_request_is_ignored(server: Server) -> None:
    async with server.watch() as client:
        client.ask(pb.WatchRequest())
        assert (await client.create(key=b"a")).created


async def test_half_closed_client_still_gets_events(server: Server) -> None:
    async with server.watch() as client:
        await client.create(key=b"a")
        client.stream.half_close()
        await client.settle()
        await server.put(b"a")
        assert summary(await client.next()) == [("put", b"a", 2)]


async def test_progress_is_behind_all_events_and_has_no_watch_id(server: Server) -> None:
    async with server.watch() as client:
        client.ask_progress()
        assert await client.settle() == []  # no watchers: silence
        await client.create(key=b"a")
        client.ask_progress()
        answer = await client.next()
        assert (answer.watch_id, answer.header.revision, len(answer.events)) == (-1, 1, 0)
        await server.put(b"a", b"v" * BIG)
        client.ask_progress()
        assert summary(await client.next()) == [("put", b"a", 2)]
        answer = await client.next()
        assert (answer.watch_id, answer.header.revision) == (-1, 2)


async def test_progress_never_overtakes_events_of_a_watcher_that_fell_behind() -> None:
    server = limited(watch_outbox_entries=1, watch_catch_up_revisions=1)
    async with server.watch() as client:
        await client.create(key=b"a")
        client.stream.reading.clear()
        for _ in range(20):
            await server.put(b"a")
        for _ in range(40):
            client.ask_progress()
        await client.settle()
        client.stream.reading.set()
        seen, notices = 1, 0
        while seen < 21 or not notices:
            for answer in await client.settle():
                if answer.watch_id == -1:
                    notices += 1
                    assert seen >= answer.header.revision
                for event in answer.events:
                    assert event.kv.mod_revision == seen + 1
                    seen += 1


async def test_watchers_behind_share_one_pass_and_each_starts_where_it_asked() -> None:
    server = make_server()
    for _ in range(4):
        await server.put(b"a")
    async with server.watch() as client:
        for start in (4, 2):
            create = pb.WatchCreateRequest(key=b"a", start_revision=start)
            client.ask(pb.WatchRequest(create_request=create))
        answers = [answer for answer in await client.settle() if answer.events]
    revisions = {
        answer.watch_id: [event.kv.mod_revision for event in answer.events] for answer in answers
    }
    assert revisions == {0: [4, 5], 1: [2, 3, 4, 5]}


async def test_slow_reader_costs_positions_not_events_and_loses_nothing() -> None:
    server = limited(watch_outbox_entries=4)
    async with server.watch() as slow, server.watch() as quick:
        await slow.create(key=b"a")
        await quick.create(key=b"a")
        slow.stream.reading.clear()
        for _ in range(50):
            await server.put(b"a")
            assert summary(await quick.next())
        session = next(iter(server.services._watch._hub._sessions))
        assert isinstance(session, WatchSession)
        assert len(session._outbox) <= 5
        slow.stream.reading.set()
        revisions = [
            event.kv.mod_revision for answer in await slow.settle() for event in answer.events
        ]
    assert revisions == list(range(2, 52))


async def test_slow_reader_overtaken_by_compaction_is_told() -> None:
    server = limited(watch_outbox_entries=1)
    async with server.watch() as client:
        await client.create(key=b"a")
        client.stream.reading.clear()
        for _ in range(5):
            await server.put(b"a")
        await server.compact(6)
        client.stream.reading.set()
        *_, last = await client.settle()
    assert (last.canceled, last.compact_revision, last.header.revision) == (True, 6, 0)


async def test_progress_ticker_names_the_watcher_and_skips_busy_ones() -> None:
    server = limited(watch_progress_notify_interval=0.02, watch_progress_jitter=0.0)
    async with server.watch() as client:
        await client.create(key=b"a", progress_notify=True)
        await client.create(key=b"a")
        first = await client.next()
        await server.put(b"a")
        events = [await client.next(), await client.next()]
        later = await client.next()
    assert (first.watch_id, first.header.revision, len(first.events)) == (0, 1, 0)
    assert [len(event.events) for event in events] == [1, 1]
    assert (later.watch_id, later.header.revision, len(later.events)) == (0, 2, 0)


async def test_progress_tick_skips_a_watcher_that_had_events_since_the_last() -> None:
    server = make_server()
    async with server.watch() as client:
        await client.create(key=b"a", progress_notify=True)
        session = next(iter(server.services._watch._hub._sessions))
        assert isinstance(session, WatchSession)
        counts = []
        for writes in (0, 1, 0, 0):
            for _ in range(writes):
                await server.put(b"a")
            session._tick()
            answers = await client.settle()
            counts.append(sum(not answer.events for answer in answers))
    assert counts == [1, 0, 1, 1]


async def test_watchers_with_the_same_request_share_one_message(server: Server) -> None:
    async with server.watch() as one, server.watch() as two:
        await one.create(key=b"a")
        await two.create(key=b"a")
        await server.put(b"a", b"v")
        first = await asyncio.wait_for(one.stream.answers.get(), 1)
        second = await asyncio.wait_for(two.stream.answers.get(), 1)
    assert first is second


async def test_server_stop_ends_streams_and_refuses_new_ones(server: Server) -> None:
    async with server.watch() as client:
        await client.create(key=b"a")
        server.services.close()
        error = await client.error()
    assert (error.code, error.message) == (14, "etcdserver: server stopped")
    async with server.watch() as late:
        assert (await late.error()).message == "etcdserver: server stopped"


class LeaderlessBackend(MemoryBackend):
    leaderless = False

    def status(self) -> BackendStatus:
        return super().status()._replace(leader=0 if self.leaderless else 1)


async def test_leader_is_required_only_by_who_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("etcdshim.watch_hub._LEADER_CHECK_S", 0.01)
    backend = LeaderlessBackend()
    server = Server(backend, Services(backend, Limits(no_leader_after=0.02)))
    async with server.watch({"hasleader": "true"}) as strict, server.watch() as patient:
        await strict.create(key=b"a")
        await patient.create(key=b"a")
        backend.leaderless = True
        error = await strict.error()
        assert (error.code, error.message) == (14, "etcdserver: no leader")
        await server.put(b"a")
        assert summary(await patient.next()) == [("put", b"a", 2)]
        async with server.watch({"hasleader": "true"}) as late:
            assert (await late.error()).message == "etcdserver: no leader"


async def test_cancelled_stream_leaves_no_watcher(server: Server) -> None:
    async with server.watch() as client:
        await client.create(key=b"a")
        await client.create(key=b"a", range_end=b"b", start_revision=1)
    hub = server.services._watch._hub
    assert not hub._sessions
    assert list(hub._index.matching(b"a")) == []


async def test_compaction_told_too_late_cancels_instead_of_skipping() -> None:
    server = make_server()
    async with server.watch() as client:
        await client.create(key=b"a")
        hub = server.services._watch._hub
        hub._unsubscribe()
        for _ in range(3):
            await server.put(b"a")
        await server.compact(4)
        hub._handle_applied(2, 4)
        canceled = await client.next()
    assert (canceled.canceled, canceled.compact_revision) == (True, 4)

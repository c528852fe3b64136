"""Watch streams under random load, slow readers, late loads and compactions, against a plain model.

Checked for every watcher: each event of its span from its start on, exactly once and in order; for
every progress notice: all events up to its revision were received before it. A watcher that was
overtaken by a compaction may end early, but without a gap. Not checked: how events are batched.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest

from etcdshim.limits import Limits
from etcdshim.memory import MemoryBackend
from etcdshim.pb import rpc_pb2 as pb
from etcdshim.services import Services
from racos.mvcc.command import CodedValue, DeleteRange, Put, Txn
from tests.etcdshim.fakes import Server, WatchClient

KEYS = (b"a", b"ab", b"b", b"c")
TIGHT = replace(
    Limits(),
    watch_outbox_entries=3,
    watch_outbox_bytes=3000,
    watch_catch_up_revisions=4,
    watch_catch_up_bytes=2000,
)


class LateBackend(MemoryBackend):
    """Half of the coded values are in memory; loading the others takes a random while."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__(inline_limit=100)
        self._rng = rng

    def cached(self, value: CodedValue) -> bytes | None:
        return self._values[value.digest] if value.round % 2 else None

    async def load(self, values: Sequence[CodedValue], *, background: bool = False) -> list[bytes]:
        for _ in range(self._rng.randrange(5)):
            await asyncio.sleep(0)
        return await super().load(values, background=background)


@dataclass
class Seen:
    """What one watcher asked for and got."""

    request: pb.WatchCreateRequest
    start: int
    events: list[tuple[int, bytes, bytes, bool]] = field(default_factory=list)
    end: int | None = None  # revision of the canceled answer; 0 when compaction ended it


Change = tuple[int, bytes, bytes, bool]  # revision, key, value, is a delete


class Checker:
    """Reads one stream's answers in order and holds them against the log of all changes."""

    def __init__(self, client: WatchClient, log: list[Change], compacted: set[int]) -> None:
        self.client = client
        self.log = log
        self.compacted = compacted  # revisions of all compactions
        self.asked: list[pb.WatchCreateRequest] = []  # not yet answered
        self.watchers: dict[int, Seen] = {}
        self.notices = 0

    def create(self, request: pb.WatchCreateRequest) -> None:
        self.asked.append(request)
        self.client.ask(pb.WatchRequest(create_request=request))

    def read(self, answers: list[pb.WatchResponse]) -> None:
        for answer in answers:
            if answer.created:
                request = self.asked.pop(0)
                start = request.start_revision or answer.header.revision + 1
                self.watchers[answer.watch_id] = Seen(request, start)
            elif answer.canceled:
                seen = self.watchers[answer.watch_id]
                seen.end = 0 if answer.compact_revision else answer.header.revision
            elif answer.watch_id == -1:
                self.notices += 1
                self.check_notice(answer.header.revision)
            else:
                self.add(answer)

    def add(self, answer: pb.WatchResponse) -> None:
        seen = self.watchers[answer.watch_id]
        assert seen.end is None, "events after the canceled answer"
        assert answer.events, "an empty answer that is no notice"
        for event in answer.events:
            kv = event.kv
            seen.events.append((kv.mod_revision, kv.key, kv.value, bool(event.type)))
            if seen.request.prev_kv and kv.create_revision not in (0, kv.mod_revision):
                # The version before a compaction's own revision is gone.
                assert event.HasField("prev_kv") or kv.mod_revision in self.compacted

    def expected(self, seen: Seen, last: int) -> list[Change]:
        request = seen.request
        return [
            change
            for change in self.log
            if seen.start <= change[0] <= last
            and request.key <= change[1] < (request.range_end or request.key + b"\0")
            and int(change[3]) not in request.filters
        ]

    def check_notice(self, revision: int) -> None:
        for seen in self.watchers.values():
            if seen.end is None:
                upto = [event for event in seen.events if event[0] <= revision]
                assert upto == self.expected(seen, revision)

    def check_all(self) -> None:
        assert not self.asked
        last = self.log[-1][0]
        for seen in self.watchers.values():
            if seen.end is None:
                assert seen.events == self.expected(seen, last)
            elif seen.end:
                wanted = self.expected(seen, seen.end)
                assert seen.events == wanted[: len(seen.events)]
            else:
                assert seen.events == self.expected(seen, last)[: len(seen.events)]


async def write(server: Server, rng: random.Random, log: list[Change]) -> None:
    key = rng.choice(KEYS)
    value = rng.choice((b"x", b"y" * 500)) + b"%d" % len(log)
    match rng.randrange(4):
        case 0:
            await server.backend.propose(DeleteRange(key, b"c"))
        case 1:
            both = (Put(b"c", value), DeleteRange(b"a", b"c"))
            await server.backend.propose(Txn(success=both))
        case _:
            await server.backend.propose(Put(key, value))
    newest = server.backend.revision
    if not log or newest > log[-1][0]:
        for _, events in server.backend.history(newest, newest):
            for event in events:
                data = event.kv.value
                if isinstance(data, CodedValue):
                    (data,) = await MemoryBackend.load(server.backend, [data])
                log.append((newest, event.kv.key, data, event.is_delete))


def random_create(rng: random.Random, revision: int, oldest: int) -> pb.WatchCreateRequest:
    key, end = rng.choice(((b"a", b"z"), (b"a", b"b"), (b"b", b""), (b"a", b""), (b"ab", b"c\0")))
    return pb.WatchCreateRequest(
        key=key,
        range_end=end,
        start_revision=rng.choice((0, 0, rng.randint(oldest, revision), revision + 3)),
        prev_kv=rng.random() < 0.5,
        filters=rng.choice(((), (), (0,), (1,))),  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("compacting", [False, True])
@pytest.mark.parametrize("seed", range(10))
async def test_every_watcher_gets_its_events_once_in_order(seed: int, compacting: bool) -> None:
    rng = random.Random(seed)
    backend = LateBackend(rng)
    server = Server(backend, Services(backend, TIGHT))
    log: list[Change] = []
    compacted: set[int] = set()
    async with server.watch() as one, server.watch() as two:
        checkers = [Checker(stream, log, compacted) for stream in (one, two)]
        for _ in range(400):
            checker = rng.choice(checkers)
            match rng.randrange(12):
                case 0 if len(checker.watchers) < 8:
                    oldest = max(2, backend.compact_revision)
                    checker.create(random_create(rng, max(oldest, backend.revision), oldest))
                case 1 if checker.watchers:
                    checker.client.cancel(rng.choice(list(checker.watchers)))
                case 2 | 3:
                    checker.client.ask_progress()
                case 4 | 5:
                    checker.client.stream.reading.clear()
                case 6 | 7 | 8:
                    checker.client.stream.reading.set()
                    checker.read(await checker.client.settle())
                case 9 if compacting and backend.revision > max(backend.compact_revision, 2):
                    await server.compact(backend.revision)
                    compacted.add(backend.revision)
                case _:
                    await write(server, rng, log)
            if rng.random() < 0.3:
                await asyncio.sleep(0)
        await finish(checkers)
        for checker in checkers:
            checker.check_all()
        assert sum(checker.notices for checker in checkers) > 0


async def finish(checkers: list[Checker]) -> None:
    """Read until both streams have nothing left to say."""
    for checker in checkers:
        checker.client.stream.reading.set()
        while answers := await checker.client.settle():
            checker.read(answers)

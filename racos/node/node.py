"""One replica as part of a process: the driver on an event loop, with its peers, disk and clock.

Inputs (frames, calls, finished syncs) only note what came and schedule one turn of the driver; a
turn handles everything that gathered meanwhile. That is what makes batches, frames and syncs grow
under load.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import secrets
from collections.abc import Callable, Iterable, Sequence
from math import inf
from pathlib import Path

from racos.core.messages import Buffer
from racos.core.quorum import Quorum, bits
from racos.core.replica import Settings
from racos.core.settings import ROUNDS_MAX
from racos.erasure.codec import Codec
from racos.errors import RequestTimedOut, ServerStopped, ShelfError, Unavailable
from racos.mvcc.command import (
    Alarm,
    AlarmSwitch,
    CodedValue,
    Command,
    Event,
    Range,
    RangeResult,
    Result,
    Txn,
    TxnResult,
)
from racos.mvcc.lease import LeaseInfo
from racos.mvcc.view import View
from racos.node import figures
from racos.node.alarms import AlarmKeeper, AutoDisarm
from racos.node.auditor import Auditing
from racos.node.checkpoint import Flushes
from racos.node.cleaner import Space
from racos.node.config import NodeConfig
from racos.node.datadir import DataDir
from racos.node.driver import Driver
from racos.node.figures import Statistics
from racos.node.flusher import LogFlusher
from racos.node.healer import Healing
from racos.node.identity import Identity
from racos.node.ports import Options
from racos.node.reader import DiskReader
from racos.node.scrubber import Scrubbing
from racos.node.wire import Hello, WireError
from racos.storage.disk import Disk, OsDisk
from racos.storage.identity import DirectoryLock, check_or_create
from racos.storage.index import Index
from racos.storage.log import Batch, LogError
from racos.storage.record import SEGMENT_HEADER_BYTES
from racos.transport.tcp import Mesh

log = logging.getLogger(__name__)

TIMER_SECONDS = 0.01
STARTS_MAX = 3  # after which damage is too much to be put right by itself
COMPACT_SECONDS = 10.0  # between two compactions of the index on a disk that is short
VERSION_BYTES = 64  # what a version takes besides its key and value, roughly


class Node:
    """Use as an async context manager: inside, it takes part in the cluster and answers.

    Raises IdentityError, LogError, ShelfError or OSError with one clear line when it cannot start;
    nothing in the data directory is changed then. `fatal` is called once with what makes going on
    impossible. `disk` opens the log's directory: a test has it fail.
    """

    def __init__(
        self,
        config: NodeConfig,
        identity: Identity,
        fatal: Callable[[BaseException], None],
        disk: Callable[[Path], Disk] = OsDisk,
    ) -> None:
        self.config = config
        self.identity = identity
        self.cluster_id = identity.cluster_id
        self.member_id = identity.member_id
        self._fatal = fatal
        self._loop = asyncio.get_running_loop()
        self._listeners: list[Callable[[int, int], None]] = []
        self._scheduled = False
        self._stopped = False
        self._may_be_blank = True  # its disk was lost, and nothing has come yet
        self._timer: asyncio.TimerHandle | None = None
        self._lock = DirectoryLock(config.data_dir)
        self._data = DataDir(config, identity, disk)
        self._compact_at = 0.0  # the index, if the disk is short then
        try:
            check_or_create(
                config.data_dir,
                member_id=self.member_id,
                cluster_id=self.cluster_id,
                name=config.name,
            )
            self._flusher = LogFlusher(self._loop, self._flushed, self._fail)
            self._reader = DiskReader(self._loop)
            self._mesh = self._make_mesh()
            self.driver = self._start_driver()
            self._alarm_keeper = self._make_alarm_keeper()
        except BaseException:
            self._data.close_index()
            self._lock.close()
            raise

    def _start_driver(self) -> Driver:
        """The driver on log and index. What is damaged is put right first, as far as it can be."""
        for _ in range(STARTS_MAX):
            try:
                return self._make_driver(self._data.open())
            except (LogError, ShelfError) as error:
                self._data.mend(error)
        return self._make_driver(self._data.open())

    def _begin_anew(self) -> None:
        """Go on with the state that was taken from another replica, as after a restart. What waits
        here ends with an unknown outcome, and what the log queues was promised to nobody."""
        old, staged = self.driver, self.driver.staged
        assert isinstance(staged, Index)
        revision = old.store.revision
        old.stop(RequestTimedOut())
        staged.close()
        self.driver = self._make_driver(self._data.install())
        self.driver.hellos.update(old.hellos)
        for lane in bits(old.connected):
            self.driver.on_up(lane)
        self._applied(revision + 1, self.driver.store.revision)

    def _make_mesh(self) -> Mesh:
        identity = self.identity
        return Mesh(
            lane=identity.lane,
            cluster_id=identity.cluster_id,
            member_ids=[member.id for member in identity.members],
            listen=self.config.listen_peer_urls,
            peers={
                lane: member.peer_urls
                for lane, member in enumerate(identity.members)
                if lane != identity.lane
            },
            on_frame=self._on_frame,
            on_up=self._on_up,
            on_down=self._on_down,
            window=ROUNDS_MAX,
        )

    def _make_driver(self, index: Index) -> Driver:
        config, sizes = self.config, self._data.room.sizes
        quorum = Quorum(config.n, config.f, config.k)
        settings = Settings(
            quorum,
            self.identity.lane,
            self.identity.coin_secret,
            incarnation=secrets.randbits(30),
            rounds_max=ROUNDS_MAX,
            suspect_after=config.suspect_after,
            lane_off_after=config.lane_off_after,
        )
        return Driver(
            settings,
            self._data.log,
            Codec(config.k, config.n),
            self._mesh,
            self._flusher,
            self._loop.time,
            options=Options(
                inline_limit=config.inline_limit,
                healing=Healing(config.heal_bytes_per_second),
                space=Space(
                    config.rewrite_bytes_per_second,
                    history_bytes=min(config.history_bytes, sizes.history),
                ),
                flushes=Flushes.within(sizes.memtable // 2, sizes.segment),
                scrubbing=Scrubbing(config.scrub_bytes_per_second),
                engine=config.engine,
                reader=self._reader,
                auditing=Auditing(config.corrupt_check_seconds, differ=self._differ),
            ),
            hello=Hello(config.name, config.advertise_client_urls),
            vow=self._data.vow,
            shelf=index,
            stage=self._data.place.stage,
            applied=self._applied,
            report=log.warning,
        )

    def _make_alarm_keeper(self) -> AlarmKeeper:
        config = self.config
        return AlarmKeeper(
            self.member_id,
            [member.id for member in self.identity.members],
            self.alarms,
            self._propose_unwaited,
            lambda: self._data.room.is_short,
            self.fits,
            AutoDisarm(config.quota_auto_disarm, config.quota_backend_bytes),
        )

    async def __aenter__(self) -> Node:
        await self._mesh.start()
        # What was replayed stays: collections need not look at it again.
        gc.collect()
        gc.freeze()
        gc.set_threshold(20_000, 20, 50)
        self._on_timer()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.stop()
        await self._mesh.close()
        self._flusher.close()
        self._reader.close()
        self._data.close_index()
        self._lock.close()

    def stop(self) -> None:
        """Answer everything that waits with `server stopped` and take nothing more."""
        if not self._stopped:
            self._stopped = True
            if self._timer is not None:
                self._timer.cancel()
            self.driver.stop(ServerStopped())

    # -- the loop --------------------------------------------------------------------------------

    def _schedule(self) -> None:
        if not self._scheduled and not self._stopped:
            self._scheduled = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._scheduled = False
        if self._stopped:
            return
        try:
            if self.driver.turn():
                self._schedule()
            if self.driver.wake_at < inf:
                self._loop.call_at(self.driver.wake_at, self._schedule)
                self.driver.wake_at = inf
            if self.driver.staged is not None and not self.driver.flushing:
                self._begin_anew()
        except Exception as error:  # the state may be half changed: stop rather than go on wrong
            self._fail(error)

    def _on_timer(self) -> None:
        self._timer = self._loop.call_later(TIMER_SECONDS, self._on_timer)
        now = self._loop.time()
        self._watch_room(now)
        self._alarm_keeper.tick(now)
        self._schedule()

    def _watch_room(self, now: float) -> None:
        room, index = self._data.room, self._data.index
        if room.tick(now):
            log.warning("disk.%s free_bytes=%d", room.state, room.free_bytes)
            self._alarm_keeper.hurry()
            self._compact_at = now
        self.driver.keeper.is_cramped = room.is_cramped
        if room.is_short and not room.is_cramped and now >= self._compact_at:
            # What is deleted takes its space in the index until that is compacted.
            self._compact_at = now + COMPACT_SECONDS
            if index is not None and index.size_bytes() < room.free_bytes:
                index.compact()

    def _differ(self, lanes: tuple[int, ...], what: str) -> None:
        """The audit found members that do not have the same state."""
        log.critical("state.differs %s", what)
        self._alarm_keeper.differ(lanes)

    def _propose_unwaited(self, command: AlarmSwitch) -> None:
        """Propose what nobody waits for; if it fails, whoever wanted it will want it again."""
        self.propose(command).add_done_callback(lambda done: done.cancelled() or done.exception())

    def _fail(self, error: BaseException) -> None:
        if not self._stopped:
            self._stopped = True
            self._fatal(error)

    def _flushed(self, batch: Batch) -> None:
        if self._stopped:
            return
        try:
            self.driver.flushed(batch)
        except Exception as error:  # goes on in _fatal: the process ends
            self._fail(error)
        self._turn()

    def _on_frame(self, lane: int, header: bytes, blobs: Sequence[Buffer]) -> None:
        if self._stopped:
            return
        try:
            self.driver.on_frame(lane, header, blobs)
        except WireError as error:
            log.warning("peer.bad_frame lane=%d: %s", lane, error)
        except Exception as error:  # goes on in _fatal: the process ends
            self._fail(error)
        self._schedule()

    def _on_up(self, lane: int) -> None:
        self.driver.on_up(lane)
        self._schedule()

    def _on_down(self, lane: int) -> None:
        self.driver.on_down(lane)
        self._schedule()

    def _applied(self, first: int, last: int) -> None:
        for listener in tuple(self._listeners):
            listener(first, last)

    # -- what the services ask (see etcdshim.backend) ----------------------------------------------

    @property
    def term(self) -> int:
        """What etcd calls the Raft term: grows with each epoch of the configuration, from 1."""
        return 1 + self.driver.replica.configs.newest.epoch

    @property
    def revision(self) -> int:
        return self.driver.store.revision

    @property
    def compact_revision(self) -> int:
        return self.driver.store.compact_revision

    def propose(self, command: Command) -> asyncio.Future[Result]:
        """Order and apply a command; resolves with the result once it is applied here."""
        future: asyncio.Future[Result] = self._loop.create_future()
        if self._stopped:
            future.set_exception(ServerStopped())
        else:
            self.driver.submit(command, future)
            self._schedule()
        return future

    def barrier(self) -> asyncio.Future[None]:
        """Resolves when all that was acknowledged anywhere before this call is applied here."""
        future: asyncio.Future[None] = self._loop.create_future()
        if self._stopped:
            future.set_exception(ServerStopped())
        else:
            self.driver.read(future)
            self._schedule()
        return future

    def keep_alive(self, id_: int) -> asyncio.Future[int]:
        """Renew a lease; resolves with its TTL in seconds, 0 if there is no such lease."""
        future: asyncio.Future[int] = self._loop.create_future()
        if self._stopped:
            future.set_exception(ServerStopped())
        else:
            self.driver.leases.keep_alive(id_, future)
            self._schedule()
        return future

    def lease(self, id_: int) -> LeaseInfo | None:
        """A lease as it stands here; None if there is none."""
        return self.driver.leases.info(id_)

    def leases(self) -> list[int]:
        """The ids of all leases, the one that ends first in front."""
        return self.driver.leases.clock.by_expiry()

    def new_lease_id(self) -> int:
        """A random positive id that no lease has here."""
        return self.driver.leases.new_id()

    def range(self, request: Range) -> RangeResult:
        """Local read at once. Raises Compacted, FutureRevision, or Unavailable if blank."""
        if self._may_be_blank:
            self._check_not_blank()
        return self.driver.store.range(request)

    def _check_not_blank(self) -> None:
        silence = self.driver.silence
        self._may_be_blank = silence is not None and silence.is_blank(self.revision)
        if self._may_be_blank:
            raise Unavailable("etcdserver: no leader")

    async def read_txn(self, request: Txn) -> TxnResult:
        """Local evaluation of a transaction that only reads; see `range`."""
        if self._may_be_blank:
            self._check_not_blank()
        loaded: dict[CodedValue, bytes] = {}
        store = self.driver.store
        while missing := [v for v in store.values_needed(request) if v not in loaded]:
            loaded.update(zip(missing, await self.load(missing), strict=True))
        return store.read_txn(request, loaded)

    def cached(self, value: CodedValue) -> bytes | None:
        """The value's bytes if they are in memory."""
        return self.driver.values.cache.get(value)

    async def load(self, values: Sequence[CodedValue], *, background: bool = False) -> list[bytes]:
        """The values' bytes in order, verified. Raises Corrupt or RequestTimedOut. What is loaded
        in the background does not enter the cache."""
        future: asyncio.Future[dict[CodedValue, bytes]] = self._loop.create_future()

        def done(outcome: dict[CodedValue, bytes] | Exception) -> None:
            if future.done():
                return
            if isinstance(outcome, Exception):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)

        self.driver.load(values, done, background=background)
        found = await future
        return [found[value] for value in values]

    def view(self) -> View:
        """The store as it is now, to be read while writes go on; see `range`. Close it."""
        if self._may_be_blank:
            self._check_not_blank()
        return self.driver.store.view()

    def alarms(self) -> tuple[Alarm, ...]:
        """The alarms raised as this replica knows them."""
        return tuple(self.driver.store.alarms)

    def has_room(self, cost: int) -> bool:
        """Whether so many bytes more fit, and nobody else is out of space."""
        return not self.driver.store.alarms.no_space and self.fits(cost)

    def fits(self, cost: int) -> bool:
        """Whether quota and disk allow so many bytes more."""
        if self._data.room.is_short:
            return False
        quota = self.config.quota_backend_bytes
        return not quota or self._used_bytes() + cost < quota

    def _used_bytes(self) -> int:
        """What this replica's disk must hold for what can still be read: what the index names in
        the log, and what is in the index itself."""
        library, usage = self.driver.library, self.driver.store.usage
        coded = library.live_bytes
        if not library.loaded:  # not all of it is counted yet
            coded = max(coded, usage.coded_bytes // self.config.k)
        own = coded + usage.inline_bytes + usage.versions * VERSION_BYTES
        return SEGMENT_HEADER_BYTES + own

    def defragment(self) -> None:
        """Begin to give back what the index does not need any more."""
        if self._data.index is not None:
            self._data.index.compact()

    def history(self, start: int, end: int) -> Iterable[tuple[int, Sequence[Event]]]:
        """(revision, events) for each revision in [start, end]. Raises Compacted."""
        return self.driver.store.history(start, end)

    def subscribe(self, listener: Callable[[int, int], None]) -> Callable[[], None]:
        """Call `listener(first, last)` after revisions were applied, and after compactions."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    # -- figures ---------------------------------------------------------------------------------

    def leader(self) -> int:
        """The member that tools may take for a leader: the first that answers; 0 without quorum."""
        driver = self.driver
        alive = driver.live(self._loop.time())
        if alive.bit_count() < driver.quorum.answers:
            return 0
        return self.identity.members[(alive & -alive).bit_length() - 1].id

    def client_urls(self, lane: int) -> tuple[str, ...]:
        """A member's client URLs, as far as it has told them."""
        if lane == self.driver.me:
            return self.config.advertise_client_urls
        hello = self.driver.hellos.get(lane)
        return hello.client_urls if hello is not None else ()

    def statistics(self) -> Statistics:
        data = self._data
        index_bytes = data.index.size_bytes() if data.index is not None else 0
        return figures.collect(
            self.driver, data.log, index_bytes, self._used_bytes(), data.room.statistics()
        )

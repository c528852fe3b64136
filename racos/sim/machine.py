"""One simulated machine: a disk, a clock, and in each life a production driver between them."""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Protocol

from racos.core.effects import Effects
from racos.core.messages import Buffer, Message
from racos.core.quorum import Quorum
from racos.core.replica import Replica, Settings
from racos.erasure.codec import Codec
from racos.errors import RequestTimedOut
from racos.mvcc.shelf import MemoryShelf
from racos.node.batcher import Limits
from racos.node.checkpoint import Flushes
from racos.node.cleaner import Space
from racos.node.driver import Driver
from racos.node.ports import Options as NodeOptions
from racos.node.retention import read_start
from racos.node.wire import Hello
from racos.sim.clock import Clock
from racos.sim.disk import Died, SimDisk
from racos.sim.events import Action, Events
from racos.sim.network import Frame
from racos.sim.options import Options
from racos.sim.violation import Violation
from racos.storage.ballast import NO_SPACE, Ballast
from racos.storage.log import Appended, Batch, Damaged, Log, LogError, Replayed
from racos.storage.record import SEGMENT_HEADER_BYTES
from racos.storage.segment import segment_name
from racos.storage.vow import Written, open_vow, write_vow

SECRET = b"simulated"
_BALLAST_BYTES = 16 << 10  # where disks become full
_SYNCS_UNTIL_PROVEN = 3  # after which a record that the log has for good says so of an earlier one


class Observer(Protocol):
    """Who looks over the machines' shoulders: the world, for its checkers."""

    def received(self, lane: int, sender: int, message: Message) -> None: ...

    def effects(self, lane: int, effects: Effects, next_sequence: int) -> None: ...

    def appended(
        self, lane: int, sequence: int, kind: int, header: bytes, blobs: Sequence[Buffer]
    ) -> None: ...

    def pruned(self, lane: int, position: int, keep: int) -> None: ...

    def synced(self, lane: int, sequence: int) -> None: ...

    def replayed(self, lane: int, entry: Replayed) -> None: ...

    def replay_ended(self, lane: int, sequence: int) -> None: ...

    def dying(self, lane: int) -> None: ...

    def died(self, lane: int, *, power: bool, why: str) -> None: ...

    def lost(self, lane: int) -> None: ...

    def recovered(self, lane: int, upto: int) -> None: ...

    def applied(self, lane: int, first: int, last: int) -> None: ...

    def transmit(
        self, sender: int, receiver: int, header: bytes, blobs: Sequence[Buffer]
    ) -> bool: ...


class TappedLog(Log):
    """The production log, its records noted as they come and go."""

    lane: int
    observer: Observer

    def replay(self, start: int = 1) -> Iterator[Replayed]:
        for entry in super().replay(start):
            self.observer.replayed(self.lane, entry)
            yield entry
        self.observer.replay_ended(self.lane, self.durable_sequence)

    def append(self, kind: int, header: bytes, blobs: Sequence[Buffer] = ()) -> Appended:
        appended = super().append(kind, header, blobs)
        self.observer.appended(self.lane, appended.sequence, kind, header, blobs)
        return appended


class Flusher:
    """The driver's flusher port."""

    __slots__ = ("start",)

    def __init__(self, start: Callable[[Batch], bool]) -> None:
        self.start = start


class Machine:
    """Also the driver's `Link`. What reaches a paused machine waits in its backlog."""

    def __init__(
        self, options: Options, lane: int, quorum: Quorum, events: Events, observer: Observer
    ) -> None:
        self.options = options
        self.lane = lane
        self.quorum = quorum
        self.life = 0
        self.driver: Driver | None = None
        self.paused = False
        self.sync_factor = 1.0  # of the usual time of a sync
        self.sync_fails = False  # the next one does
        self.reports: list[str] = []
        self.is_rotten = False  # bits of what was synced have flipped
        self.has_refused = False  # to start, because of that
        self.disk = SimDisk(random.Random(f"disk {lane} {options.seed}"))
        if options.loses_disks:  # the cluster is not new: nobody wonders at the first start
            write_vow(self.disk, Written(lane + 1, fresh=False, kept=True, upto=-1))
        self._ballast: Ballast | None = None
        self.harm = ""  # what becomes of the disk before the next start
        self._is_damaged = False  # and the next start will find it
        self._has_aside = False
        self._is_silent = False  # its disk is lost, and it has not got over that yet
        self._proven = (0, 0)  # (segment, offset): before it all is proven durable
        self.installed = 0  # states taken from others
        self.shelf = MemoryShelf()  # the index: what a crash leaves of it is some prefix
        self.clock = Clock(events, 1000.0 * lane)
        self._events = events
        self._observer = observer
        self._source = random.Random(f"machine {lane} {options.seed}")
        self._losses = random.Random(f"shelf {lane} {options.seed}")
        self._codec = Codec(quorum.data, quorum.total)
        self._transitions: Counter[str] = Counter()  # of lives that have ended
        self._batch: Batch | None = None
        # Where the log ended at the latest syncs of this life: (segment, offset).
        self._ends: deque[tuple[int, int]] = deque(maxlen=_SYNCS_UNTIL_PROVEN)
        self._scheduled = False
        self._backlog: list[tuple[Action, tuple[Any, ...]]] = []

    # -- life and death --------------------------------------------------------------------------

    def start(self, steps_left: int | None = None) -> None:
        """Boot on what the disk holds. `steps_left`: the power fails again after so many steps."""
        assert self.driver is None
        self.life += 1
        self._harm_disk()
        self.disk.steps_left = steps_left
        try:
            self.driver = self._boot_undamaged()
        except Died:
            self._die(power=True, why="lost power while starting")
            return
        except OSError as error:
            if error.errno not in NO_SPACE:
                raise
            self._die(power=False, why=f"no space to start: {error}")
            return
        except LogError as error:
            if not self.is_rotten:
                raise Violation("boot", f"n{self.lane} cannot start: {error}") from error
            self.has_refused = True  # damage is named, and nothing is cut off
            return
        self.disk.steps_left = None
        self._on_timer()

    @property
    def is_lost(self) -> bool:
        """Whether its disk is lost, or will be at the next start; until it takes part again."""
        return bool(self.harm) or self._is_damaged or self._is_silent

    def _harm_disk(self) -> None:
        harm, self.harm = self.harm, ""
        segment, end = self._proven
        is_read = segment >= read_start(self.shelf)  # else it would be rot, to be healed
        if harm == "damage" and end > SEGMENT_HEADER_BYTES and is_read:
            at = self._source.randrange(SEGMENT_HEADER_BYTES, end)
            flipped = self.disk.flip(segment_name(segment), at, 1 << self._source.randrange(8))
            assert flipped, "what is proven durable is on the disk"
            self._is_damaged = True
        elif harm:
            self._lose_disk(aside=False)

    def _lose_disk(self, *, aside: bool) -> None:
        """An empty one in its place; `aside`: what it had is put aside, and the node knows it."""
        steps_left = self.disk.steps_left
        self.disk = SimDisk(random.Random(f"disk {self.lane} {self.options.seed} {self.life}"))
        self.disk.steps_left = steps_left
        self.shelf = MemoryShelf()
        self._is_damaged, self._is_silent, self._has_aside = False, True, aside
        self._observer.lost(self.lane)

    def _boot_undamaged(self) -> Driver:
        """As `racos.node.datadir` does: what is damaged is put aside."""
        try:
            driver = self._boot()
        except Damaged:
            if not self._is_damaged:
                raise
            self._lose_disk(aside=True)
            return self._boot()
        if self._is_damaged:
            raise Violation("boot", f"n{self.lane} starts on a damaged log")
        return driver

    def _boot(self) -> Driver:
        if self.options.on("full"):
            self._open_ballast()
        vow = None
        if self.options.loses_disks:
            vow = open_vow(self.disk, may_ask=True, lost=self._has_aside)
        log = TappedLog.open(
            self.disk,
            member_id=self.lane + 1,
            cluster_id=9,
            segment_bytes=self.options.segment_bytes,
            ballast=self._ballast,
        )
        assert isinstance(log, TappedLog)
        log.lane, log.observer = self.lane, self._observer
        options = self.options
        driver = Driver(
            Settings(
                self.quorum,
                self.lane,
                SECRET,
                self.life,
                rounds_max=options.rounds_max,
                suspect_after=options.suspect_after,
                lane_off_after=options.lane_off_after,
            ),
            log,
            self._codec,
            self,
            Flusher(self._start_batch),
            self.clock,
            options=NodeOptions(
                options.inline_limit,
                1 << 18,
                Limits(request_seconds=options.request_seconds),
                space=Space(
                    history_bytes=options.history_bytes, grace_seconds=options.grace_seconds
                ),
                flushes=Flushes(seconds=options.flush_seconds),
                engine=options.engine,
            ),
            hello=Hello(f"n{self.lane}", ()),
            vow=vow,
            shelf=self.shelf,
            stage=MemoryShelf,
            applied=lambda first, last: self._observer.applied(self.lane, first, last),
            report=self.reports.append,
        )
        self._tap(driver)
        return driver

    def _open_ballast(self) -> None:
        """As `racos.node.datadir` does: a start on a full disk has to write a little, too."""
        self._ballast = Ballast(self.disk, _BALLAST_BYTES)
        if self.disk.space().free < _BALLAST_BYTES:
            self._ballast.give(_BALLAST_BYTES)
        self._grow_ballast()

    def _grow_ballast(self) -> None:
        """As `racos.node.room` does while there is space."""
        ballast = self._ballast
        while ballast is not None and not ballast.is_whole:
            if self.disk.capacity_bytes is not None or not ballast.grow():
                return

    def fill(self, left_bytes: int) -> None:
        """Others take the disk's space, but for so much."""
        self.disk.capacity_bytes = self.disk.used_bytes() + left_bytes

    def drain(self) -> None:
        """There is space again."""
        self.disk.capacity_bytes = None
        if self.driver is not None:
            self._grow_ballast()

    def _tap(self, driver: Driver) -> None:
        """Let the observer see what the core gets and wants; nothing is changed."""
        replica, log, observer, lane = driver.replica, driver.log, self._observer, self.lane
        receive, take_effects = replica.receive, replica.take_effects

        def tapped_receive(sender: int, message: Message) -> None:
            observer.received(lane, sender, message)
            receive(sender, message)

        def tapped_effects() -> Effects:
            effects = take_effects()
            observer.effects(lane, effects, log.last_sequence + 1)
            return effects

        replica.receive = tapped_receive  # type: ignore[method-assign]  # the point of a tap
        replica.take_effects = tapped_effects  # type: ignore[method-assign]
        driver.library.pruned = partial(observer.pruned, lane)

    def kill(self, *, power: bool, why: str) -> None:
        """The end of this life, at whatever moment: a batch may be half on its way to the disk."""
        if self.driver is None:
            return
        batch = self._batch
        if batch is not None and not batch.ran:
            self.disk.steps_left = self._source.randrange(6)
            try:
                batch.run()
            except (Died, OSError):  # an error of the disk would end it as well
                pass
            else:
                self._observer.synced(self.lane, batch.sequence)
        self._die(power=power, why=why)

    def rot(self, source: random.Random) -> str:
        """Flip a bit of a fragment that the running node's log holds; says of which, if there is
        one that is synced.

        Not in what was written last: until a later record says that it was durable, rot of it and
        a torn tail are the same thing to a start (racos.storage.replay tells the limit).
        """
        if self.driver is None or len(self._ends) < _SYNCS_UNTIL_PROVEN:
            return ""
        proven = [
            each
            for each in self.driver.library.held_places()
            if (each[2].segment, each[2].offset) < self._ends[0]
        ]
        if not proven:
            return ""
        position, index, place = proven[source.randrange(len(proven))]
        at = place.offset + source.randrange(place.length)
        if not self.disk.flip(segment_name(place.segment), at, 1 << source.randrange(8)):
            return ""
        self.is_rotten = True
        return f"fragment {index} of slot {position} on n{self.lane}"

    def transitions(self) -> Counter[str]:
        """What the core and the healer counted, over all lives."""
        if self.driver is None:
            return self._transitions
        replica, healer = self.driver.replica, self.driver.healer.statistics()
        now = Counter(replica.agreement.statistics)
        if isinstance(replica, Replica):
            now.update(replica.switch.statistics)
        now["fragments healed"], now["fragments pruned"] = healer.healed, healer.pruned
        space = self.driver.keeper.statistics()
        now["segments rewritten"] = space.rewritten_segments
        now["segments removed"] = space.removed_segments
        now["ballast bytes given"] = self._ballast.given_bytes if self._ballast is not None else 0
        return self._transitions + now

    def _die(self, *, power: bool, why: str) -> None:
        self._transitions = self.transitions()
        if self.driver is not None:
            self._observer.dying(self.lane)
        self.driver = None
        self.life += 1
        self.paused = False
        self._backlog.clear()
        self._batch = None
        self._proven = self._ends[0] if len(self._ends) == _SYNCS_UNTIL_PROVEN else (0, 0)
        self._ends.clear()
        self._scheduled = False
        self.sync_fails = False
        self.shelf.crash(lambda most: self._losses.randint(0, most))
        if power:
            self.disk.power_off()
            self.clock.jump(self._source.uniform(0.0, 5000.0))
        else:
            self.disk.process_died()
        self._observer.died(self.lane, power=power, why=why)

    def pause(self) -> None:
        self.paused = self.driver is not None

    def resume(self) -> None:
        """What came meanwhile is handled now, in order."""
        self.paused = False
        backlog, self._backlog = self._backlog, []
        for action, arguments in backlog:
            self._guarded(self.life, action, arguments)

    # -- inputs ----------------------------------------------------------------------------------

    def after(self, delay: float, action: Action, *arguments: Any) -> None:
        """Something happens to this life of the machine, if it lasts so long."""
        self._events.after(delay, self._guarded, self.life, action, arguments)

    def do(self, action: Action, *arguments: Any) -> None:
        """As `after`, at once."""
        self._guarded(self.life, action, arguments)

    def _guarded(self, life: int, action: Action, arguments: tuple[Any, ...]) -> None:
        if life != self.life or self.driver is None:
            return
        if self.paused:
            self._backlog.append((action, arguments))
            return
        try:
            action(*arguments)
        except OSError as error:  # production ends the process, too
            self.kill(power=False, why=str(error))

    def deliver(self, sender: int, frame: Frame) -> None:
        self.do(self._on_frame, sender, frame)

    def _on_frame(self, sender: int, frame: Frame) -> None:
        assert self.driver is not None
        self.driver.on_messages(sender, frame)
        self.wake()

    def call(self, action: Callable[[Driver], None]) -> None:
        """A caller reaches the driver; a turn follows."""
        self.do(self._call, action)

    def _call(self, action: Callable[[Driver], None]) -> None:
        assert self.driver is not None
        action(self.driver)
        self.wake()

    def wake(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self.after(self.options.turn, self._turn)

    def _turn(self) -> None:
        assert self.driver is not None
        self._scheduled = False
        self.driver.turn()
        self._maybe_install()

    def _on_timer(self) -> None:
        assert self.driver is not None
        self.driver.turn()
        self.after(self.options.timer / self.clock.rate, self._on_timer)
        self._maybe_install()

    # -- the driver's link and flusher -----------------------------------------------------------

    def send(self, lane: int, header: bytes, blobs: Sequence[Buffer] = ()) -> bool:
        return self._observer.transmit(self.lane, lane, header, blobs)

    def _start_batch(self, batch: Batch) -> bool:
        assert self._batch is None, "one batch at a time"
        self._batch = batch
        usual = self.options.sync * (0.5 + 0.5 * self._source.expovariate(1.0))
        # Not `after`: a sync under way ends even if the process is stopped meanwhile.
        self._events.after(usual * self.sync_factor, self._sync, self.life, batch)
        return False

    def _sync(self, life: int, batch: Batch) -> None:
        if life != self.life or self.driver is None:
            return
        if self.sync_fails:
            self.sync_fails = False
            self.disk.fail_after(self._source.randrange(3), OSError(5, "simulated sync error"))
        try:
            batch.run()
        except OSError as error:
            self._batch = None
            self._die(power=False, why=str(error))
            return
        self._observer.synced(self.lane, batch.sequence)
        # Between the sync and its announcement lies a moment at which the node may die.
        self.after(self.options.turn, self._flushed, batch)

    def _flushed(self, batch: Batch) -> None:
        assert self.driver is not None
        self._batch = None
        self.driver.flushed(batch)
        log = self.driver.log
        self._ends.append((log.last_segment, log.segment_size(log.last_segment)))
        self.driver.turn()
        self._maybe_install()

    def _maybe_install(self) -> None:
        """Begin a new life on the state that the node took from another one, if it did."""
        driver = self.driver
        if self._is_silent and driver is not None and isinstance(driver.replica, Replica):
            memory = driver.replica.vow.memory
            if memory.kept:
                self._is_silent = False
                self._observer.recovered(self.lane, memory.upto)
        if driver is not None and driver.staged is not None:
            assert isinstance(driver.staged, MemoryShelf)
            self.shelf = driver.staged
            self.installed += 1
            driver.stop(RequestTimedOut())
            self.kill(power=False, why="took a state")

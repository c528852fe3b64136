"""Several drivers in one process: real logs on memory disks, links that deliver on demand.

The same drivers that production runs; only the four ports are replaced, by working ones.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from racos.core.engine import LANES
from racos.core.messages import Buffer
from racos.core.quorum import Quorum
from racos.core.replica import Settings
from racos.erasure.codec import Codec
from racos.errors import RequestTimedOut
from racos.mvcc.command import Command, Result
from racos.mvcc.shelf import MemoryShelf
from racos.node.batcher import Limits
from racos.node.cleaner import Space
from racos.node.driver import Driver
from racos.node.ports import Options
from racos.node.wire import Hello
from racos.storage.log import SEGMENT_BYTES, Batch, Log
from racos.storage.memdisk import MemDisk
from racos.storage.vow import open_vow

T = TypeVar("T")


class Outcome(Generic[T]):
    """A reply that keeps what it was given."""

    def __init__(self) -> None:
        self.result: T | None = None
        self.error: Exception | None = None
        self.finished = False

    def done(self) -> bool:
        return self.finished

    def set_result(self, result: T, /) -> None:
        assert not self.finished
        self.result, self.finished = result, True

    def set_exception(self, error: Exception, /) -> None:
        assert not self.finished
        self.error, self.finished = error, True

    def get(self) -> T:
        assert self.finished, "no outcome yet"
        if self.error is not None:
            raise self.error
        assert self.result is not None
        return self.result


class Port:
    """One node's link and flusher."""

    def __init__(self, cluster: Cluster, lane: int) -> None:
        self.cluster = cluster
        self.lane = lane
        self.batch: Batch | None = None

    def send(self, lane: int, header: bytes, blobs: Sequence[Buffer] = ()) -> bool:
        if not self.cluster.reachable(self.lane, lane):
            return False
        self.cluster.flight.append((self.lane, lane, header, [bytes(blob) for blob in blobs]))
        return True

    def start(self, batch: Batch) -> bool:
        assert self.batch is None
        self.batch = batch
        return False


class Cluster:
    def __init__(
        self,
        total: int,
        faults: int,
        data: int,
        inline_limit: int = 64,
        seed: int = 0,
        engine: str = LANES,
        lane_off_after: float = 5.0,
        *,
        space: Space = Space(),  # noqa: B008 (a constant)
        segment_bytes: int = SEGMENT_BYTES,
        vows: bool = False,
    ) -> None:
        """`vows`: a node that starts on an empty disk asks whether it has lost something."""
        self.vows = vows
        self.lane_off_after = lane_off_after
        self.quorum = Quorum(total, faults, data)
        self.codec = Codec(data, total)
        limits = Limits(request_seconds=2.0)
        self.options = Options(inline_limit, 1 << 20, limits, engine=engine, space=space)
        self.segment_bytes = segment_bytes
        self.installed: list[int] = []  # nodes that took the state of another
        self.now = 0.0
        self.flight: list[tuple[int, int, bytes, list[bytes]]] = []
        self.cut: set[frozenset[int]] = set()
        self.disks = [MemDisk(random.Random(seed * 10 + lane)) for lane in range(total)]
        self.shelves = [MemoryShelf() for _ in range(total)]
        self.source = random.Random(seed)
        self.logs: list[Log] = []
        self.drivers: list[Driver | None] = [None] * total
        self.ports = [Port(self, lane) for lane in range(total)]
        self.paused: set[int] = set()
        self.reports: list[str] = []
        self.lives = 0
        for lane in range(total):
            self.start(lane)

    def alive(self) -> list[int]:
        return [lane for lane, driver in enumerate(self.drivers) if driver is not None]

    def reachable(self, one: int, other: int) -> bool:
        up = self.drivers[one] is not None and self.drivers[other] is not None
        return up and frozenset((one, other)) not in self.cut

    def driver(self, lane: int) -> Driver:
        driver = self.drivers[lane]
        assert driver is not None
        return driver

    def start(self, lane: int) -> Driver:
        """Start a node on what its disk holds."""
        self.lives += 1
        settings = Settings(
            self.quorum, lane, b"test", self.lives, lane_off_after=self.lane_off_after
        )
        port = self.ports[lane] = Port(self, lane)
        vow = open_vow(self.disks[lane], may_ask=True) if self.vows else None
        log = Log.open(
            self.disks[lane], member_id=lane + 1, cluster_id=9, segment_bytes=self.segment_bytes
        )
        driver = Driver(
            settings,
            log,
            self.codec,
            port,
            port,
            lambda: self.now,
            options=self.options,
            hello=Hello(f"n{lane}", (f"http://{lane}",)),
            vow=vow,
            shelf=self.shelves[lane],
            stage=MemoryShelf,
            report=self.reports.append,
        )
        self.drivers[lane] = driver
        for other in self.alive():
            if other != lane and self.reachable(lane, other):
                driver.on_up(other)
                self.driver(other).on_up(lane)
        return driver

    def crash(self, lane: int) -> None:
        """Power off: the disk keeps what was synced, and any part of the rest."""
        self.disks[lane].crash()
        self.shelves[lane].crash(lambda most: self.source.randint(0, most))
        self.drivers[lane] = None
        self.flight = [entry for entry in self.flight if lane not in entry[:2]]
        for other in self.alive():
            self.driver(other).on_down(lane)

    def wipe(self, lane: int) -> None:
        """A node that is down loses its disk."""
        assert self.drivers[lane] is None
        self.disks[lane] = MemDisk(random.Random(1000 * self.lives + lane))
        self.shelves[lane] = MemoryShelf()

    def install(self, lane: int) -> None:
        """Start again on the state that the node took from another, as the process does."""
        driver = self.driver(lane)
        staged = driver.staged
        assert isinstance(staged, MemoryShelf)
        driver.stop(RequestTimedOut())
        driver.log.close()
        self.installed.append(lane)
        self.shelves[lane] = staged
        self.drivers[lane] = None
        self.flight = [entry for entry in self.flight if lane not in entry[:2]]
        for other in self.alive():
            self.driver(other).on_down(lane)
        self.start(lane)

    def pause(self, lane: int) -> None:
        """The process sleeps: it takes no turn, and what is sent to it waits."""
        self.paused.add(lane)

    def resume(self, lane: int) -> None:
        self.paused.discard(lane)

    def split(self, one: int, other: int) -> None:
        self.cut.add(frozenset((one, other)))
        for a, b in ((one, other), (other, one)):
            if self.drivers[a] is not None:
                self.driver(a).on_down(b)

    def heal(self) -> None:
        pairs, self.cut = self.cut, set()
        for pair in pairs:
            one, other = sorted(pair)
            if self.reachable(one, other):
                self.driver(one).on_up(other)
                self.driver(other).on_up(one)

    def step(self) -> bool:
        """Everyone's turn, sync and mail once; whether anything happened."""
        mail, self.flight = self.flight, []
        self.flight = [entry for entry in mail if entry[1] in self.paused]
        busy = len(self.flight) < len(mail)
        for sender, receiver, header, blobs in mail:
            if receiver not in self.paused and self.reachable(sender, receiver):
                self.driver(receiver).on_frame(sender, header, blobs)
        for lane in self.alive():
            if lane in self.paused:
                continue
            driver, port = self.driver(lane), self.ports[lane]
            driver.turn()
            if port.batch is not None:
                batch, port.batch = port.batch, None
                batch.run()
                driver.flushed(batch)
                driver.turn()
                busy = True
            if driver.staged is not None:
                self.install(lane)
        return busy

    def run(self, seconds: float = 1.0, until: Callable[[], bool] | None = None) -> None:
        """Let virtual time pass, in steps of 5 ms, or until something holds."""
        end = self.now + seconds
        while self.now < end and not (until is not None and until()):
            for _ in range(100):
                if not self.step():
                    break
            self.now += 0.005

    def submit(self, lane: int, command: Command) -> Outcome[Result]:
        outcome: Outcome[Result] = Outcome()
        self.driver(lane).submit(command, outcome)
        return outcome

    def do(self, lane: int, command: Command) -> Result:
        """Submit, and wait for the result."""
        outcome = self.submit(lane, command)
        self.run(5.0, outcome.done)
        return outcome.get()

    def value(self, lane: int, key: bytes) -> bytes | None:
        """A key's bytes as that node has them, coded ones loaded."""
        from racos.mvcc.command import CodedValue, Range

        kvs = self.driver(lane).store.range(Range(key)).kvs
        if not kvs:
            return None
        value = kvs[0].value
        if not isinstance(value, CodedValue):
            return value
        outcome: Outcome[dict[CodedValue, bytes]] = Outcome()
        self.driver(lane).load(
            [value],
            lambda found: (
                outcome.set_exception(found)
                if isinstance(found, Exception)
                else outcome.set_result(found)
            ),
        )
        self.run(6.0, outcome.done)
        return outcome.get()[value]

    def barrier(self, lane: int) -> Outcome[None]:
        outcome: Outcome[None] = Outcome()
        self.driver(lane).read(outcome)
        return outcome

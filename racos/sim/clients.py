"""Simulated clients and watchers: they ask any node, retry elsewhere, and note all they see."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import partial

from racos.erasure.verify import digest
from racos.errors import Corrupt, TooManyRequests
from racos.mvcc.command import (
    CodedValue,
    Command,
    Compact,
    Compare,
    CompareResult,
    CompareTarget,
    Put,
    Range,
    Result,
    Txn,
)
from racos.mvcc.errors import Compacted, StoreError
from racos.node.driver import Driver
from racos.sim.checks.watch import Stream
from racos.sim.events import Events
from racos.sim.history import (
    Answer,
    Call,
    KeepAlive,
    Outcome,
    name_delete,
    name_put,
    name_txn,
)
from racos.sim.machine import Machine
from racos.sim.options import Options
from racos.sim.violation import Violation

_ELSEWHERE_SECONDS = 0.01  # from a failure to the next attempt, on another node


class Record:
    """All calls of a run, and which call each large value belongs to."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.heads: dict[bytes, int] = {}  # digest of a value -> call


class Reply:
    """Where the driver leaves the outcome of a command."""

    __slots__ = ("_client", "call")

    def __init__(self, client: Client, call: Call) -> None:
        self._client = client
        self.call = call

    def done(self) -> bool:
        return self.call.outcome is not Outcome.OPEN

    def set_result(self, result: Result, /) -> None:
        self._client.finish(self.call, Outcome.OK, result)

    def set_exception(self, error: Exception, /) -> None:
        if isinstance(error, StoreError):
            self._client.finish(self.call, Outcome.OK, type(error).__name__)
        elif isinstance(error, TooManyRequests):
            self._client.finish(self.call, Outcome.NOT_DONE, None)
        else:
            self._client.finish(self.call, Outcome.UNKNOWN, None)


class Barrier:
    """Where the driver says that a linearizable read may look now."""

    __slots__ = ("_client", "_machine", "call")

    def __init__(self, client: Client, call: Call, machine: Machine) -> None:
        self._client = client
        self._machine = machine
        self.call = call

    def done(self) -> bool:
        return self.call.outcome is not Outcome.OPEN

    def set_result(self, _result: None, /) -> None:
        self._machine.after(0.0, self._client.look, self.call, self._machine)

    def set_exception(self, _error: Exception, /) -> None:
        self._client.finish(self.call, Outcome.UNKNOWN, None)


class Client:
    """One operation at a time; never repeats a command whose outcome is unknown."""

    def __init__(
        self,
        number: int,
        options: Options,
        events: Events,
        machines: Sequence[Machine],
        record: Record,
    ) -> None:
        self.number = number
        self.options = options
        self.stopped = False
        self.open: Call | None = None
        self._events = events
        self._machines = machines
        self._record = record
        self._source = random.Random(f"client {number} {options.seed}")
        self._lane = self._source.randrange(options.nodes)
        self._revision = 1  # the highest seen
        events.after(self._pause(), self.step)

    def _pause(self) -> float:
        return self._source.expovariate(1 / self.options.think)

    def step(self) -> None:
        """Begin the next operation, if the node chosen is up."""
        if self.stopped or self.open is not None:
            return
        if self._source.random() < 0.2:
            self._lane = self._source.randrange(self.options.nodes)
        machine = self._machines[self._lane]
        if machine.driver is None:
            self._lane = self._source.randrange(self.options.nodes)
            self._events.after(_ELSEWHERE_SECONDS, self.step)
        else:
            self._ask(machine)

    def _ask(self, machine: Machine) -> None:
        if self._source.random() < self.options.reads:
            self.read(machine, self._draw_range(), linearizable=self._source.random() < 0.7)
        else:
            self.write(machine, self._draw_command(len(self._record.calls)))

    def write(self, machine: Machine, command: Command) -> Call:
        call = self._begin(machine, command)
        reply = Reply(self, call)
        machine.call(lambda driver: driver.submit(command, reply))
        return call

    def read(self, machine: Machine, request: Range, *, linearizable: bool) -> Call:
        call = self._begin(machine, request)
        call.linearizable = linearizable
        if linearizable:
            barrier = Barrier(self, call, machine)
            machine.call(lambda driver: driver.read(barrier))
        else:
            machine.do(self.look, call, machine)
        return call

    def _begin(self, machine: Machine, request: Command | Range | KeepAlive) -> Call:
        assert self.open is None
        number = len(self._record.calls)
        call = Call(number, self.number, machine.lane, self._events.now, request)
        self._record.calls.append(call)
        self.open = call
        self._events.after(2 * self.options.request_seconds, self._give_up, call)
        return call

    def _give_up(self, call: Call) -> None:
        self.finish(call, Outcome.UNKNOWN, None)

    def lost(self, lane: int) -> None:
        """That node is gone, and with it the connection."""
        if self.open is not None and self.open.lane == lane:
            self.finish(self.open, Outcome.UNKNOWN, None)

    def finish(self, call: Call, outcome: Outcome, answer: Answer) -> None:
        """The call's end; a second one is not noticed any more."""
        if call.outcome is not Outcome.OPEN:
            return
        call.outcome, call.answer = outcome, answer
        if outcome is not Outcome.UNKNOWN:
            call.returned_at = self._events.now
        if isinstance(answer, tuple):
            self._revision = max(self._revision, answer.revision)
        self.open = None
        if outcome is Outcome.OK:
            self._events.after(self._pause(), self.step)
        else:
            self._lane = self._source.randrange(self.options.nodes)
            self._events.after(_ELSEWHERE_SECONDS, self.step)

    # -- reads -----------------------------------------------------------------------------------

    def look(self, call: Call, machine: Machine) -> None:
        """The read may be answered from the node's state now."""
        driver = machine.driver
        assert driver is not None
        assert isinstance(call.request, Range)
        if call.outcome is not Outcome.OPEN:
            return
        call.revision = driver.store.revision
        call.compacted = driver.store.compact_revision
        try:
            result = driver.store.range(call.request)
        except StoreError as error:
            self.finish(call, Outcome.OK, type(error).__name__)
            return
        coded = {kv.value: kv.key for kv in result.kvs if isinstance(kv.value, CodedValue)}
        if not coded:
            self.finish(call, Outcome.OK, result)
            return
        driver.load(list(coded), partial(self._loaded, call, result, coded))
        machine.wake()

    def _loaded(
        self,
        call: Call,
        result: Result,
        keys: dict[CodedValue, bytes],
        found: dict[CodedValue, bytes] | Exception,
    ) -> None:
        if isinstance(found, Corrupt):
            raise Violation("P-10", f"{call}: {found}")
        if isinstance(found, Exception):
            self.finish(call, Outcome.UNKNOWN, None)
            return
        call.loaded = {keys[value]: data for value, data in found.items()}
        self.finish(call, Outcome.OK, result)

    # -- what to ask -----------------------------------------------------------------------------

    def _key(self) -> bytes:
        return b"k%02d" % self._source.randrange(self.options.keys)

    def _draw_range(self) -> Range:
        source = self._source
        kind = source.random()
        if kind < 0.6:
            return Range(self._key())
        if kind < 0.85:
            return Range(b"k", b"l")
        old = max(1, self._revision - source.randrange(20))
        return Range(self._key(), revision=source.choice((old, old, self._revision + 1)))

    def draw_put(self, number: int, *, prev_kv: bool = False) -> Put:
        options = self.options
        large = self._source.random() < options.large
        low, high = (options.inline_limit, options.large_bytes) if large else (0, 40)
        value = name_put(number, self._source.randint(low, high))
        if len(value) > options.inline_limit:
            self._record.heads[digest(value)] = number
        return Put(self._key(), value, prev_kv=prev_kv)

    def _draw_command(self, number: int) -> Command:
        source = self._source
        if source.random() < self.options.compactions:
            return Compact(max(1, self._revision - source.randrange(10)))
        kind = source.random()
        if kind < 0.6:
            return self.draw_put(number, prev_kv=source.random() < 0.3)
        if kind < 0.75:
            return name_delete(self._key(), number, source.random() < 0.5)
        success = (self.draw_put(number), Range(b"k", b"l", serializable=True))
        failure = (name_delete(self._key(), number, True), Range(self._key()))
        return name_txn(number, Txn((self._draw_compare(),), success, failure))

    def _draw_compare(self) -> Compare:
        source = self._source
        result = source.choice(list(CompareResult))
        kind = source.random()
        if kind < 0.4:
            near = max(0, self._revision - source.randrange(5))
            return Compare(result, CompareTarget.MOD, self._key(), near)
        if kind < 0.7:
            return Compare(result, CompareTarget.VERSION, self._key(), source.randrange(4))
        literal = b"%d" % source.randrange(len(self._record.calls) + 1)
        return Compare(result, CompareTarget.VALUE, self._key(), literal)


class Watcher:
    """Follows the history on one node after another."""

    def __init__(
        self, number: int, options: Options, events: Events, machines: Sequence[Machine]
    ) -> None:
        self._events = events
        self._machines = machines
        self._source = random.Random(f"watcher {number} {options.seed}")
        self._due = False
        self.settled = False  # stays where it is
        self.lane = self._source.randrange(options.nodes)
        self.next = self._source.choice((2, 2, 5, 40))
        self.stream = Stream(number, self.next)
        events.after(self._source.random(), self._wander)

    def _wander(self) -> None:
        """Now and then a watcher connects elsewhere, though nothing broke."""
        if not self.settled and self._source.random() < 0.3:
            self.lane = self._source.randrange(len(self._machines))
        self.notice(self.lane)
        self._events.after(0.2 + self._source.random(), self._wander)

    def notice(self, lane: int) -> None:
        """Something was applied on a node."""
        if lane == self.lane and not self._due and self._machines[lane].driver is not None:
            self._due = True
            self._machines[lane].after(self._source.random() * 0.01, self._pull, lane)

    def lost(self, lane: int) -> None:
        if lane == self.lane:
            self._due = False
            if not self.settled:  # else the node comes back: it took the state of another
                self.lane = self._source.randrange(len(self._machines))

    def settle(self, lane: int) -> None:
        """The end of its wanderings."""
        self.lane, self.settled = lane, True

    def _pull(self, lane: int) -> None:
        self._due = False
        driver = self._machines[lane].driver
        assert driver is not None
        if lane == self.lane:
            self.pull(lane, driver)

    def pull(self, lane: int, driver: Driver) -> None:
        """Take what is there; after a compaction go on where it begins."""
        store = driver.store
        for _ in range(2):
            try:
                for revision, events in store.history(self.next, store.revision):
                    self.stream.seen.append((lane, revision, events))
                    self.next = revision + 1
                return
            except Compacted:
                gap = (len(self.stream.seen), self.next, store.compact_revision)
                self.stream.gaps.append(gap)
                self.next = store.compact_revision

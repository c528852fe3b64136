"""One seed's world: machines, network, clients and faults on one queue of virtual time, and the
checkers that watch them.

Two phases. In the first anything that the options allow may fail. Then the faults end for a random
quorum of n-f or more (the rest stays dead), and everything still open must be settled, on every
node of the quorum alike, within bounded virtual time.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from racos.core.effects import Effects
from racos.core.messages import Buffer, Decide, Hold, Message, Pay, State, Vote
from racos.core.quorum import Quorum
from racos.mvcc.command import Command, Range
from racos.node import batch as batches
from racos.sim.checks.agreement import Agreement
from racos.sim.checks.durability import Durability
from racos.sim.checks.lanes import Lanes
from racos.sim.checks.linear import Linear
from racos.sim.checks.state import Bounds, Digests
from racos.sim.checks.watch import Watches
from racos.sim.clients import Client, Record, Watcher
from racos.sim.events import Events
from racos.sim.faults import Faults
from racos.sim.history import Call, Outcome
from racos.sim.machine import Machine
from racos.sim.network import Frame, Network
from racos.sim.options import Options
from racos.sim.trace import Trace
from racos.sim.violation import Violation
from racos.storage.log import Replayed

_LOOK_SECONDS = 0.05  # between two looks at the bounds
_DIGEST_SHARE = 0.05  # of the turns that applied something
_POLL_SECONDS = 0.02  # between two looks at whether all is settled
_LAST_READ_SECONDS = 1.0
_JUDGED = frozenset((Pay, State, Vote, Decide, Hold))  # the messages that checkers listen to


@dataclass(slots=True)
class Outcomes:
    """What one run was; printed and summed up over many."""

    seed: int
    nodes: int = 0
    cpu_seconds: float = field(default=0.0, compare=False)
    virtual_seconds: float = 0.0
    events: int = 0
    frames: int = 0
    messages: int = 0
    calls: int = 0
    acknowledged: int = 0
    unknown: int = 0
    batches: int = 0
    deaths: int = 0
    settled_after: float = 0.0
    trace: str = ""
    phases: Counter[int] = field(default_factory=Counter)  # slots by phases
    contested: Counter[int] = field(default_factory=Counter)  # likewise, if someone said 0, one 1
    counts: Counter[str] = field(default_factory=Counter)  # transitions taken, faults struck


class World:
    def __init__(self, options: Options, write: Callable[[str], None] | None = None) -> None:
        self.options = options
        self.quorum = Quorum(options.nodes, options.faults_max, options.data)
        self.events = Events()
        self.trace = Trace(write)
        self.record = Record()
        self.agreement = Agreement(options.nodes)
        self.lanes = Lanes(options.nodes, options.faults_max, options.rounds_max)
        self.durability = Durability(self.quorum)
        self.digests = Digests()
        self.bounds = Bounds()
        self.outcomes = Outcomes(options.seed, options.nodes)
        self._source = random.Random(f"world {options.seed}")
        self._core: tuple[int, ...] | None = None  # the nodes that are well, once healed
        self._finals: list[FinalClient] = []  # one for each of them
        self._counts: Counter[str] = Counter()
        self.machines = [
            Machine(options, lane, self.quorum, self.events, self) for lane in range(options.nodes)
        ]
        self.network = Network(
            options, self.events, self._deliver, self._tell_up, self._tell_down, self._is_ready
        )
        self.clients = [
            Client(number, options, self.events, self.machines, self.record)
            for number in range(options.clients)
        ]
        self.watchers = [
            Watcher(number, options, self.events, self.machines)
            for number in range(options.watchers)
        ]
        self.faults = Faults(
            options, self.events, self.machines, self.network, self._restart_in, self._say
        )

    # -- the run ---------------------------------------------------------------------------------

    def run(self) -> Outcomes:
        """Both phases and the final checks. Raises Violation."""
        self._say(f"seed {self.options.seed} {self.options.text()}")
        for machine in self.machines:
            machine.start()
        self.events.after(_LOOK_SECONDS, self._look)
        while self.events.now < self.options.seconds and not self._is_enough():
            self._run_until(self.events.now + 0.1)
        self._heal()
        self._settle()
        self._judge()
        return self._sum_up()

    def _is_enough(self) -> bool:
        options = self.options
        calls, messages = len(self.record.calls), self.outcomes.messages
        return calls >= options.calls or messages >= options.messages

    def _run_until(self, end: float) -> None:
        self.outcomes.events += self.events.run(end)

    def _heal(self) -> None:
        """End all faults for a quorum; the others are switched off for good."""
        options = self.options
        size = self._source.randint(self.quorum.answers, options.nodes)
        core = tuple(sorted(self._source.sample(range(options.nodes), size)))
        self._say(f"healed: {core}")
        self.faults.stop()
        self.network.calm_down()
        for client in self.clients:
            client.stopped = True
        for machine in self.machines:
            if machine.lane not in core:
                machine.kill(power=True, why="never to come back")
        self._core = core
        for lane in core:
            machine = self.machines[lane]
            machine.sync_fails, machine.sync_factor = False, 1.0
            machine.clock.set_rate(1.0)
            if machine.paused:
                machine.resume()
            if machine.driver is None:
                machine.start()
        for watcher in self.watchers:
            watcher.settle(core[0])

    def _settle(self) -> None:
        """Progress (P-14): what is open is decided, new writes and reads work everywhere."""
        begun = self.events.now
        end = begun + self.options.live_within
        assert self._core is not None
        finals = self._finals = [self._final_client(lane) for lane in self._core]
        waiting = ["everything"]
        while waiting:
            if self.events.now >= end:
                raise Violation("P-14", f"not settled after the heal: {'; '.join(waiting)}")
            self._run_until(self.events.now + _POLL_SECONDS)
            waiting = [*self._unanswered(finals), *self._unsettled()]
        self.outcomes.settled_after = self.events.now - begun
        for client in finals:
            machine = self.machines[client.lane]
            client.read(machine, Range(b"k", b"l"), linearizable=True)
        end = self.events.now + _LAST_READ_SECONDS
        while self.events.now < end and any(client.open is not None for client in finals):
            self._run_until(self.events.now + _POLL_SECONDS)
        for client in finals:
            last = client.last
            if last is None or last.outcome is not Outcome.OK:
                raise Violation("P-14", f"the last read of n{client.lane} is {last}")

    def _final_client(self, lane: int) -> FinalClient:
        number = self.options.clients + lane
        client = FinalClient(number, self.options, self.events, self.machines, self.record)
        client.begin(lane)
        return client

    def _unanswered(self, finals: Sequence[FinalClient]) -> Iterator[str]:
        for client in finals:
            if client.written == 0:
                yield f"no write was acknowledged by n{client.lane} yet"

    def _unsettled(self) -> Iterator[str]:
        assert self._core is not None
        drivers = [self.machines[lane].driver for lane in self._core]
        newest = max(driver.store.revision for driver in drivers if driver is not None)
        for driver in drivers:
            if driver is None:
                yield "a healthy node died"
                continue
            replica, me = driver.replica, driver.me
            if driver._in_flight or len(driver.batcher):
                yield f"n{me} has proposals in flight"
            if replica.window.round <= replica.highest_round:
                yield f"n{me} waits at slot {replica.window.frontier}"
            if driver.store.revision != newest or driver.applier.waiting:
                yield f"n{me} is behind"

    def _judge(self) -> None:
        assert self._core is not None
        for lane in self._core:
            driver = self.machines[lane].driver
            assert driver is not None
            self.digests.look(lane, driver.store)
            for watcher in self.watchers:
                if watcher.lane == lane:
                    watcher.pull(lane, driver)
        model = Linear(self.record.calls, self.record.heads).run(self._order())
        watches = Watches(model, self.record.heads)
        for watcher in self.watchers:
            watches.check(watcher.stream)
            last = watcher.stream.seen[-1][1] if watcher.stream.seen else watcher.next - 1
            if last < model.revision and watcher.next <= model.revision:
                raise Violation("watch", f"watcher {watcher.stream.watcher} ends at {last}")

    def _order(self) -> Iterator[Command]:
        for position, descriptor in self.agreement.truth():
            yield from batches.decode(descriptor, *divmod(position, self.options.nodes))

    def _sum_up(self) -> Outcomes:
        outcomes = self.outcomes
        outcomes.virtual_seconds = self.events.now
        outcomes.frames = self.network.frames
        outcomes.calls = len(self.record.calls)
        outcomes.acknowledged = sum(c.outcome is Outcome.OK for c in self.record.calls)
        outcomes.unknown = sum(c.outcome is Outcome.UNKNOWN for c in self.record.calls)
        outcomes.batches = len(self.agreement.applied)
        outcomes.phases = Counter(self.agreement.phases.values())
        outcomes.contested = Counter(self.agreement.contested())
        for machine in self.machines:
            self._counts.update(machine.transitions())
            self._counts["states taken"] += machine.installed
        outcomes.counts = self._counts
        outcomes.counts.update({f"fault {name}": n for name, n in self.faults.counts.items()})
        outcomes.counts["epochs"] = len(self.lanes.configs) - 1
        outcomes.counts["runs with epochs"] = len(self.lanes.configs) > 1
        outcomes.counts["frames lost"] = self.network.lost
        outcomes.counts["digests compared"] = self.digests.compared
        outcomes.counts["records replayed"] = self.durability.replayed_records
        outcomes.counts["revisions watched"] = sum(len(w.stream.seen) for w in self.watchers)
        outcomes.counts["watches compacted"] = sum(len(w.stream.gaps) for w in self.watchers)
        outcomes.trace = self.trace.digest()
        return outcomes

    # -- what machines and network do with each other --------------------------------------------

    def _say(self, text: str) -> None:
        self.trace.line(self.events.now, text)

    def _is_ready(self, lane: int) -> bool:
        machine = self.machines[lane]
        return machine.driver is not None and not machine.paused

    def _deliver(self, sender: int, receiver: int, frame: Frame) -> None:
        self.trace.mix(self.events.now, b"%d>%d" % (sender, receiver))
        self.machines[receiver].deliver(sender, frame)

    def _tell_up(self, whom: int, about: int) -> None:
        self.machines[whom].call(lambda driver: driver.on_up(about))

    def _tell_down(self, whom: int, about: int) -> None:
        self.machines[whom].call(lambda driver: driver.on_down(about))

    def _restart_in(self, lane: int, delay: float) -> None:
        self.events.after(delay, self._restart, lane)

    def _restart(self, lane: int) -> None:
        machine = self.machines[lane]
        if machine.driver is not None or (self._core is not None and lane not in self._core):
            return
        again = self._core is None and self.options.on("power") and self._source.random() < 0.15
        self._say(f"n{lane} starts")
        machine.start(self._source.randrange(12) if again else None)

    def _look(self) -> None:
        for machine in self.machines:
            if machine.driver is not None:
                self.bounds.look(machine.lane, machine.driver)
                self.lanes.look(machine.lane, machine.driver.replica.configs.known)
        self.events.after(_LOOK_SECONDS, self._look)

    # -- what the machines show (machine.Observer) -----------------------------------------------

    def received(self, lane: int, sender: int, message: Message) -> None:
        if self.trace.lines:
            self._say(f"n{lane} < n{sender} {_shown(message)}")
        self.outcomes.messages += sender != lane
        if type(message) in _JUDGED:
            self.agreement.received(sender, message)
            self.lanes.received(sender, message)
            self.durability.received(sender, message)

    def effects(self, lane: int, effects: Effects, next_sequence: int) -> None:
        if effects.records:
            self.durability.wrote(lane, next_sequence, effects.records)
            self.agreement.wrote(lane, effects.records, effects.applied)
        self.lanes.applied(effects.applied)
        for position, payload in effects.applied:
            self.durability.applied(lane, position, payload)
        self._count(effects)
        if self.trace.lines:
            self._show(lane, effects)

    def _count(self, effects: Effects) -> None:
        counts = self._counts
        if effects.rejected:
            counts["rejected"] += len(effects.rejected)
        if effects.rebuilds:
            counts["rebuilds"] += len(effects.rebuilds)
        if effects.serves:
            counts["chunks"] += len(effects.serves)
        if effects.reads:
            counts["barriers"] += len(effects.reads)

    def _show(self, lane: int, effects: Effects) -> None:
        for record in effects.records:
            self._say(f"n{lane} writes {_shown(record)}")
        for name in ("applied", "rejected", "rebuilds", "serves", "reads"):
            for what in getattr(effects, name):
                self._say(f"n{lane} {name} {_shown(what)}")

    def appended(
        self, lane: int, sequence: int, kind: int, header: bytes, blobs: Sequence[Buffer]
    ) -> None:
        self.durability.appended(lane, sequence, kind, header, blobs)

    def synced(self, lane: int, sequence: int) -> None:
        self.trace.mix(self.events.now, b"s%d" % lane)
        if self.trace.lines:
            self._say(f"n{lane} synced {sequence}")
        self.durability.synced(lane, sequence)

    def replayed(self, lane: int, entry: Replayed) -> None:
        self.durability.replayed(lane, entry)

    def replay_ended(self, lane: int, sequence: int) -> None:
        self.durability.replay_ended(lane, sequence)

    def died(self, lane: int, *, power: bool, why: str) -> None:
        self._say(f"n{lane} dies: {why}")
        self.outcomes.deaths += 1
        self.durability.died(lane)
        self.network.died(lane, power=power)
        for client in (*self.clients, *self._finals):
            client.lost(lane)
        for watcher in self.watchers:
            watcher.lost(lane)
        self._restart_in(
            lane, self._source.choice((0.01, 0.1, 1.0)) * (0.5 + self._source.random())
        )

    def applied(self, lane: int, first: int, last: int) -> None:
        del first
        self.trace.mix(self.events.now, b"a%d.%d" % (lane, last))
        for watcher in self.watchers:
            watcher.notice(lane)
        driver = self.machines[lane].driver
        if driver is not None and self._source.random() < _DIGEST_SHARE:
            self.digests.look(lane, driver.store)

    def transmit(self, sender: int, receiver: int, header: bytes, blobs: Sequence[Buffer]) -> bool:
        self.trace.mix(self.events.now, b"%d:%d" % (sender, receiver), header)
        return self.network.send(sender, receiver, header, blobs)


class FinalClient(Client):
    """After the heal: writes through one node until a write is acknowledged, then stops."""

    written: int = 0
    lane: int = 0
    last: Call | None = None

    def begin(self, lane: int) -> None:
        self.lane = lane
        self.stopped = False

    def step(self) -> None:
        machine = self._machines[self.lane]
        if self.written or self.open is not None:
            return
        if machine.driver is None:
            self._events.after(0.01, self.step)
            return
        self.write(machine, self.draw_put(len(self._record.calls)))

    def finish(self, call: Call, outcome: Outcome, answer: object) -> None:
        if call.outcome is Outcome.OPEN:
            self.last = call
            self.written += outcome is Outcome.OK and not call.is_read
        super().finish(call, outcome, answer)  # type: ignore[arg-type]


def _shown(what: object) -> str:
    """Without the bytes of batches."""
    text = repr(what)
    at = text.find("<racos.core.messages.Payload")
    if at >= 0:
        text = text[:at] + "Payload" + text[text.index(">", at) + 1 :]
    return text

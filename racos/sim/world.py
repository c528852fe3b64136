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

from racos.core.ballots import Ballot, Settled
from racos.core.effects import Effects
from racos.core.engine import QUEUE
from racos.core.messages import Buffer, Decide, Hold, Message, Pay, State, Vote
from racos.core.quorum import Quorum, bits
from racos.mvcc.command import Command
from racos.node import batch as batches
from racos.sim.checks.agreement import Agreement
from racos.sim.checks.ballots import QueueAgreement, QueueDurability
from racos.sim.checks.bounds import Bounds
from racos.sim.checks.durability import Durability
from racos.sim.checks.final import Final
from racos.sim.checks.lanes import Lanes
from racos.sim.checks.leases import Leases, Rates
from racos.sim.checks.linear import Linear
from racos.sim.checks.state import Digests
from racos.sim.checks.watch import Watches
from racos.sim.clients import Client, Record, Watcher
from racos.sim.events import Events
from racos.sim.faults import Faults
from racos.sim.history import Outcome
from racos.sim.holders import Holder
from racos.sim.lease_model import LeaseModel
from racos.sim.machine import SECRET, Machine
from racos.sim.network import Frame, Network
from racos.sim.options import Options
from racos.sim.settling import Settling
from racos.sim.telling import tell
from racos.sim.trace import Trace
from racos.sim.transitions import Transitions
from racos.sim.violation import Violation
from racos.storage.log import Replayed

_LOOK_SECONDS = 0.05  # between two looks at the bounds
_DIGEST_SHARE = 0.05  # of the turns that applied something
# The messages that checkers listen to.
_JUDGED = frozenset((Pay, State, Vote, Decide, Hold, Ballot, Settled))


@dataclass(slots=True)
class Outcomes:
    """What one run was; printed and summed up over many."""

    options: Options
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
    highest: dict[str, int] = field(default_factory=dict)  # lengths of queues at most


class World:
    def __init__(self, options: Options, write: Callable[[str], None] | None = None) -> None:
        self.options = options
        self.quorum = Quorum(options.nodes, options.faults_max, options.data)
        self.events = Events()
        self.trace = Trace(write)
        self.record = Record()
        queue = options.engine == QUEUE
        self.agreement = (QueueAgreement if queue else Agreement)(options.nodes, SECRET)
        self.durability = (QueueDurability if queue else Durability)(self.quorum)
        self.lanes = Lanes(options.nodes, options.faults_max, options.rounds_max)
        self.digests = Digests()
        self.bounds = Bounds()
        self.outcomes = Outcomes(options)
        self._source = random.Random(f"world {options.seed}")
        self._core: tuple[int, ...] | None = None  # the nodes that are well, once healed
        self._settling: Settling | None = None  # likewise
        self._dead: set[int] = set()  # positions that nodes which died knew to be dead
        self._applied_at: dict[int, float] = {}  # by slot position: when first, anywhere
        self.transitions = Transitions()
        self.machines = [
            Machine(options, lane, self.quorum, self.events, self) for lane in range(options.nodes)
        ]
        self.network = Network(
            options, self.events, self._deliver, self._tell_up, self._tell_down, self._is_ready
        )
        self.clients: list[Client] = [
            Client(number, options, self.events, self.machines, self.record)
            for number in range(options.clients)
        ]
        self.clients += [
            Holder(options.clients + number, options, self.events, self.machines, self.record)
            for number in range(options.holders)
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
        core = self._heal()
        self._settling = Settling(
            self.options, self.events, self.machines, core, self.record, self._run_until
        )
        self.outcomes.settled_after = self._settling.run()
        self._judge(core)
        return self._sum_up()

    def _is_enough(self) -> bool:
        options = self.options
        calls, messages = len(self.record.calls), self.outcomes.messages
        return calls >= options.calls or messages >= options.messages

    def _run_until(self, end: float) -> None:
        self.outcomes.events += self.events.run(end)

    def _draw_core(self) -> tuple[int, ...]:
        """n-f nodes or more. A rotten disk counts as one of the f lost ones; its node may stay if
        it is up: one that is not might find the damage when it starts, and refuse. A node whose
        disk was lost is one of the f, too, and may stay: there are others enough to rebuild it.
        """
        lost = [machine.lane for machine in self.machines if machine.is_lost]
        if lost:
            gone = self._source.randint(0, self.quorum.faults - len(lost))
            there = [machine.lane for machine in self.machines if not machine.is_lost]
            stay = [lane for lane in lost if self._source.random() < 0.7]
            return tuple(sorted(self._source.sample(there, len(there) - gone) + stay))
        rotten = [machine for machine in self.machines if machine.is_rotten]
        sound = [machine.lane for machine in self.machines if not machine.is_rotten]
        size = self._source.randint(self.quorum.answers, self.options.nodes) - len(rotten)
        core = self._source.sample(sound, max(size, self.quorum.answers))
        core += [machine.lane for machine in rotten if machine.driver is not None]
        return tuple(sorted(core))

    def _heal(self) -> tuple[int, ...]:
        """End all faults for a quorum; the others are switched off for good."""
        core = self._draw_core()
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
            machine.drain()
            machine.clock.set_rate(1.0)
            if machine.paused:
                machine.resume()
            if machine.driver is None:
                machine.start()
        for watcher in self.watchers:
            watcher.settle(next(lane for lane in core if not self.machines[lane].is_rotten))
        return core

    def _judge(self, core: tuple[int, ...]) -> None:
        order = list(self._order())
        linear = Linear(self.record.calls, self.record.heads)
        model = linear.run(command for _, command in order)
        times = [self._applied_at[place] for place, _ in order]
        rates = Rates(*self.faults.rates)
        leases = Leases(self.record.calls, model.leases.lives, times, rates)
        # Where logs keep next to nothing, a node that lags takes a state and starts again on it.
        restarted = any(machine.installed for machine in self.machines)
        leases.check(calm=not self.options.faults and not restarted)
        self._count_leases(model.leases)
        final = Final(model, self.record.heads)
        for lane in core:
            driver = self.machines[lane].driver
            if driver is None:
                assert self.machines[lane].has_refused
                continue
            self.digests.look(lane, driver.store)
            final.check(lane, driver.store)
            for watcher in self.watchers:
                if watcher.lane == lane:
                    watcher.pull(lane, driver)
        watches = Watches(model, self.record.heads)
        for watcher in self.watchers:
            watches.check(watcher.stream)
            last = watcher.stream.seen[-1][1] if watcher.stream.seen else watcher.next - 1
            if last < model.revision and watcher.next <= model.revision:
                raise Violation("watch", f"watcher {watcher.stream.watcher} ends at {last}")

    def _count_leases(self, model: LeaseModel) -> None:
        lives = model.lives
        counts = self.transitions.counts
        counts["leases granted"] = len(lives)
        counts["leases renewed"] = model.renewals - len(lives)
        counts["leases expired"] = sum(life.by_time for life in lives)
        counts["leases revoked"] = sum(
            life.ended is not None and not life.by_time for life in lives
        )
        counts["leases ended with keys"] = sum(life.revision > 0 for life in lives)
        counts["expiries that came too late"] = model.idle_expiries

    def _order(self) -> Iterator[tuple[int, Command]]:
        """All decided commands, each with its slot's position."""
        for position, descriptor in self.agreement.truth():
            for command in batches.decode(descriptor, *divmod(position, self.options.nodes)):
                yield position, command

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
        outcomes.counts = self.transitions.counts
        for machine in self.machines:
            outcomes.counts.update(machine.transitions())
            outcomes.counts["states taken"] += machine.installed
        outcomes.highest = self.bounds.highest
        outcomes.counts["starts refused"] = sum(m.has_refused for m in self.machines)
        outcomes.counts["bad fragments found"] = sum(
            "value.bad_fragment" in report for m in self.machines for report in m.reports
        )
        outcomes.counts["contested"] = sum(outcomes.contested.values())
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
        lost = self._core is not None and lane not in self._core
        if machine.driver is not None or machine.has_refused or lost:
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
            self._say(f"n{lane} < n{sender} {tell(message)}")
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
            self._applied_at.setdefault(position, self.events.now)
            self.durability.applied(lane, position, payload)
        self.transitions.note(effects)
        if self.trace.lines:
            self._show(lane, effects)

    def _show(self, lane: int, effects: Effects) -> None:
        for record in effects.records:
            self._say(f"n{lane} writes {tell(record)}")
        for position, _ in effects.applied:
            self._say(f"n{lane} applies {self._slot(position)}")
        for position, _ in effects.rejected:
            self._say(f"n{lane} proposes again what it had in {self._slot(position)}")
        for position, mask in effects.rebuilds:
            self._say(f"n{lane} rebuilds {list(bits(mask))} of {self._slot(position)}")
        for peer, position in effects.serves:
            self._say(f"n{lane} sends n{peer} what was decided from {self._slot(position)} on")
        for ticket in effects.reads:
            self._say(f"n{lane} does the reads of ticket {ticket}")

    def _slot(self, position: int) -> str:
        round_, lane = divmod(position, self.options.nodes)
        return f"r{round_}.l{lane} (slot {position})"

    def appended(
        self, lane: int, sequence: int, kind: int, header: bytes, blobs: Sequence[Buffer]
    ) -> None:
        self.durability.appended(lane, sequence, kind, header, blobs)

    def pruned(self, lane: int, position: int, keep: int) -> None:
        if self.trace.lines:
            self._say(f"n{lane} prunes slot {position} to fragment {keep}")
        if not self._is_dead(position):
            self.durability.pruned(lane, position, keep)

    def synced(self, lane: int, sequence: int) -> None:
        self.trace.mix(self.events.now, b"s%d" % lane)
        if self.trace.lines:
            self._say(f"n{lane} synced {sequence}")
        self.durability.synced(lane, sequence)

    def replayed(self, lane: int, entry: Replayed) -> None:
        self.durability.replayed(lane, entry)

    def replay_ended(self, lane: int, sequence: int) -> None:
        self.durability.replay_ended(lane, sequence)

    def dying(self, lane: int) -> None:
        """What its node knows to be dead stays so, though nobody may be left to say it."""
        driver = self.machines[lane].driver
        if driver is not None and self.options.loses_disks:
            self._dead.update(filter(driver.library.is_dead, self.durability.covered()))

    def died(self, lane: int, *, power: bool, why: str) -> None:
        self._say(f"n{lane} dies: {why}")
        self.outcomes.deaths += 1
        self.durability.died(lane)
        self.network.died(lane, power=power)
        finals = self._settling.finals if self._settling is not None else ()
        for client in (*self.clients, *finals):
            client.lost(lane)
        for watcher in self.watchers:
            watcher.lost(lane)
        self._restart_in(
            lane, self._source.choice((0.01, 0.1, 1.0)) * (0.5 + self._source.random())
        )

    def lost(self, lane: int) -> None:
        self._say(f"n{lane} has lost its disk")
        self.durability.lost(lane, self._is_dead)
        self.transitions.counts["disks lost"] += 1

    def recovered(self, lane: int, upto: int) -> None:
        self._say(f"n{lane} speaks again, of rounds above {upto}")
        self.durability.recovered(lane, self._is_dead)
        self.transitions.counts["disks rebuilt"] += 1

    def _is_dead(self, position: int) -> bool:
        """Whether some node knew that nothing refers to the batch: then nobody heals it."""
        if position in self._dead:
            return True
        drivers = [machine.driver for machine in self.machines if machine.driver is not None]
        return any(driver.library.is_dead(position) for driver in drivers)

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

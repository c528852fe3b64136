"""What goes wrong, and when: each class of faults draws from its own source, so that leaving one
out changes the others as little as possible.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from racos.sim.events import Events
from racos.sim.machine import Machine
from racos.sim.network import Network
from racos.sim.options import Options

_RARE = {
    "power_all": 4.0,
    "storm": 3.0,
    "sync_error": 2.0,
    "rate": 2.0,
    "wipe": 2.0,
    "damage": 2.0,
}  # times the usual interval
_LEFT_ALONE = 0.9  # share of the losses that spare a node whose disk is lost
_FLIPS = 5  # of bits at once, where a disk rots
_PASSIVE = ("loss", "duplicate", "reorder", "adversary")  # done by the network itself


class Faults:
    def __init__(
        self,
        options: Options,
        events: Events,
        machines: Sequence[Machine],
        network: Network,
        restart: Callable[[int, float], None],
        trace: Callable[[str], None],
    ) -> None:
        self.options = options
        self.counts: dict[str, int] = {}
        self.rates = (1.0, 1.0)  # the slowest and the fastest that any clock ran
        self._events = events
        self._machines = machines
        self._network = network
        self._restart = restart
        self._trace = trace
        self._stopped = False
        self._sources = {
            fault: random.Random(f"fault {fault} {options.seed}") for fault in options.faults
        }
        self.rotting = self._draw_rotting()
        for fault in options.faults:
            if fault not in _PASSIVE:
                self._plan(fault)

    def _draw_rotting(self) -> list[int]:
        """The nodes whose disks may rot: so few that, were they lost, every value is still there.

        f of them, and n-k >= f.
        """
        if not self.options.on("rot") or not self.options.faults_max:
            return []
        source = self._sources["rot"]
        return source.sample(range(self.options.nodes), source.randint(1, self.options.faults_max))

    def stop(self) -> None:
        """No more faults; those that last are ended by the world."""
        self._stopped = True

    def _plan(self, fault: str) -> None:
        mean = self.options.fault_every * _RARE.get(fault, 1.0)
        delay = self._sources[fault].expovariate(1 / mean)
        self._events.after(delay, self._strike, fault)

    def _strike(self, fault: str) -> None:
        if self._stopped:
            return
        self.counts[fault] = self.counts.get(fault, 0) + 1
        getattr(self, f"_{fault}")(self._sources[fault])
        self._plan(fault)

    def _some(self, source: random.Random) -> Machine:
        return self._machines[source.randrange(self.options.nodes)]

    # -- network ---------------------------------------------------------------------------------

    def _partition(self, source: random.Random) -> None:
        lanes = list(range(self.options.nodes))
        source.shuffle(lanes)
        cut = source.choice((1, source.randint(0, len(lanes))))
        dead = [(a, b) for a in lanes[:cut] for b in lanes[cut:]]
        self._block(dead + [(b, a) for a, b in dead], source.uniform(0.05, 1.5))

    def _one_way(self, source: random.Random) -> None:
        lanes = range(self.options.nodes)
        one = source.choice(lanes)
        others = [lane for lane in lanes if lane != one and source.random() < 0.7]
        dead = [(one, other) for other in others]
        if source.random() < 0.5:
            dead = [(other, one) for other in others]
        self._block(dead, source.uniform(0.05, 1.5))

    def _clog(self, source: random.Random) -> None:
        if self.options.nodes > 1:
            one, other = source.sample(range(self.options.nodes), 2)
            self._block([(one, other)], source.uniform(0.01, 0.3))

    def _block(self, links: Sequence[tuple[int, int]], seconds: float) -> None:
        self._trace(f"links dead for {seconds:.3f}: {links}")
        for ends in links:
            self._network.block(*ends)
            self._events.after(seconds, self._network.unblock, *ends)

    def _reset(self, source: random.Random) -> None:
        if self.options.nodes > 1:
            self._network.reset(*source.sample(range(self.options.nodes), 2))

    # -- machines --------------------------------------------------------------------------------

    def _power(self, source: random.Random) -> None:
        self._some(source).kill(power=True, why="power")

    def _kill(self, source: random.Random) -> None:
        self._some(source).kill(power=False, why="kill -9")

    def _power_all(self, source: random.Random) -> None:
        for machine in self._machines:
            if source.random() < 0.9:
                machine.kill(power=True, why="power of all")

    def _storm(self, source: random.Random) -> None:
        """Killed again and again, hardly up."""
        machine = self._some(source)
        delay = 0.0
        for _ in range(source.randint(2, 5)):
            self._events.after(delay, self._kill_again, machine, source.random() < 0.5)
            delay += source.uniform(0.02, 0.2)
            self._restart(machine.lane, delay)
            delay += source.uniform(0.001, 0.1)

    def _kill_again(self, machine: Machine, power: bool) -> None:
        if not self._stopped:
            machine.kill(power=power, why="storm")

    def _slow_disk(self, source: random.Random) -> None:
        machine = self._some(source)
        machine.sync_factor = source.choice((5.0, 50.0, 200.0))
        self._events.after(source.uniform(0.1, 1.0), self._disk_well, machine)

    def _disk_well(self, machine: Machine) -> None:
        machine.sync_factor = 1.0

    def _sync_error(self, source: random.Random) -> None:
        self._some(source).sync_fails = True

    def _full(self, source: random.Random) -> None:
        """Of some nodes, or of all at one time."""
        some = [self._some(source)] if source.random() < 0.8 else self._machines
        left = source.choice((0, 1000, 10_000, 50_000))
        for machine in some:
            self._trace(f"the disk of n{machine.lane} has {left} bytes left")
            machine.fill(left)
            self._events.after(source.uniform(0.1, 2.0), machine.drain)

    def _rot(self, source: random.Random) -> None:
        if self.rotting:
            machine = self._machines[source.choice(self.rotting)]
            for what in filter(None, [machine.rot(source) for _ in range(_FLIPS)]):
                self._trace(f"a bit flips in {what}")

    def _wipe(self, source: random.Random) -> None:
        self._lose(source, "wipe")

    def _damage(self, source: random.Random) -> None:
        self._lose(source, "damage")

    def _lose(self, source: random.Random, how: str) -> None:
        """A disk is lost, unless f are by now. A node counts until it takes part again; it is given
        some time for that.
        """
        machine = self._some(source)
        if machine.is_lost and source.random() < _LEFT_ALONE:
            return
        lost = sum(each.is_lost for each in self._machines if each is not machine)
        if self.options.loses_disks and lost < self.options.faults_max:
            self._trace(f"n{machine.lane} is to lose its disk: {how}")
            machine.kill(power=source.random() < 0.5, why=how)
            machine.harm = how

    def _pause(self, source: random.Random) -> None:
        machine = self._some(source)
        machine.pause()
        seconds = source.choice((0.05, 0.3, 2.0)) * (0.5 + source.random())
        self._trace(f"n{machine.lane} stopped for {seconds:.3f}")
        self._events.after(seconds, machine.resume)

    def _rate(self, source: random.Random) -> None:
        rate = source.choice((0.5, 0.8, 1.0, 1.3, 2.0))
        self._some(source).clock.set_rate(rate)
        slow, fast = self.rates
        self.rates = (min(slow, rate), max(fast, rate))

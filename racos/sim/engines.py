"""`racos engines`: lanes against the published queue, on machines that are all alike.

Production drivers on simulated disks: each message takes the same time, and so does each sync (or,
with `--uneven`, a random time of that mean); a node works off what it receives one frame after the
other, at a fixed price per frame, byte and command. So what differs is the algorithms. Real
processes are compared by `racos bench put --systems racos,racos-queue`.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from statistics import median
from typing import Annotated, NamedTuple

import typer
from rich.console import Console
from rich.table import Table

from racos.core.effects import Effects
from racos.core.engine import ENGINES, LANES, QUEUE, data_fragments_max
from racos.core.messages import Beat, Buffer, Message
from racos.core.quorum import Quorum
from racos.mvcc.command import Put, Result
from racos.node import wire
from racos.node.driver import Driver
from racos.queue.replica import QueueReplica
from racos.sim.events import Events
from racos.sim.machine import Machine
from racos.sim.network import Frame
from racos.sim.options import Options
from racos.storage.log import Batch, Replayed

WARM_UP_SECONDS = 0.1  # reservations, first beats
ALONE_SECONDS = 0.01  # of a message or a sync, when these are counted one by one
INSTANT_SECONDS = 1e-6
INLINE_BYTES = 4096  # larger values are coded, as in production


class Costs(NamedTuple):
    """Seconds."""

    delay: float = 100e-6  # of a message
    sync: float = 1e-3
    frame: float = 30e-6  # of a node's time, to receive one
    byte: float = 0.5e-9
    command: float = 20e-6  # at the node that takes it
    uneven: bool = False  # messages and syncs: half of it fixed, half exponential


@dataclass(slots=True)
class Tally:
    """What one run did between two moments, over all nodes."""

    latencies: list[float] = field(default_factory=list)
    messages: int = 0  # beats left out
    frames: int = 0
    sent_bytes: int = 0
    logged_bytes: int = 0
    syncs: int = 0
    decided: int = 0
    null: int = 0
    phases: int = 0


class Reply:
    """A closed-loop client: the next write follows each answer."""

    def __init__(self, bench: Bench, machine: SteadyMachine) -> None:
        self.bench = bench
        self.machine = machine
        self.begun = 0.0

    def submit(self) -> None:
        self.begun = self.bench.events.now
        self.bench.number += 1
        command = Put(b"k%d" % (self.bench.number % 1000), self.bench.value)
        self.machine.busy(self.bench.costs.command)
        self.machine.call(lambda driver: driver.submit(command, self))

    def done(self) -> bool:
        return False

    def set_result(self, _result: Result, /) -> None:
        self.bench.tally.latencies.append(self.bench.events.now - self.begun)
        self.bench.events.after(self.bench.pause(), self.submit)

    def set_exception(self, error: Exception, /) -> None:
        raise error


def uneven(source: random.Random, mean: float) -> float:
    return mean * (0.5 + 0.5 * source.expovariate(1.0))


class SteadyMachine(Machine):
    """A machine whose time is spent, and as even as its costs say."""

    costs: Costs
    free_at = 0.0

    def busy(self, seconds: float) -> float:
        """Take so much of the node's time; how long from now until that is done."""
        now = self._events.now
        self.free_at = max(self.free_at, now) + seconds
        return self.free_at - now

    def arrive(self, sender: int, frame: Frame, size: int) -> None:
        """A frame of so many bytes is here, and handled when its turn has come."""
        price = self.costs.frame + size * self.costs.byte
        self.after(self.busy(price), self.deliver, sender, frame)

    def _start_batch(self, batch: Batch) -> bool:
        self._batch = batch
        seconds = uneven(self._source, self.costs.sync) if self.costs.uneven else self.costs.sync
        self._events.after(seconds, self._sync, self.life, batch)
        return False


class Bench:
    """One cluster under one load. Also the machines' observer."""

    def __init__(
        self, options: Options, costs: Costs, value_bytes: int, think: float = 0.0
    ) -> None:
        self.costs = costs
        self.think = think  # mean pause of a client, seconds
        self.impatient = False  # n-f proposals are enough for the queue, as published
        self.events = Events()
        self.value = bytes(value_bytes)
        self.number = 0
        self.tally = Tally()
        self._source = random.Random("engines")
        self._arrivals: dict[tuple[int, int], float] = {}
        quorum = Quorum(options.nodes, options.faults_max, options.data)
        self.machines: list[SteadyMachine] = []
        for lane in range(options.nodes):
            machine = SteadyMachine(options, lane, quorum, self.events, self)
            machine.costs = costs
            self.machines.append(machine)

    def run(self, writers: int, clients: int, seconds: float) -> Tally:
        for machine in self.machines:
            machine.start()
            replica = machine.driver.replica if machine.driver is not None else None
            if self.impatient and isinstance(replica, QueueReplica):
                replica.agreement.rest_seconds = 0.0
        for machine in self.machines:
            for other in self.machines:
                if other is not machine:
                    machine.call(partial(Driver.on_up, peer=other.lane))
        self._pass(WARM_UP_SECONDS)
        for number in range(clients):
            Reply(self, self.machines[number % writers]).submit()
        self._pass(WARM_UP_SECONDS)
        before = self._decisions()
        self.tally = Tally()
        self._pass(seconds)
        after = self._decisions()
        self.tally.decided, self.tally.null, self.tally.phases = (
            new - old for new, old in zip(after, before, strict=True)
        )
        return self.tally

    def pause(self) -> float:
        return self.think and self.think * self._source.expovariate(1.0)

    def _pass(self, seconds: float) -> None:
        self.events.run(self.events.now + seconds)

    def _decisions(self) -> tuple[int, int, int]:
        """Slots decided by votes or at once, those of them null, and phases; of all nodes."""
        decided = null = phases = 0
        for machine in self.machines:
            counts = machine.transitions()
            decided += counts["fast"] + counts["voted_one"] + counts["voted_zero"]
            null += counts["voted_zero"]
            phases += counts["phases"]
        return decided, null, phases

    # -- machine.Observer ------------------------------------------------------------------------

    def received(self, lane: int, sender: int, message: Message) -> None:
        self.tally.messages += sender != lane and not isinstance(message, Beat)

    def effects(self, lane: int, effects: Effects, next_sequence: int) -> None:
        """Not looked at."""

    def appended(
        self, lane: int, sequence: int, kind: int, header: bytes, blobs: Sequence[Buffer]
    ) -> None:
        del lane, sequence, kind
        self.tally.logged_bytes += len(header) + sum(map(len, blobs))

    def pruned(self, lane: int, position: int, keep: int) -> None:
        """Not looked at."""

    def synced(self, lane: int, sequence: int) -> None:
        del lane, sequence
        self.tally.syncs += 1

    def replayed(self, lane: int, entry: Replayed) -> None:
        """Nothing is replayed."""

    def replay_ended(self, lane: int, sequence: int) -> None:
        """Nothing is replayed."""

    def dying(self, lane: int) -> None:
        """`died` says it."""

    def died(self, lane: int, *, power: bool, why: str) -> None:
        del power
        raise AssertionError(f"n{lane} died: {why}")

    def lost(self, lane: int) -> None:
        raise AssertionError(f"n{lane} lost its disk")

    def recovered(self, lane: int, upto: int) -> None:
        raise AssertionError(f"n{lane} speaks again above {upto}")

    def applied(self, lane: int, first: int, last: int) -> None:
        """Not looked at."""

    def transmit(self, sender: int, receiver: int, header: bytes, blobs: Sequence[Buffer]) -> bool:
        self.tally.frames += 1
        size = len(header) + sum(map(len, blobs))
        self.tally.sent_bytes += size
        frame = tuple(wire.decode(header, [bytes(blob) for blob in blobs], len(self.machines)))
        delay = uneven(self._source, self.costs.delay) if self.costs.uneven else self.costs.delay
        # One connection delivers in order.
        link, now = (sender, receiver), self.events.now
        arrival = self._arrivals[link] = max(now + delay, self._arrivals.get(link, 0.0))
        arrive = self.machines[receiver].arrive
        self.events.after(arrival - now, arrive, sender, frame, size)
        return True


class Setup(NamedTuple):
    engine: str
    nodes: int
    faults: int
    data: int  # k

    def options(self) -> Options:
        return Options(
            0,
            engine=self.engine,
            nodes=self.nodes,
            faults_max=self.faults,
            data=self.data,
            inline_limit=INLINE_BYTES,
            rounds_max=128,
            request_seconds=60.0,
            segment_bytes=64 << 20,
        )


def one_write(setup: Setup) -> tuple[int, int]:
    """Message delays and syncs, one after the other, from a lone client's write to its answer."""
    free = Costs(INSTANT_SECONDS, INSTANT_SECONDS, 0.0, 0.0, 0.0)
    found = []
    for costs in (free._replace(delay=ALONE_SECONDS), free._replace(sync=ALONE_SECONDS)):
        tally = Bench(setup.options(), costs, 64).run(1, 1, 40 * ALONE_SECONDS)
        found.append(round(median(tally.latencies) / ALONE_SECONDS))
    return found[0], found[1]


class Load(NamedTuple):
    """Closed-loop clients, all together, for so many virtual seconds."""

    clients: int
    size: int  # bytes of a value
    seconds: float
    uneven: bool = False
    delay: float = Costs().delay  # of a message
    think: float = 0.0  # mean pause of a client between two writes
    impatient: bool = False


def measure(setup: Setup, work: Load, writers: int, clients: int) -> Tally:
    """So many clients at `writers` of the nodes."""
    costs = Costs(delay=work.delay, uneven=work.uneven)
    bench = Bench(setup.options(), costs, work.size, work.think)
    bench.impatient = work.impatient
    return bench.run(writers, clients, work.seconds)


def setups(nodes: int, size: int = 0) -> list[Setup]:
    """Both engines with the k they take; if values are coded, lanes with the queue's k, too."""
    faults = (nodes - 1) // 2
    shapes = {(engine, data_fragments_max(engine, nodes, faults)) for engine in ENGINES}
    if size > INLINE_BYTES:
        shapes.add((LANES, data_fragments_max(QUEUE, nodes, faults)))
    return [Setup(engine, nodes, faults, data) for engine, data in sorted(shapes, reverse=True)]


def compare(nodes: int, work: Load) -> Table:
    """The table that `racos engines` prints."""
    titles = (
        "engine",
        "k",
        "clients",
        "writers",
        "writes/s",
        "median ms",
        "null slots",
        "phases",
        "messages",
    )
    more = ("frames", "sent B", "logged B", "syncs")
    table = Table(*titles, *more, title=f"n={nodes}, values of {work.size} B", box=None)
    spread = sorted({min(each, nodes) for each in (1, 3, 5)})
    for setup in setups(nodes, work.size):
        rows = [(each, each) for each in spread] + [(each, work.clients) for each in spread]
        for writers, callers in rows:
            tally = measure(setup, work, writers, callers)
            count = max(1, len(tally.latencies))
            per_write = (tally.messages, tally.frames, tally.sent_bytes, tally.logged_bytes)
            table.add_row(
                setup.engine,
                str(setup.data),
                str(callers),
                str(writers),
                f"{count / work.seconds:,.0f}",
                f"{1000 * median(tally.latencies):.1f}",
                f"{tally.null / max(1, tally.decided):.1%}",
                f"{tally.phases / max(1, tally.decided):.3f}",
                *(f"{each / count:,.1f}" for each in (*per_write, tally.syncs)),
            )
    return table


app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command()
def engines(
    nodes: Annotated[int, typer.Option(min=1, max=9, help="Nodes of each cluster.")] = 5,
    clients: Annotated[int, typer.Option(min=1, help="Closed-loop clients, all together.")] = 60,
    size: Annotated[int, typer.Option(min=0, help="Bytes of a value.")] = 256,
    seconds: Annotated[float, typer.Option(min=0.1, help="Virtual seconds of load.")] = 2.0,
    spread: Annotated[
        bool, typer.Option("--uneven", help="Messages and syncs take random times.")
    ] = False,
    delay: Annotated[float, typer.Option(min=0.0, help="Seconds of a message.")] = Costs().delay,
    think: Annotated[
        float, typer.Option(min=0.0, help="Mean seconds of a client between two writes.")
    ] = 0.0,
    impatient: Annotated[
        bool,
        typer.Option("--impatient", help="The queue goes on with n-f proposals, as published."),
    ] = False,
) -> None:
    """Lanes against the published queue on simulated machines that are all alike."""
    for setup in setups(nodes):
        delays, syncs = one_write(setup)
        chain = f"{delays} message delays and {syncs} syncs, one after the other"
        print(f"{setup.engine}, k={setup.data}: a lone write takes {chain}")
    Console(width=140).print(
        compare(nodes, Load(clients, size, seconds, spread, delay, think, impatient))
    )
    print("per write, over all nodes: messages, frames, sent B, logged B, syncs")


def run(argv: Sequence[str]) -> int:
    """Runs the command; the exit code: 0, or 2 for a wrong call."""
    try:
        app(list(argv), prog_name="racos engines")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))

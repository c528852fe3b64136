"""What one seed's world is like: drawn from the seed, printable, and changeable by hand.

Swarm testing: each seed draws which classes of faults are on at all, because a mixture of
everything hides what a few of them together would show.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, fields, replace
from typing import Any, TypeAlias

from racos.core.engine import ENGINES, LANES, data_fragments_max

Setting: TypeAlias = int | float | str | tuple[str, ...]

FAULTS = (
    "loss",  # frames vanish, connections stay
    "duplicate",  # frames come twice
    "reorder",  # frames overtake each other
    "partition",  # groups cannot hear each other, either way
    "one_way",  # one direction of some links is dead
    "clog",  # a link delivers nothing for a while, then everything
    "reset",  # connections break and come back
    "power",  # a node loses power: what was not synced is lost, torn or reordered
    "kill",  # a process dies: its disk's cache survives
    "power_all",  # all nodes lose power at one moment
    "storm",  # nodes are killed again before they caught up
    "slow_disk",  # one node's syncs take long
    "sync_error",  # a sync fails: the node must die
    "pause",  # SIGSTOP for a while
    "rate",  # clocks run at half to double speed
    "adversary",  # the network tries to split votes
    "rot",  # bits of synced fragments flip, on f nodes at most
    "wipe",  # a node dies and its disk is empty when it starts again, on f nodes at a time
    "damage",  # likewise, but a bit of what it synced has flipped: it puts all of that aside
    "full",  # the disks of some nodes have next to no space left for a while
)
_APART = ("rot", "wipe", "damage", "full")  # drawn apart: see `_timed`, `_lossy` and `_filled`


@dataclass(frozen=True, slots=True)
class Options:
    """Times in virtual seconds, sizes in bytes."""

    seed: int
    engine: str = LANES
    nodes: int = 3
    faults_max: int = 1  # f
    data: int = 2  # k
    seconds: float = 4.0  # of the phase in which anything may fail
    calls: int = 1000  # the phase ends earlier after so many
    messages: int = 10_000  # or after so many delivered messages: more of the same teach little
    faults: tuple[str, ...] = ()
    fault_every: float = 0.5  # mean time between two faults of one class
    clients: int = 5
    watchers: int = 3
    holders: int = 0  # clients that grant leases, keep them alive, attach keys, revoke, abandon
    ttl: int = 1  # of their leases, in seconds: from 1 to this
    think: float = 0.02  # mean pause of a client between two operations
    keys: int = 8
    reads: float = 0.4  # share of operations
    large: float = 0.2  # share of values above the inline limit
    large_bytes: int = 4000
    inline_limit: int = 256
    compactions: float = 0.02  # share of operations
    delay: float = 0.0005  # mean of one message
    sync: float = 0.001  # mean of one sync
    turn: float = 0.0001  # from an input to the turn that handles it and all that came meanwhile
    timer: float = 0.01  # from one timer's turn to the next, by the node's own clock
    loss: float = 0.05
    duplicate: float = 0.05
    segment_bytes: int = 1 << 20
    history_bytes: int = 1 << 20  # of the log, kept for nodes that are away
    grace_seconds: float = 2.0  # in which values that nobody refers to are still served
    rounds_max: int = 64  # W
    suspect_after: float = 0.25
    lane_off_after: float = 5.0  # longer than most runs: no lane is switched off
    request_seconds: float = 1.5
    flush_seconds: float = 30.0  # from one flush of the index to the next
    live_within: float = 12.0  # after the heal everything must be settled in this time

    def on(self, fault: str) -> bool:
        return fault in self.faults

    @property
    def loses_disks(self) -> bool:
        """Whether nodes may lose their memory: then all take the vow of `racos.core.vow`, which the
        queue engine does not know."""
        return self.engine == LANES and (self.on("wipe") or self.on("damage"))

    def text(self) -> str:
        """All that differs from the defaults, for the eye."""
        return _differences(self, Options(self.seed))

    def settings(self) -> str:
        """What differs from the seed's own options, as `--set` takes it."""
        return _differences(self, draw(self.seed))


def _differences(options: Options, usual: Options) -> str:
    parts = []
    for name in Options.__slots__:
        value = getattr(options, name)
        if value != getattr(usual, name):
            parts.append(f"{name}={_shown(value)}")
    return ",".join(parts)


def _shown(value: Setting) -> str:
    if isinstance(value, tuple):
        return "+".join(value) or "none"
    return value if isinstance(value, str) else f"{value:.9g}"


SHAPES = ((1, 0), (2, 0), (3, 1), (3, 1), (3, 1), (4, 1), (5, 2), (5, 2), (5, 1), (7, 3))


def draw(seed: int) -> Options:
    """The options of a seed."""
    source = random.Random(f"options {seed}")
    nodes, faults_max = source.choice(SHAPES)
    usual = nodes - faults_max
    data = usual if source.random() < 0.7 else source.randint(1, usual)
    share = source.choice((0.0, 0.15, 0.3, 0.5))
    faults = tuple(fault for fault in FAULTS if fault not in _APART and source.random() < share)
    options = Options(
        seed=seed,
        nodes=nodes,
        faults_max=faults_max,
        data=data,
        seconds=source.choice((2.0, 4.0, 6.0)),
        faults=faults,
        fault_every=source.choice((0.2, 0.5, 1.0, 2.0)),
        calls=source.choice((300, 1000)),
        clients=source.randint(2, 8),
        watchers=source.randint(1, 4),
        think=source.choice((0.002, 0.01, 0.03, 0.1)),
        keys=source.choice((2, 5, 20)),
        reads=source.choice((0.2, 0.5, 0.7)),
        large=source.choice((0.0, 0.1, 0.4, 0.8)),
        large_bytes=source.choice((600, 4000, 20000)),
        compactions=source.choice((0.0, 0.01, 0.05)),
        delay=source.choice((0.0001, 0.0005, 0.005, 0.02)),
        sync=source.choice((0.0001, 0.001, 0.01)),
        loss=source.choice((0.01, 0.05, 0.2)),
        duplicate=source.choice((0.01, 0.1, 0.5)),
        segment_bytes=source.choice((16 << 10, 256 << 10, 1 << 20)),
        rounds_max=source.choice((8, 32, 128)),
        suspect_after=source.choice((0.1, 0.25, 0.5)),
    )
    options = _filled(_lossy(_forgetful(_timed(options))))
    # A source of its own, so that all else about a seed stays as it was before there were epochs.
    lanes = random.Random(f"lanes {seed}")
    if lanes.random() < 0.5:
        options = replace(options, lane_off_after=lanes.choice((0.1, 0.3, 1.0)))
    kind = source.random()
    if kind < 0.25:
        return _contended(options, source)
    if kind < 0.45:
        return _worn(options, source)
    return _asked(options) if kind < 0.6 else options


def _forgetful(options: Options) -> Options:
    """In a part of the worlds logs keep next to nothing, and much dies."""
    source = random.Random(f"space {options.seed}")
    if source.random() >= 0.4:
        return options
    return replace(
        options,
        segment_bytes=16 << 10,
        history_bytes=source.choice((0, 16 << 10, 64 << 10)),
        grace_seconds=source.choice((0.5, 2.0)),
        compactions=0.05,
    )


def _timed(options: Options) -> Options:
    """How busy the machines are (how much gathers before a turn, how late timers come), who holds
    leases, and whether disks rot: drawn apart, so that the seeds' other options stayed what they
    were before these came."""
    source = random.Random(f"pace {options.seed}")
    rot = ("rot",) if source.random() < 0.2 else ()
    flushing = random.Random(f"index {options.seed}").choice((0.02, 0.3, 30.0))
    return replace(
        options,
        faults=options.faults + rot,
        flush_seconds=flushing,
        turn=source.choice((0.0001, 0.0005, 0.002)),
        timer=source.choice((0.01, 0.02)),
        holders=source.choice((0, 0, 2, 4)),
        ttl=source.choice((1, 1, 2)),
    )


def _lossy(options: Options) -> Options:
    """In a part of the worlds disks are lost; none rots there then, as f losses are enough. Windows
    are small: nodes take part again soon, and others can lose their disks next."""
    source = random.Random(f"memory {options.seed}")
    lost = tuple(fault for fault in ("wipe", "damage") if source.random() < 0.1)
    if not lost or not options.faults_max:
        return options
    kept = tuple(fault for fault in options.faults if fault != "rot")
    return replace(
        options,
        faults=kept + lost,
        seconds=8.0,
        messages=20_000,
        rounds_max=source.choice((4, 4, 8, 32)),
    )


def _filled(options: Options) -> Options:
    """In a part of the worlds disks become full."""
    if random.Random(f"full {options.seed}").random() >= 0.15:
        return options
    return replace(options, faults=(*options.faults, "full"))


def _asked(options: Options) -> Options:
    """The world in which fresh reads are hardest: many of them, over a slow and unruly network."""
    return replace(
        options,
        faults=tuple(fault for fault in FAULTS if fault == "reorder" or fault in options.faults),
        clients=8,
        think=0.002,
        reads=0.6,
        delay=0.005,
        sync=0.0001,
        calls=500,
    )


def _worn(options: Options, source: random.Random) -> Options:
    """The world in which durability is hardest: power fails all the time, and syncs take longer
    than everything else, so that much is under way whenever it does.
    """
    hard = ("power", "slow_disk")
    return replace(
        options,
        faults=tuple(fault for fault in FAULTS if fault in hard or fault in options.faults),
        fault_every=0.1,
        think=source.choice((0.001, 0.005)),
        reads=0.2,
        delay=0.0001,
        sync=source.choice((0.003, 0.01)),
        rounds_max=source.choice((4, 8)),
        calls=500,
    )


def _contended(options: Options, source: random.Random) -> Options:
    """The world in which agreement is hardest: a hostile network, large values, short patience."""
    return replace(
        options,
        faults=tuple(fault for fault in FAULTS if fault == "adversary" or fault in options.faults),
        think=0.005,
        delay=0.0005,
        sync=0.0005,
        suspect_after=0.1,
        large=source.choice((0.0, 0.9)),
        calls=300,
    )


def changed(options: Options, text: str) -> Options:
    """The options with `name=value,..` applied. Raises ValueError with what is wrong."""
    for part in filter(None, text.split(",")):
        name, equals, value = part.partition("=")
        if not equals or name not in Options.__slots__:
            raise ValueError(f"no option {part!r}; there are {', '.join(Options.__slots__)}")
        options = with_option(options, name, _parsed(name, value))
    k_max = data_fragments_max(options.engine, options.nodes, options.faults_max)
    return options if options.data <= k_max else with_option(options, "data", k_max)


def with_option(options: Options, name: str, value: Setting) -> Options:
    """The options with one of them changed."""
    changes: dict[str, Any] = {name: value}
    return replace(options, **changes)


def _parsed(name: str, value: str) -> Setting:
    if name == "faults":
        wanted = tuple(filter(None, value.replace("none", "").split("+")))
        unknown = [fault for fault in wanted if fault not in FAULTS]
        if unknown:
            raise ValueError(f"no fault class {unknown[0]!r}; there are {', '.join(FAULTS)}")
        return wanted
    if name == "engine":
        if value not in ENGINES:
            raise ValueError(f"no engine {value!r}; there are {', '.join(ENGINES)}")
        return value
    default = next(field.default for field in fields(Options) if field.name == name)
    return float(value) if isinstance(default, float) else int(value)

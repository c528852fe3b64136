"""Exhaustive exploration of one slot: every order of everything that can happen to n replicas.

Breadth first over the states of one slot as production runs it (`local`): which messages arrive
where and when, syncs, crashes, restarts, patience, suspicion and coins are all free choices. A
message once sent stays deliverable for ever, and need never be delivered; that is loss, repetition,
reordering, delay, an owner that dies after reaching any subset, and the repeating of old messages
to whoever asks, all in one. At every state the invariants hold or the way to it is told.

What is left out, and why nothing is lost by it:

- DECIDE and decided history stop a replica from saying more; so does its silence.
- Knowledge that no rule asks for is forgotten (`local._normal`).
- Waking late from a sync is a sync that comes late; a crash between sync and wake is a sync, then a
  crash, as what was said need not arrive.
- Replicas that are not the owner are interchangeable if the batch is inline (`renaming`).

Not explored: coins that differ between replicas (P-4; the coin is a pure function of slot, phase
and the cluster's secret), more than two phases, and what other slots could do to this one.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from itertools import combinations, pairwise
from typing import Final, NamedTuple

from racos.core.messages import Hold, Message, Pay, State
from racos.core.quorum import Quorum, bits
from racos.sim.local import (
    BOTH_OVER,
    COVER_OVER,
    CRASH,
    NAMES,
    PHASES,
    REBUILT,
    REST_OVER,
    RESTART,
    SYNC,
    ZERO,
    Broken,
    Local,
    Machine,
)
from racos.sim.renaming import rename, renamings

_LOCAL_BITS: Final = 24
_LOCAL_MASK: Final = (1 << _LOCAL_BITS) - 1
_MOVES_MAX: Final = 2_000_000  # remembered lists of moves; then the memory is begun anew
_UNKNOWN: Final = 2  # a coin nobody has looked at
_UNTOSSED: Final = (_UNKNOWN,) * PHASES

Coins = tuple[int, ...]  # by phase: 0, 1 or not looked at yet


class Shape(NamedTuple):
    """What is explored: cluster, kind of batch, how many crashes, and the bound on states."""

    name: str
    quorum: Quorum
    coded: bool
    crashes: int = 0
    proposes: bool = True
    spread: bool = True  # whether coded batches are widened and rebuilt
    states_max: int | None = None
    phases: int = PHASES


class Outcome(NamedTuple):
    shape: Shape
    states: int
    transitions: int
    locals: int
    depth: int
    seconds: float
    complete: bool
    decided: tuple[int, int]  # states in which 0, or 1, has been decided somewhere
    quiet: int  # states in which nothing but a crash or restart can happen any more
    broken: str | None
    trace: list[str]

    def line(self) -> str:
        rate = self.states / self.seconds if self.seconds else 0.0
        return (
            f"{self.shape.name:<28} {self.states:>10,} {self.transitions:>12,} {self.locals:>8,} "
            f"{self.depth:>5} {self.quiet:>9,} {self.seconds:>7.1f} {rate:>8,.0f}  "
            f"{self.broken or ('all' if self.complete else 'bounded')}"
        )


HEADER: Final = (
    f"{'configuration':<28} {'states':>10} {'transitions':>12} {'locals':>8} "
    f"{'depth':>5} {'quiet':>9} {'seconds':>7} {'states/s':>8}  explored"
)


class Move(NamedTuple):
    local: int
    coins: int
    event: int
    decided: int  # bit set of values decided by this move


class Explorer:
    """One exploration. States are integers: the replicas' values by number, coins, decisions, and
    crashes left, packed."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.quorum = shape.quorum
        self.machine = Machine(shape.quorum, coded=shape.coded, phases=shape.phases)
        self.locals: list[Local] = []
        self._said: list[int] = []
        self._numbers: dict[Local, int] = {}
        self._coins: list[Coins] = []
        self._coin_numbers: dict[Coins, int] = {}
        self._steps: dict[tuple[int, int, int], tuple[Move, ...]] = {}
        self._moves: dict[tuple[int, int, int, bool], tuple[Move, ...]] = {}
        self._survives: dict[tuple[tuple[bool, int], ...], bool] = {}
        self._contradicts: dict[int, bool] = {}
        # For more replicas, trying all names costs more than it saves.
        alike = not shape.coded and self.quorum.total == 3
        self._renamings = list(renamings(self.quorum.total)) if alike else []
        self._renamed: dict[tuple[int, int], int] = {}
        self.parents: dict[int, int] = {}
        self._until = math.inf
        self.transitions = 0
        self.quiet = 0
        self.decided = [0, 0]

    # -- values by number ------------------------------------------------------------------------

    def _number(self, local: Local) -> int:
        known = self._numbers.get(local)
        if known is None:
            known = self._numbers[local] = len(self.locals)
            assert known <= _LOCAL_MASK, "too many values of one replica"
            self.locals.append(local)
            self._said.append(local.said)
        return known

    def _coin_number(self, coins: Coins) -> int:
        known = self._coin_numbers.get(coins)
        if known is None:
            known = self._coin_numbers[coins] = len(self._coins)
            self._coins.append(coins)
        return known

    def pack(self, numbers: list[int], coins: int, decided: int, crashes: int) -> int:
        state = (crashes << 2 | decided) << 8 | coins
        for number in reversed(numbers):
            state = state << _LOCAL_BITS | number
        return state

    def unpack(self, state: int) -> tuple[list[int], int, int, int]:
        numbers = []
        for _ in range(self.quorum.total):
            numbers.append(state & _LOCAL_MASK)
            state >>= _LOCAL_BITS
        return numbers, state & 0xFF, state >> 8 & 3, state >> 10

    def start(self) -> int:
        numbers = [
            self._number(self.machine.start(me, proposes=self.shape.proposes))
            for me in range(self.quorum.total)
        ]
        return self.pack(numbers, self._coin_number(_UNTOSSED), 0, self.shape.crashes)

    # -- moves -----------------------------------------------------------------------------------

    def _step(self, number: int, event: int, coins: int) -> tuple[Move, ...]:
        """Where the event leads: nowhere, to one value, or to one for each side of the coin."""
        key = (number, event, coins)
        known = self._steps.get(key)
        if known is None:
            known = self._steps[key] = tuple(self._outcomes(number, event, coins))
        return known

    def _outcomes(self, number: int, event: int, coins: int) -> Iterator[Move]:
        local, tossed = self.locals[number], self._coins[coins]
        coin = tossed[local.phase] if local.phase < self.shape.phases else 0
        if event == RESTART:
            coin = tossed[phase] if (phase := _phase(local)) < self.shape.phases else 0
        else:
            phase = local.phase
        sides = (0, 1) if coin == _UNKNOWN else (coin,)
        after = [self.machine.step(local, event, side) for side in sides]
        if len(after) == 2 and after[0] != after[1]:
            for side, value in enumerate(after):
                fixed = (*tossed[:phase], side, *tossed[phase + 1 :])
                yield self._move(local, value, event, self._coin_number(fixed))
        elif after[0] != local:
            yield self._move(local, after[0], event, coins)

    def _move(self, before: Local, after: Local, event: int, coins: int) -> Move:
        decided = 1 << after.decided if after.decided >= 0 > before.decided else 0
        return Move(self._number(after), coins, event, decided)

    def moves(self, number: int, soup: int, coins: int, rebuilds: bool) -> tuple[Move, ...]:
        """All that one replica can do, but for crash and restart. `soup`: what was ever said."""
        local = self.locals[number]
        audible = soup & self.machine.audible[local.me]
        key = (number, audible, coins, rebuilds)
        known = self._moves.get(key)
        if known is None:
            if len(self._moves) >= _MOVES_MAX:
                self._moves.clear()
            found: dict[tuple[int, int], Move] = {}
            for event in self._events(local, audible, rebuilds):
                for move in self._step(number, event, coins):
                    found.setdefault((move.local, move.coins), move)
            known = self._moves[key] = tuple(found.values())
        return known

    def _events(self, local: Local, audible: int, rebuilds: bool) -> Iterator[int]:
        if not local.up:
            return
        if local.pending:
            yield SYNC
        if local.decided >= 0:
            return
        yield from bits(audible)
        yield from (ZERO, REST_OVER, COVER_OVER, BOTH_OVER)
        if local.known and self.shape.spread and self.shape.coded and (rebuilds or local.whole):
            for width in range(1, self.quorum.data + 1):
                yield REBUILT - width

    def successors(self, state: int) -> Iterator[tuple[int, int, int]]:
        """(next state, replica, event); a quiet state is checked for being stuck."""
        numbers, coins, decided, crashes = self.unpack(state)
        soup = 0
        for number in numbers:
            soup |= self._said[number]
        rebuilds = self.shape.coded and self._rebuilds(numbers)
        quiet = True
        for replica, number in enumerate(numbers):
            for move in self.moves(number, soup, coins, rebuilds):
                quiet = False
                after = numbers.copy()
                after[replica] = move.local
                both = decided | move.decided
                yield self._least(after, move.coins, both, crashes), replica, move.event
        if quiet:
            self._check_quiet(numbers)
        yield from self._falls(numbers, coins, decided, crashes)

    def _falls(
        self, numbers: list[int], coins: int, decided: int, crashes: int
    ) -> Iterator[tuple[int, int, int]]:
        for replica, number in enumerate(numbers):
            up = self.locals[number].up
            event = CRASH if up else RESTART
            if up and not crashes:
                continue
            for move in self._step(number, event, coins):
                after = numbers.copy()
                after[replica] = move.local
                left = crashes - up
                both = decided | move.decided
                yield self._least(after, move.coins, both, left), replica, event

    def _rebuilds(self, numbers: list[int]) -> bool:
        union = 0
        for number in numbers:
            union |= self.locals[number].durable.held
        return union.bit_count() >= self.quorum.data

    # -- symmetry --------------------------------------------------------------------------------

    def _least(self, numbers: list[int], coins: int, decided: int, crashes: int) -> int:
        """The state, or the least of those that differ from it in names only."""
        state = self.pack(numbers, coins, decided, crashes)
        for which, renaming in enumerate(self._renamings):
            other = [0] * len(numbers)
            for replica, number in enumerate(numbers):
                other[renaming[replica]] = self._rename(number, which)
            state = min(state, self.pack(other, coins, decided, crashes))
        return state

    def _rename(self, number: int, which: int) -> int:
        known = self._renamed.get((number, which))
        if known is None:
            local = self._rename_local(self.locals[number], self._renamings[which])
            known = self._renamed[number, which] = self._number(local)
        return known

    def _rename_local(self, local: Local, renaming: tuple[int, ...]) -> Local:
        return rename(local, renaming, self.machine)

    @property
    def may_be_stuck(self) -> bool:
        """A coded batch that is never widened may never be covered."""
        return self.shape.coded and not self.shape.spread

    # -- invariants ------------------------------------------------------------------------------

    def check(self, state: int) -> None:
        numbers, _, decided, _ = self.unpack(state)
        if decided:
            if decided == 3:
                raise Broken("P-1: 0 and 1 are both decided")
            self.decided[decided >> 1] += 1
        if decided & 2:
            if not self.shape.proposes:
                raise Broken("P-2: decided 1, and nothing was proposed")
            logs = tuple(
                (self.locals[number].durable.recorded, self.locals[number].durable.held)
                for number in numbers
            )
            if not self._recoverable(logs):
                raise Broken(f"P-7: decided 1, and the logs hold only {logs}")
        soup = 0
        for number in numbers:
            soup |= self._said[number]
        if self._votes_contradict(soup):
            raise Broken("P-3: votes 0 and 1 in one phase")

    def _recoverable(self, logs: tuple[tuple[bool, int], ...]) -> bool:
        """P-7 by brute force, not by the cover() under test: any n-f logs rebuild the batch."""
        known = self._survives.get(logs)
        if known is None:
            needed = self.quorum.data if self.shape.coded else 1
            known = all(
                pieces(kept, coded=self.shape.coded) >= needed
                for kept in combinations(logs, self.quorum.answers)
            )
            self._survives[logs] = known
        return known

    def _votes_contradict(self, soup: int) -> bool:
        known = self._contradicts.get(soup)
        if known is None:
            known = any(soup & ones and soup & zeros for ones, zeros in self.machine.contrary)
            self._contradicts[soup] = known
        return known

    def _check_quiet(self, numbers: list[int]) -> None:
        """With n-f replicas up and nothing left to happen, somebody has decided."""
        self.quiet += 1
        if self.may_be_stuck:
            return
        up = [self.locals[number] for number in numbers if self.locals[number].up]
        done = any(local.decided >= 0 or local.phase == self.shape.phases for local in up)
        if len(up) >= self.quorum.answers and not done:
            raise Broken("stuck: nothing can happen, and nobody has decided")

    # -- search ----------------------------------------------------------------------------------

    def run(
        self, tell: Callable[[str], None] | None = None, seconds_max: float = math.inf
    ) -> Outcome:
        """Explore until all is known, a bound is met, or an invariant does not hold."""
        began = time.monotonic()
        self._until = began + seconds_max
        layer, depth, broken, trace = list[int](), 0, None, list[str]()
        try:
            layer = [self.start()]
            self.parents = {layer[0]: layer[0]}
            while layer and not self._full():
                layer = self._next_layer(layer)
                depth += bool(layer)
                if tell is not None:
                    tell(f"{self.shape.name}: depth {depth}, {len(self.parents):,} states")
        except Broken as error:
            broken = str(error)
        except _Found as found:
            broken, trace = str(found), self.trace(found.state)
        return Outcome(
            self.shape,
            len(self.parents),
            self.transitions,
            len(self.locals),
            depth,
            time.monotonic() - began,
            not layer and broken is None,
            (self.decided[0], self.decided[1]),
            self.quiet,
            broken,
            trace,
        )

    def _next_layer(self, layer: list[int]) -> list[int]:
        following: list[int] = []
        for state in layer:
            self._expand(state, following)
            if self._full():
                break
        return following

    def _full(self) -> bool:
        bound = self.shape.states_max
        full = bound is not None and len(self.parents) >= bound
        return full or time.monotonic() >= self._until

    def _expand(self, state: int, following: list[int]) -> None:
        parents = self.parents
        known = state
        try:
            for after, _, _ in self.successors(state):
                self.transitions += 1
                if after not in parents:
                    parents[after] = state
                    known = after
                    self.check(after)
                    known = state
                    following.append(after)
        except Broken as error:
            raise _Found(str(error), known) from error

    def trace(self, state: int) -> list[str]:
        """The way from the start, one line per event."""
        path = [state]
        while self.parents[path[-1]] != path[-1]:
            path.append(self.parents[path[-1]])
        path.reverse()
        lines = []
        for before, after in pairwise(path):
            for candidate, replica, event in self.successors(before):
                if candidate == after:
                    lines.append(self.describe(replica, event))
                    break
        return lines

    def describe(self, replica: int, event: int) -> str:
        if event >= 0:
            sender, _, message = self.machine.messages[event]
            return f"{replica} hears from {sender}: {_text(message)}"
        if event < REBUILT:
            return f"{replica} rebuilds its share at width {REBUILT - event}"
        return f"{replica} {NAMES[event]}"


class _Found(Exception):
    """An invariant does not hold in this state, or is broken by something it does next."""

    def __init__(self, text: str, state: int) -> None:
        super().__init__(text)
        self.state = state


def pieces(logs: tuple[tuple[bool, int], ...], *, coded: bool) -> int:
    union = 0
    for recorded, held in logs:
        union |= held if coded else int(recorded)
    return union.bit_count()


def _phase(local: Local) -> int:
    """The phase in which a replica with this log restarts."""
    return max((phase for phase, value in enumerate(local.durable.states) if value >= 0), default=0)


def _text(message: Message) -> str:
    if isinstance(message, Pay):
        return f"PAY held={set(bits(message.held)) or '{}'}"
    if isinstance(message, Hold):
        return f"HOLD {set(bits(message.held))}"
    if isinstance(message, State):
        return f"STATE p{message.phase}={message.value} held={set(bits(message.held)) or '{}'}"
    return str(message)

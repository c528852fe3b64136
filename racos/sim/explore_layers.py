"""The same exploration layer by layer: every phase there may be, under any crashes, to its end.

What a replica promises in a slot rests on messages of one kind only. Sorted by what they rest on,
promises form layers:

    ground    the batch stored (STATE 1 or HOLD), or STATE 0: rests on PAYs and stored fragments
    votes 0   rests on STATEs of phase 0, and on who is known to hold what
    states 1  rests on VOTEs of phase 0, the coin, and on who is known to hold what
    votes 1   rests on STATEs of phase 1; and so on

No layer rests on a later one. So any history may be sorted: first all of the ground, then all votes
of phase 0, and so on. Each promise still has everything it rested on, and what the logs hold, what
was said and what may be decided from it is the same in the end. That is why it is enough to explore
sorted histories, in each of which every replica promises something in a layer, or nothing:

- P-1 and P-3 speak of what was said, which only grows: sorting hides nothing.
- P-7 speaks of the logs at a decision. Take of a history only what the decision rests on, directly
  or not: that is a history too, its logs hold no more, and sorted it ends with the decision.
- Crashes are as in `forgetful`: a promise rests on any part of what was said. Sorting lets own
  fragments be durable before an own vote that did not know of them; such votes are explored too.
- Only the first phase has rules of its own, so configurations repeat, and the search ends with the
  phases unbounded.
- Stuck is asked where it arises: n-f replicas that have all said something in a layer, and hear
  nobody else, each have something to say in the next one, or to decide, or batches still to store.

Once the votes of phase 0 are cast, all that is still asked of the ground is who can see that the
batch is covered, and whether any n-f logs rebuild it; and replicas differ in nothing but that and
what they last said. So few configurations stand for very many histories. `tests/sim` compares the
outcome with `forgetful`, log by log, where that can be explored to its end.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from itertools import combinations, pairwise, product
from typing import Final, NamedTuple

from racos.core.messages import Hold, State
from racos.core.quorum import bits
from racos.sim.explore import Outcome, Shape, pieces
from racos.sim.explore_rules import NOTHING, Known, Place, Rules, known, subsets
from racos.sim.forgetful import Forgetful
from racos.sim.local import Broken, Local, Machine

_SORTED_FROM: Final = 4  # replicas; with fewer the names in a trace are worth more

Options = dict[int, Known]  # what a replica may promise, with an example of what it then rests on
Said = tuple[int, ...]  # by replica, in one layer
Log = tuple[int, ...]  # fragments, then STATE and VOTE by phase: values or NOTHING


class Ground(Forgetful):
    """All that replicas can write down before they look at each other's STATEs."""

    def _needed(self, _local: Local) -> int:
        if self._filed < len(self.machine.messages):
            self._file()
        return self._pays

    def _grounds(self) -> Iterator[int]:
        return iter(())

    def _check_stuck(self, lively: int) -> None:
        """Asked of the layers instead."""

    def _with(self, number: int, said: int) -> int:
        """HOLDs are dropped: nobody hears them here, and the log tells what is held."""
        local = self.locals[number]
        for message in bits(local.said):
            if isinstance(self.machine.messages[message][2], Hold):
                local = local._replace(said=local.said & ~(1 << message))
        return super()._with(self._number(local), said)

    def _least(self, numbers: list[int], coins: int, decided: int, crashes: int) -> int:
        if self.quorum.total < _SORTED_FROM:
            return self.pack(numbers, coins, decided, crashes)
        return super()._least(numbers, coins, decided, crashes)


class Footing(NamedTuple):
    """One replica's part of the ground, as far as votes of phase 0 ask for it."""

    said: int  # its STATE of phase 0, or NOTHING
    named: int  # fragments which that STATE names
    covers: bool  # whether it can see cover: it, and all others, say what they hold
    descriptor: bool  # without it, each batch is taken for a coded one


class Stand(NamedTuple):
    """One replica's promise in a later layer."""

    said: int
    covers: bool


class Layer(NamedTuple):
    """A configuration: what the last layer said, and what is left of all layers before it."""

    place: Place  # of the promises that follow
    stands: tuple[Footing | Stand, ...]
    recoverable: bool  # any n-f logs rebuild the batch
    decided: int  # bit set of the values for which somebody may have heard enough

    @property
    def said(self) -> Said:
        return tuple(stand.said for stand in self.stands)


class Layered:
    """One exploration to its end, whatever the number of phases and crashes."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.quorum = shape.quorum
        self.ground = Ground(shape)
        self.rules = Rules(Machine(shape.quorum, coded=shape.coded))
        self.parents: dict[Layer, Layer | None] = {}
        self.origins: dict[Layer, int] = {}  # the state of `ground` where it begins
        self.transitions = 0
        self._options: dict[tuple[int, Layer, int], Options] = {}
        self._fasts: dict[Layer, int] = {}

    # -- the search ------------------------------------------------------------------------------

    def run(
        self, tell: Callable[[str], None] | None = None, seconds_max: float = math.inf
    ) -> Outcome:
        """Explore until all is known, time is over, or an invariant does not hold."""
        began = time.monotonic()
        outcome = self.ground.run(tell, seconds_max)
        if outcome.broken is not None or not outcome.complete:
            return outcome
        depth, broken, trace, at = outcome.depth, None, list[str](), list[Layer]()
        layer: list[Layer] = []
        try:
            layer = self.openings(at)
            while layer and time.monotonic() - began < seconds_max:
                layer = self._next(layer, at)
                depth += bool(layer)
                if tell is not None:
                    tell(f"{self.shape.name}: layer {depth}, {len(self.parents):,} configurations")
        except Broken as error:
            broken, trace = str(error), self.trace(at[-1])
        decided = [each.decided for each in self.parents]
        return outcome._replace(
            states=outcome.states + len(self.parents),
            transitions=outcome.transitions + self.transitions,
            depth=depth,
            seconds=time.monotonic() - began,
            complete=not layer and broken is None,
            decided=(sum(each & 1 for each in decided), sum(each >> 1 for each in decided)),
            broken=broken,
            trace=trace,
        )

    def openings(self, at: list[Layer]) -> list[Layer]:
        """What the ground is to the votes of phase 0; `at` tells which one is looked at."""
        found: list[Layer] = []
        for state in self.ground.parents:
            locals_ = [self.ground.locals[number] for number in self.ground.unpack(state)[0]]
            opening = self._opening(locals_)
            if opening not in self.parents:
                self.parents[opening] = None
                self.origins[opening] = state
                found.append(opening)
            at[:] = [opening]
            self._check_ground(opening, locals_)
        return found

    def _next(self, layer: list[Layer], at: list[Layer]) -> list[Layer]:
        following: list[Layer] = []
        for before in layer:
            at[:] = [before]
            for after in self.successors(before):
                self.transitions += 1
                if after not in self.parents:
                    self.parents[after] = before
                    at[:] = [after]
                    self.check(after)
                    at[:] = [before]
                    following.append(after)
        return following

    def successors(self, before: Layer) -> Iterator[Layer]:
        """What the next layer may say; one in which nobody says anything leads nowhere."""
        for coin in _coins(before):
            options = [self.options(me, before, coin) for me in range(self.quorum.total)]
            for said in product(*((NOTHING, *option) for option in options)):
                if any(value != NOTHING for value in said):
                    yield self._after(before, said)[0]

    def _opening(self, locals_: list[Local]) -> Layer:
        logs = [local.durable for local in locals_]
        held = [log.held for log in logs if log.recorded]
        footings = tuple(
            Footing(
                log.states[0],
                self._named(local),
                self._covers(held, log.recorded),
                log.recorded,
            )
            for local, log in zip(locals_, logs, strict=True)
        )
        needed = self.quorum.data if self.shape.coded else 1
        recoverable = all(  # by brute force, not by the cover() under test
            pieces(kept, coded=self.shape.coded) >= needed
            for kept in combinations(
                [(log.recorded, log.held) for log in logs], self.quorum.answers
            )
        )
        opening = Layer(Place(votes=False, first=True), footings, recoverable, 0)
        return opening._replace(decided=self._fast(opening))

    def _named(self, local: Local) -> int:
        """The fragments that its STATE of phase 0 names."""
        messages = (self.ground.machine.messages[number][2] for number in bits(local.said))
        return next((each.held for each in messages if isinstance(each, State)), 0)

    def _covers(self, held: list[int], descriptor: bool) -> bool:
        return self.quorum.cover(held, coded=self.shape.coded or not descriptor)

    def _after(self, before: Layer, said: Said) -> tuple[Layer, list[int]]:
        """The layer in which this is said, and where each of its places was before.

        From the first votes on names are of no account, so places are sorted.
        """
        votes = not before.place.votes
        first = before.place.first and votes
        stands = [
            Stand(value, stand.covers) for value, stand in zip(said, before.stands, strict=True)
        ]
        order = sorted(range(len(stands)), key=stands.__getitem__)
        sorted_ = tuple(stands[place] for place in order)
        decided = before.decided
        if votes:
            decided |= self.rules.decisions(tuple(stand.said for stand in sorted_), first=first)
        place = Place(votes=votes, first=first)
        return Layer(place, sorted_, before.recoverable, decided), order

    def histories(self, phases: int) -> set[tuple[Log, ...]]:
        """By replica, what the logs may hold of the first phases and the entry into the next one.

        After `run`. Every combination by itself, whereas configurations stand for many.
        """
        found: set[tuple[Log, ...]] = set()
        for state in self.ground.parents:
            locals_ = [self.ground.locals[number] for number in self.ground.unpack(state)[0]]
            logs = tuple[Log, ...](
                (local.durable.held, local.durable.states[0]) for local in locals_
            )
            names = tuple(range(self.quorum.total))
            layer = {(self._opening(locals_), names, logs)}
            found.add(logs)
            for _ in range(2 * phases):
                layer = {more for each in layer for more in self._longer(*each)}
                found.update(logs for _, _, logs in layer)
        return found

    def _longer(
        self, before: Layer, names: tuple[int, ...], logs: tuple[Log, ...]
    ) -> Iterator[tuple[Layer, tuple[int, ...], tuple[Log, ...]]]:
        for coin in _coins(before):
            options = [self.options(me, before, coin) for me in range(self.quorum.total)]
            for said in product(*((NOTHING, *option) for option in options)):
                after, order = self._after(before, said)
                by_name = dict(zip(names, said, strict=True))
                longer = tuple((*log, by_name[name]) for name, log in enumerate(logs))
                yield after, tuple(names[place] for place in order), longer

    # -- what may be promised --------------------------------------------------------------------

    def options(self, me: int, before: Layer, coin: int) -> Options:
        """Having heard any part of what the others said in the last layer."""
        if before.said[me] == NOTHING:
            return {}
        key = (me, before._replace(recoverable=False, decided=0), coin)
        options = self._options.get(key)
        if options is None:
            options = {}
            self._check_waits(me, before, coin)
            for heard in self._hearings(me, before):
                for decides, value in self.rules.verdicts(me, before.place, heard, coin):
                    if not decides:
                        options.setdefault(value, heard)
            self._options[key] = options
        return options

    def _hearings(self, me: int, before: Layer) -> Iterator[Known]:
        """Any part of what was said, with the least and with the most one may know of holders."""
        said, own = before.said, before.stands[me]
        others = [i for i, value in enumerate(said) if i != me and value != NOTHING]
        for heard in subsets(others):
            seen = (*heard, me)
            least = isinstance(own, Footing) and self._names_cover(before, me, seen)
            for covered in {least, own.covers}:
                yield known(said, seen, covered=covered)

    def _names_cover(self, opening: Layer, me: int, seen: tuple[int, ...]) -> bool:
        """Cover by what these STATEs name; knowing it cannot be helped."""
        footings = [opening.stands[i] for i in seen]
        named = [each.named for each in footings if isinstance(each, Footing) and each.named]
        return self._covers(named, opening.said[me] == 1)

    def _fast(self, opening: Layer) -> int:
        """Rule 3: bit set of the values that STATEs of phase 0 may have decided."""
        found = self._fasts.get(opening)
        if found is not None:
            return found
        decided = 0
        for me, value in enumerate(opening.said):
            if value != NOTHING:
                for heard in self._hearings(me, opening):
                    for verdict in self.rules.verdicts(me, opening.place, heard):
                        decided |= verdict.decides << verdict.value
        self._fasts[opening] = decided
        return decided

    # -- invariants ------------------------------------------------------------------------------

    def check(self, layer: Layer) -> None:
        if layer.place.votes and {0, 1} <= set(layer.said):
            raise Broken("P-3: votes 0 and 1 in one phase")
        if layer.decided == 3:
            raise Broken("P-1: 0 and 1 are both decided")
        if layer.decided & 2 and not self.shape.proposes:
            raise Broken("P-2: decided 1, and nothing was proposed")
        if layer.decided & 2 and not layer.recoverable:
            raise Broken("P-7: decided 1, and some n-f logs cannot rebuild the batch")
        if isinstance(layer.stands[0], Stand):
            for members in self._quorums(layer):
                self._check_live(layer, members, covered=False)

    def _check_ground(self, opening: Layer, locals_: list[Local]) -> None:
        self.check(opening)
        for members in self._quorums(opening):
            held = [locals_[i].durable.held for i in members]
            full = [self.quorum.share(i, self.ground.machine.widths) for i in members]
            logs = tuple((locals_[i].durable.recorded, locals_[i].durable.held) for i in members)
            needed = self.quorum.data if self.shape.coded else 1
            if held == full or pieces(logs, coded=self.shape.coded) < needed:
                # They have all that they can give each other.
                covered = self._covers([mask for mask in held if mask], all(held))
                self._check_live(opening, members, covered=covered)

    def _check_waits(self, me: int, before: Layer, coin: int) -> None:
        """Until its own promise is durable it may decide by what others said, and not promise."""
        others = tuple(i for i, value in enumerate(before.said) if i != me and value != NOTHING)
        heard = known(before.said, others, covered=before.stands[me].covers)
        for verdict in self.rules.verdicts(me, before.place, heard, coin):
            if not verdict.decides:
                raise Broken(f"P-5: {me} goes on while its own promise is not durable")

    def _quorums(self, layer: Layer) -> Iterator[tuple[int, ...]]:
        """Each n-f replicas that have spoken in this layer."""
        if not self.ground.may_be_stuck:
            speakers = [i for i, value in enumerate(layer.said) if value != NOTHING]
            yield from combinations(speakers, self.quorum.answers)

    def _check_live(self, layer: Layer, members: tuple[int, ...], *, covered: bool) -> None:
        """If these hear each other and nobody else, each of them goes on."""
        heard = known(layer.said, members, covered=covered)
        for me in members:
            for coin in _coins(layer):
                if not self.rules.verdicts(me, layer.place, heard, coin):
                    raise Broken(f"stuck: {members} hear each other, and {me} can do nothing")

    # -- the way there ---------------------------------------------------------------------------

    def trace(self, layer: Layer) -> list[str]:
        """The ground event by event, then promise by promise."""
        path = [layer]
        while (before := self.parents[path[-1]]) is not None:
            path.append(before)
        path.reverse()
        lines = self.ground.trace(self.origins[path[0]])
        names = list(range(self.quorum.total))
        for before, after in pairwise(path):
            told, order = self._tell(before, after, names)
            lines.extend(told)
            names = [names[place] for place in order]
        return lines

    def _tell(self, before: Layer, after: Layer, names: list[int]) -> tuple[list[str], list[int]]:
        """One layer's promises, and where each of its places was before."""
        for coin in _coins(before):
            options = [self.options(me, before, coin) for me in range(self.quorum.total)]
            for said in product(*((NOTHING, *option) for option in options)):
                layer, order = self._after(before, said)
                if layer == after:
                    spoken = [me for me, value in enumerate(said) if value != NOTHING]
                    return [
                        _line(before, coin, names, me, said[me], options[me][said[me]])
                        for me in spoken
                    ], order
        raise AssertionError("a layer that follows from nothing")


def _coins(before: Layer) -> tuple[int, ...]:
    return (0, 1) if before.place.votes else (0,)


def _line(before: Layer, coin: int, names: list[int], me: int, value: int, heard: Known) -> str:
    what = f"enters the next phase with {value}" if before.place.votes else f"votes {'01?'[value]}"
    knows = ", ".join(
        f"{kind} by {{{','.join(str(names[i]) for i in bits(mask))}}}"
        for kind, mask in zip("10?", heard[:3], strict=True)
        if mask
    )
    tossed = f", coin {coin}" if before.place.votes else ""
    cover = "covered" if heard.covered else "not known to be covered"
    return f"{names[me]} {what}, knowing {knows}{tossed}, {cover}"

"""The same exploration with any number of crashes: replicas that forget at once all they heard.

A replica may crash after each promise, restart, and then hear any of the messages ever sent, in any
order. So with no bound on crashes, what it knows at its next promise is any part of what was said,
and need not be kept between promises. A state is what the logs hold, what was said, and which
values were decided. These are far fewer than in `explore`, and no history of logs is missed:

- A promise and its sync are one step; a promise that is never synced has no effect on anybody.
- Two promises may wait for syncs at once. None rests on another that waits (own STATEs, VOTEs and
  fragments count once they are durable), so each could have been made alone, in either order. That
  the second does not contradict the first is checked where the first is made.
- The fragments named by a STATE of a later phase were named before, by the first STATE or a HOLD;
  so these STATEs are taken as naming none.
- A replica that crashed for good is one that takes no further step.

Decisions need the most that can be known, promises any part of it; only the messages that the rules
ask for at that point are dealt out. A few histories are allowed that cannot happen (the owner keeps
all fragments at hand while it forgets the rest): more is checked then, never less.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

from racos.core.messages import Hold, Pay, State, StateRecord, Vote
from racos.core.quorum import bits
from racos.sim.explore import Explorer, Move, Shape
from racos.sim.local import (
    CRASH,
    OWNER,
    PHASES,
    RESTART,
    SYNC,
    ZERO,
    Broken,
    Local,
    check_uncounted,
)


class Forgetful(Explorer):
    """Explores what logs may come to hold, under any crashes and restarts."""

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        self.machine.terse = True
        self._filed = 0  # messages sorted into the bit sets below
        self._pays = 0
        self._holds = 0  # what tells of holders: HOLD, and STATE 1 in phase 0
        self._states = [0] * (PHASES + 1)
        self._votes = [[0, 0, 0] for _ in range(PHASES + 1)]  # by phase and value
        self._decided: dict[tuple[int, int], tuple[tuple[int, int], ...]] = {}
        self._settled: dict[int, Local] = {}
        self._bares: dict[int, int] = {}
        self._spoken: dict[tuple[int, int], int] = {}
        self._tales: list[str] = []
        self._tale_numbers: dict[str, int] = {}
        self._quorums = [
            sum(1 << member for member in members)
            for members in combinations(range(self.quorum.total), self.quorum.answers)
        ]
        self._alike: dict[tuple[int, int], int] = {}

    # -- states ----------------------------------------------------------------------------------

    def _base(self, local: Local) -> Local:
        """The replica after a restart, having heard nothing."""
        fallen = self.machine.step(local, CRASH, 0)
        risen = self.machine.step(fallen, RESTART, 0)
        # The owner that has not crashed yet still has all fragments; it may crash at any time.
        return risen._replace(whole=local.whole)

    def _settle(self, number: int) -> Local:
        """Its oldest promise is synced and said; the rest is forgotten."""
        known = self._settled.get(number)
        if known is None:
            local = self.locals[number]
            self._check_kept(local)
            known = self._settled[number] = self._base(self.machine.step(local, SYNC, 0))
        return known

    def _check_kept(self, local: Local) -> None:
        """P-5: a promise is not counted before its sync, nor contradicted by another one."""
        check_uncounted(local)
        self._file()
        for event in (ZERO, *bits(self._pays & self.machine.audible[local.me])):
            after = self.machine.step(local, event, 0)
            while after.pending:
                after = self.machine.step(after, SYNC, 0)

    def _bare(self, number: int) -> int:
        """The replica without the record of what it said: that changes nothing it may do."""
        known = self._bares.get(number)
        if known is None:
            known = self._number(self.locals[number]._replace(said=0))
            self._bares[number] = known
        return known

    # -- moves -----------------------------------------------------------------------------------

    def successors(self, state: int) -> Iterator[tuple[int, int, int]]:
        numbers, coins, decided, _ = self.unpack(state)
        soup = 0
        for number in numbers:
            soup |= self._said[number]
        rebuilds = self.shape.coded and self._rebuilds(numbers)
        lively = 0
        for replica, number in enumerate(numbers):
            for move in self.moves(number, soup, coins, rebuilds):
                lively |= 1 << replica
                after = numbers.copy()
                after[replica] = move.local
                following = self._least(after, move.coins, decided | move.decided, 0)
                if following != state:
                    yield following, replica, move.event
            if self.locals[number].phase == self.shape.phases:
                lively |= 1 << replica
        self._check_stuck(lively)

    def _check_stuck(self, lively: int) -> None:
        """Of any n-f replicas one can promise something or decide, or has reached the bound."""
        for members in self._quorums:
            if not self.may_be_stuck and not lively & members:
                raise Broken("stuck: n-f replicas, and none can promise or decide anything")

    def moves(self, number: int, soup: int, coins: int, rebuilds: bool) -> tuple[Move, ...]:
        local = self.locals[number]
        audible = soup & self.machine.audible[local.me]
        part = audible & self._needed(local)
        bare = self._bare(number)
        key = (bare, part, coins, rebuilds)
        moves = self._moves.get(key)
        if moves is None:
            moves = self._moves[key] = tuple(set(self._promises(bare, part, coins, rebuilds)))
        promises = tuple(move._replace(local=self._with(move.local, local.said)) for move in moves)
        grounds = audible & self._grounds_mask
        decisions = self._decided.get((bare, grounds))
        if decisions is None:
            found = set(self._decisions(bare, grounds))
            decisions = self._decided[bare, grounds] = tuple(found)
        if not decisions:
            return promises
        return promises + tuple(Move(number, coins, event, bit) for event, bit in decisions)

    def _promises(self, number: int, part: int, coins: int, rebuilds: bool) -> Iterator[Move]:
        """What it may promise next, whatever part of the messages it has heard by then."""
        start = self.locals[number]
        if start.pending:  # the owner's own batch, the only record before anything was said
            for after in (self._base(start._replace(whole=False)), self._settle(number)):
                yield Move(self._number(after), coins, self._tale(after), 0)
            return
        stack = [(number, coins)]
        unsynced = self._unsynced(start)
        if unsynced is not None:
            stack.append((self._number(unsynced), coins))
        seen = set(stack)
        while stack:
            at, tossed = stack.pop()
            for event in self._events(self.locals[at], part, rebuilds):
                for move in self._step(at, event, tossed):
                    local = self.locals[move.local]
                    if local.pending and (unsynced is None or local.pending != unsynced.pending):
                        after = self._settle(move.local)
                        yield Move(self._number(after), move.coins, self._tale(after), 0)
                    elif local.decided < 0 and (move.local, move.coins) not in seen:
                        seen.add((move.local, move.coins))
                        stack.append((move.local, move.coins))

    def _unsynced(self, local: Local) -> Local | None:
        """The replica before the sync of its STATE of a later phase, if that is its last promise.

        By the time of the sync it may have heard more than n-f others, all of which then count in
        its vote (rule 5); one that restarts votes as soon as it has heard n-f. In phase 0 it may
        wait for the rest, and for rule 6 more votes than n-f give nothing that n-f do not.
        """
        phase = local.phase
        if not phase or phase == self.shape.phases or local.promised_vote == phase:
            return None
        value = local.durable.states[phase]
        promise = (StateRecord(OWNER, 0, 0, phase, value), State(OWNER, 0, 0, phase, value, 0))
        ones, zeros, *votes = local.heard[phase]
        others = ~(1 << local.me)
        heard = list(local.heard)
        heard[phase] = (ones & others, zeros & others, *votes)  # type: ignore[assignment]
        return local._replace(heard=tuple(heard), pending=(promise,))

    def _decisions(self, number: int, audible: int) -> Iterator[tuple[int, int]]:
        """What it may decide: on the votes of one phase for one value, or on everyone's STATE 1.

        (event, bit set of the value) of each.
        """
        if self.locals[number].pending:
            return
        for grounds in self._grounds():
            local = self.locals[number]
            for event in bits(audible & grounds):
                after = self.machine.step(local, event, 0)
                if after.decided >= 0:
                    yield self._say(f"decides {after.decided}"), 1 << after.decided
                    break
                if not after.pending:  # else it is a promise on the way, which `_promises` finds
                    local = after

    def _with(self, number: int, said: int) -> int:
        """The replica, having said this as well."""
        key = (number, said)
        known = self._spoken.get(key)
        if known is None:
            local = self.locals[number]
            known = self._spoken[key] = self._number(local._replace(said=local.said | said))
        return known

    # -- which messages are asked for --------------------------------------------------------------

    def _file(self) -> None:
        """Sort the messages that are new by what they may be good for."""
        for number in range(self._filed, len(self.machine.messages)):
            message = self.machine.messages[number][2]
            bit = 1 << number
            if isinstance(message, State):
                self._states[message.phase] |= bit
                if message.phase == 0 and message.value:
                    self._holds |= bit
            elif isinstance(message, Vote):
                self._votes[message.phase][message.value] |= bit
            elif isinstance(message, Hold):
                self._holds |= bit
            else:
                self._pays |= bit
        self._filed = len(self.machine.messages)

    def _needed(self, local: Local) -> int:
        """The messages on which the replica's next promise may rest."""
        if self._filed < len(self.machine.messages):
            self._file()
        phase = local.phase
        needed = self._pays
        if local.promised_vote >= phase:
            needed |= sum(self._votes[phase]) | self._holds
        else:
            needed |= self._states[phase] | (self._holds if phase == 0 else 0)
        return needed

    def _grounds(self) -> Iterator[int]:
        """Sets of messages that a decision may rest on."""
        yield self._holds
        for phase in range(PHASES):
            yield from self._votes[phase][:2]

    @property
    def _grounds_mask(self) -> int:
        mask = self._holds
        for phase in range(PHASES):
            mask |= self._votes[phase][0] | self._votes[phase][1]
        return mask

    # -- names -----------------------------------------------------------------------------------

    def _least(self, numbers: list[int], coins: int, decided: int, crashes: int) -> int:
        """Sorted: replicas that are not the owner differ in nothing but their logs, if inline."""
        if not self.shape.coded:
            alike = sorted(self._as(number, 1) for number in numbers[1:])
            numbers = [numbers[OWNER]]
            numbers += [self._as(number, place) for place, number in enumerate(alike, start=1)]
        return self.pack(numbers, coins, decided, crashes)

    def _as(self, number: int, name: int) -> int:
        """The same log at the replica of another name."""
        known = self._alike.get((number, name))
        if known is None:
            local = self.locals[number]
            renaming = list(range(self.quorum.total))
            renaming[local.me], renaming[name] = name, local.me
            renamed = self._rename_local(local, tuple(renaming))
            known = self._alike[number, name] = self._number(renamed)
        return known

    def _tale(self, after: Local) -> int:
        texts = [
            str(self.machine.messages[number][2])
            for number in bits(after.said & ~self._pays)
            if not isinstance(self.machine.messages[number][2], Pay)
        ]
        return self._say(f"writes and says {', '.join(texts)}" if texts else "forgets its batch")

    def _say(self, text: str) -> int:
        known = self._tale_numbers.get(text)
        if known is None:
            known = self._tale_numbers[text] = len(self._tales)
            self._tales.append(text)
        return known

    def describe(self, replica: int, event: int) -> str:
        return f"{replica} {self._tales[event]}"

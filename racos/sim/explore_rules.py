"""What one replica may promise or decide, by all it may have heard: production's own verdicts.

A production `Replica` stands in a phase, is given what was said there, and looks, with patience and
without (`local`). So the rules are asked and not written again. Two things are taken for granted,
which `forgetful` does not: that a verdict asks for holders only by whether they cover the batch,
and that all phases after the first have the same rules.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import Final, NamedTuple

from racos.core.messages import UNSURE, StateRecord, VoteRecord
from racos.sim.local import (
    BOTH_OVER,
    COVER_OVER,
    LOOK,
    PHASES,
    REST_OVER,
    Heard,
    Local,
    Machine,
    check_uncounted,
)

NOTHING: Final = -1  # in the place of a promise that was not made
VALUES: Final = (1, 0, UNSURE)
_PATIENCE: Final = (LOOK, REST_OVER, COVER_OVER, BOTH_OVER)
_SILENCE: Final = (0, 0, 0, 0, 0)


class Known(NamedTuple):
    """What a verdict rests on: bit sets of those who said 1, 0 and '?', and cover."""

    ones: int
    zeros: int
    unsure: int
    covered: bool


class Place(NamedTuple):
    """Which verdict is asked for: a vote (heard are states), or the next state (heard are votes).

    Without `own` the replica has promised nothing in this phase; then it may only decide.
    """

    votes: bool
    first: bool  # phase 0
    own: bool = True


class Verdict(NamedTuple):
    decides: bool  # or promises
    value: int


def known(said: tuple[int, ...], heard: tuple[int, ...], *, covered: bool) -> Known:
    """`said` by replica, as far as it comes from those `heard`."""
    ones, zeros, unsure = (sum(1 << i for i in heard if said[i] == value) for value in VALUES)
    return Known(ones, zeros, unsure, covered)


def subsets(members: list[int]) -> Iterator[tuple[int, ...]]:
    for size in range(len(members) + 1):
        yield from combinations(members, size)


class Rules:
    """Asks production, and remembers what it said."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._everyone = machine.quorum.everyone
        self._verdicts: dict[tuple[int, Place, Known, int], frozenset[Verdict]] = {}
        self._decided: dict[tuple[tuple[int, ...], bool], int] = {}

    def verdicts(self, me: int, place: Place, heard: Known, coin: int = 0) -> frozenset[Verdict]:
        """All that the replica may do about it, depending on its patience; empty if it waits."""
        key = (me, place, heard, coin)
        found = self._verdicts.get(key)
        if found is None:
            local = self._stand(me, place, heard)
            after = (self._machine.step(local, event, coin) for event in _PATIENCE)
            found = frozenset(verdict for each in after for verdict in _read(each))
            self._verdicts[key] = found
        return found

    def decisions(self, said: tuple[int, ...], *, first: bool) -> int:
        """Rule 6: bit set of the values that some of these votes of a phase decide."""
        key = (said, first)
        decided = self._decided.get(key)
        if decided is None:
            decided = 0
            place = Place(votes=True, first=first, own=False)
            for heard in subsets([i for i, value in enumerate(said) if value != NOTHING]):
                for verdict in self.verdicts(0, place, known(said, heard, covered=True)):
                    decided |= verdict.decides << verdict.value
            self._decided[key] = decided
        return decided

    def _stand(self, me: int, place: Place, heard: Known) -> Local:
        """A replica that stands there, and knows this."""
        phase = 0 if place.first else 1
        ones, zeros, unsure, covered = heard
        spoken: Heard = (0, 0, ones, zeros, unsure) if place.votes else (ones, zeros, 0, 0, 0)
        held = self._everyone if covered else -1  # all hold everything, or nobody is a holder
        return Local(
            me,
            known=True,
            recorded=True,
            stored=self._everyone,
            phase=phase,
            promised_state=phase,
            promised_vote=phase if place.votes and place.own else phase - 1,
            heard=tuple(spoken if at == phase else _SILENCE for at in range(PHASES + 1)),
            held=(held,) * self._machine.quorum.total,
        )


def _read(after: Local) -> Iterator[Verdict]:
    check_uncounted(after)
    if after.decided >= 0:
        yield Verdict(True, after.decided)
    for record, _ in after.pending:
        assert isinstance(record, StateRecord | VoteRecord), record
        yield Verdict(False, record.value)

"""Configuration epochs: which lanes are switched off, as a function of the round.

A change is a command in the log. Decided in a slot of round r, it holds from round r + W + 1 on.
Nobody says anything about a round more than W above the lowest one whose batches it has not all
handed out (`Window.within`); so everyone who speaks about a round has seen every change that can
matter to it, and the configuration of a round is the same everywhere without a message about it.
What lies beyond the window must not be asked: a change that is not known yet may be in force there.

A change names the epoch it is to follow, and comes to nothing if another one came before it. So
several replicas may propose the same, and a change that was under way for long does no harm.

The slots of a lane that is off are null by that. Its replica votes, holds fragments and counts as
before: n, f, k and all quorums are those of every epoch so far. What a change of membership (add,
remove, promote, replace a replica; a new n, f, k) needs beyond what is here:

- `Config` names the members and their quorum, and whoever counts answers takes the quorum of the
  slot's round (`agreement`, `slot`), fragments the code of the round they were written in;
- votes and next phases, too, wait until their round is within the window: a replica that restarted
  with an earlier frontier goes on with slots it spoke about before, whatever it knows of their
  configuration now, which is right only as long as quorums are the same;
- positions are no longer `round * n + lane` with one n for all rounds;
- probes of reads ask a quorum of every configuration in force between their rounds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Change(NamedTuple):
    """Switch a lane off or on; acts only where `epoch` is the newest one."""

    lane: int
    on: bool
    epoch: int


class Config(NamedTuple):
    """What holds from round `first` on, up to the next epoch."""

    epoch: int = 0
    first: int = 0
    off: int = 0  # bit set of lanes; never more than f


class Configs:
    """The epochs that rounds at or above the frontier may belong to, and those still to come.

    Invariant: epochs ascend without gaps, their first rounds without falling; never empty.
    """

    __slots__ = ("_delay", "_faults", "_known", "plain")

    def __init__(self, faults: int, delay: int, known: Sequence[Config] = (Config(),)) -> None:
        self._faults = faults  # f
        self._delay = delay  # W, the same for all replicas and for ever
        self._known = list(known)
        self.plain = not any(config.off for config in known)  # no lane is off in any of them

    @property
    def newest(self) -> Config:
        """The last one decided; perhaps not in force yet."""
        return self._known[-1]

    @property
    def known(self) -> tuple[Config, ...]:
        """All there are, for whoever keeps them."""
        return tuple(self._known)

    def at(self, round_: int) -> Config:
        """The configuration of a round: within the window, and not below what was forgotten."""
        for config in reversed(self._known):
            if config.first <= round_:
                return config
        raise ValueError(f"round {round_} is below the oldest configuration {self._known[0]}")

    def is_off(self, lane: int, round_: int) -> bool:
        return bool(self.at(round_).off >> lane & 1)

    def next_on(self, lane: int, round_: int) -> int | None:
        """The lowest round from this one on in which the lane is on; None if none is known."""
        if self.plain:
            return round_
        for config in self._known[self._known.index(self.at(round_)) :]:
            if not config.off >> lane & 1:
                return max(round_, config.first)
        return None

    def apply(self, change: Change, round_: int) -> Config | None:
        """A change was decided in a slot of this round: the epoch it begins, if it acts."""
        if not self.would_act(change):
            return None
        last = self.newest
        config = Config(last.epoch + 1, round_ + self._delay + 1, last.off ^ 1 << change.lane)
        self._known.append(config)
        self.plain = False
        return config

    def would_act(self, change: Change) -> bool:
        """Not if it follows another epoch, changes nothing, or would leave fewer than n-f lanes on:
        f replicas that fail could then leave nobody to propose.
        """
        last = self.newest
        is_on = not last.off >> change.lane & 1
        room = change.on or last.off.bit_count() < self._faults
        return change.epoch == last.epoch and change.on != is_on and room

    def forget_below(self, round_: int) -> None:
        """No round below this one will be asked for again."""
        while len(self._known) > 1 and self._known[1].first <= round_:
            del self._known[0]
        self.plain = not any(config.off for config in self._known)

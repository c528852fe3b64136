"""When to propose while other lanes propose, too: together, in one round.

What a replica pays for a round hardly depends on how many lanes have a batch in it: the frames and
syncs are the same. Under load the lanes would drift apart all the same, each proposing when its own
clients come back, in a round of its own. So a lane whose batches are large enough to be worth it
waits a little for a batch of another lane to come, and joins that one's round; the first whose
patience ends begins the next round for all. Safety never depends on when a batch is proposed.
"""

from __future__ import annotations

from typing import NamedTuple

_SMOOTHING = 0.1  # weight of the newest measurement


class Patience(NamedTuple):
    """How long a lane waits for others."""

    share: float = 0.5  # of the time from a proposal to its decision, as measured; 0: never
    seconds_max: float = 0.01
    commands_min: float = 4.0  # in a batch, on average; smaller ones go at once
    quiet: float = 3.0  # times of a decision without a batch of others: nobody is there to join


class Gathering:
    __slots__ = (
        "_commands",
        "_heard_at",
        "_heard_round",
        "_passed_round",
        "_patience",
        "_seconds",
        "_since",
    )

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._commands = 0.0  # in a batch
        self._seconds = 0.0  # from a proposal to its decision
        self._since = 0.0  # when the work came that waits now
        self._heard_at = float("-inf")
        self._heard_round = -1
        self._passed_round = -1  # up to here the own lane has proposed, or had nothing

    def heard(self, round_: int, now: float) -> None:
        """A batch of another lane came."""
        self._heard_at = now
        self._heard_round = max(self._heard_round, round_)

    def began(self, now: float) -> None:
        """Work came while none was waiting."""
        self._since = now
        self._passed_round = max(self._passed_round, self._heard_round)

    def proposed(self, round_: int, commands: int, now: float) -> None:
        self._commands += _SMOOTHING * (commands - self._commands)
        self._passed_round = round_
        self._since = now  # what waits already is the next batch's

    def decided(self, seconds: float) -> None:
        """So long after its proposal a batch of the own lane was decided."""
        self._seconds += _SMOOTHING * (seconds - self._seconds)

    def due(self, now: float) -> float:
        """When to propose what waits; not later than `now`: at once."""
        patience = self._patience
        alone = now - self._heard_at > patience.quiet * self._seconds
        if alone or self._commands < patience.commands_min:
            return now
        if self._heard_round > self._passed_round:
            return now  # others have begun a round that is still open here
        return self._since + min(patience.share * self._seconds, patience.seconds_max)

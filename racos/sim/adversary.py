"""A network that tries to split votes: it sees everything said so far, but not the next coin."""

from __future__ import annotations

import random

from racos.core.messages import UNSURE, Pay, State, Vote
from racos.node.wire import NodeMessage

_OFTEN = 0.4  # share of batches kept from a replica until it gives up on them


class Adversary:
    """Delays each message so that samples stay mixed.

    A batch is kept from some replicas until they say 0 about it. A state of which a receiver has
    already heard more than of the opposite comes late, so that its first n-f states have no
    majority; votes for 0 or 1 come late to half the receivers, after the '?'.
    """

    def __init__(self, source: random.Random, delay: float, late: float, suspect: float) -> None:
        self._source = source
        self._delay = delay
        self._late = late
        self._suspect = suspect
        self._heard: dict[tuple[int, int, int, int], list[int]] = {}
        self._kept: dict[tuple[int, int, int], float] = {}

    def delay(self, receiver: int, message: NodeMessage) -> float:
        """Seconds until this message reaches that receiver."""
        usual = self._delay * (0.5 + self._source.random())
        if isinstance(message, Pay):
            return usual + self._keep_batch(receiver, message)
        if isinstance(message, State):
            return usual + self._mix_states(receiver, message)
        if isinstance(message, Vote):
            if message.value != UNSURE and (receiver + message.first + message.phase) % 2:
                return usual + self._late
            return usual
        return usual

    def _keep_batch(self, receiver: int, pay: Pay) -> float:
        """The first time; a repeated batch comes through."""
        kept = self._source.random() < _OFTEN
        extra = self._suspect * (1 + self._source.random()) if kept else 0.0
        return self._kept.setdefault((receiver, pay.lane, pay.round), extra)

    def _mix_states(self, receiver: int, state: State) -> float:
        name = receiver, state.lane, state.first, state.phase
        heard = self._heard.setdefault(name, [0, 0])
        heard[state.value] += 1
        ahead = heard[state.value] > heard[1 - state.value]
        return self._late if ahead and sum(heard) > 1 else 0.0

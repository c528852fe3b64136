"""A network that tries to split votes: it sees everything said so far, but not the next coin."""

from __future__ import annotations

import random

from racos.core.messages import UNSURE, Pay, State, Vote
from racos.node.wire import NodeMessage

_OFTEN = 0.4  # share of batches kept from a replica until it gives up on them
_MOOD_MESSAGES = 400  # messages between two changes of mind


class Adversary:
    """Delays each message so that replicas know different things. Two moods, in turn:

    Split: a batch is kept from some replicas until they say 0 about it, and until then the others
    do not hear that it is elsewhere. A state of which a receiver has already heard more than of the
    opposite comes late, so that its first n-f states have no majority; only one replica per phase
    hears all in time and finds one. Its vote comes late to half the receivers, after the '?': if
    the coin falls the other way, the next phase is mixed again.

    Favour: one replica hears everything at once, and so decides fast; the others miss one
    replica's states for longer than their patience lasts, and hear late of what the favourite says.
    """

    def __init__(self, source: random.Random, total: int, late: float, suspect: float) -> None:
        self._source = source
        self._total = total
        self._late = late
        self._suspect = suspect
        self._heard: dict[tuple[int, int, int, int], list[int]] = {}
        self._kept: dict[tuple[int, int, int], float] = {}
        self._contested: set[tuple[int, int]] = set()  # slots kept from someone
        self._messages = 0
        self._favourite: int | None = None
        self._missed = 0

    def lateness(self, sender: int, receiver: int, message: NodeMessage) -> float:
        """By how many seconds this message comes later to that receiver than it might."""
        self._messages += 1
        if self._messages % _MOOD_MESSAGES == 0:
            self._change_mood()
        if self._favourite is not None:
            return self._favour(self._favourite, sender, receiver, message)
        if isinstance(message, Pay):
            return self._keep_batch(receiver, message)
        if isinstance(message, State):
            return self._mix_states(receiver, message)
        if isinstance(message, Vote):
            late = message.value != UNSURE and (receiver + message.first + message.phase) % 2
            return late * self._late
        return 0.0

    def _change_mood(self) -> None:
        self._favourite = None
        if self._total > 2 and self._source.random() < 0.5:
            self._favourite, self._missed = self._source.sample(range(self._total), 2)

    def _favour(self, favourite: int, sender: int, receiver: int, message: NodeMessage) -> float:
        if isinstance(message, Pay) or receiver == favourite:
            return 0.0
        if sender == favourite or (sender == self._missed and isinstance(message, State)):
            return self._late * (3 + 3 * self._source.random())
        return 0.0

    def _keep_batch(self, receiver: int, pay: Pay) -> float:
        """The first time; a repeated batch comes through."""
        kept = self._source.random() < _OFTEN
        extra = self._suspect * (2 + 2 * self._source.random()) if kept else 0.0
        if kept:
            self._contested.add((pay.lane, pay.round))
        return self._kept.setdefault((receiver, pay.lane, pay.round), extra)

    def _mix_states(self, receiver: int, state: State) -> float:
        if state.phase == 0 and state.value and (state.lane, state.first) in self._contested:
            return self._suspect * 3 + self._late
        if receiver == (state.lane + state.first + state.phase) % self._total:
            return 0.0
        name = receiver, state.lane, state.first, state.phase
        heard = self._heard.setdefault(name, [0, 0])
        heard[state.value] += 1
        ahead = heard[state.value] > heard[1 - state.value]
        return self._late if ahead and sum(heard) > 1 else 0.0

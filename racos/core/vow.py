"""A replica that has lost its memory never speaks of a round in which it may have spoken before.

It is silent everywhere until it knows how far it may have spoken, and then for good about the
rounds up to there (docs/protocol.md, a replica without memory, argues why that is enough). To find
out it asks the others:

- f+1 others that have their memory say how high a round they know of. Whatever this replica said
  in an earlier life lies at most `SPAN_WINDOWS` windows above the highest of these rounds.
- Where f others are as fresh as this one, all at one moment, nobody has said anything yet: at most
  f are without memory, or were never there, once a cluster has begun. That moment is proven by two
  answers of each around it; or by the word of one who saw such a moment, this replica among them.

A directory is named by a number drawn when it was made. Questions carry it, so an answer to an
earlier life, or one about a directory that is gone, counts for nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from racos.core.lanes import REACH_WINDOWS
from racos.core.messages import VowReply, VowRequest

FOREVER: Final = 1 << 62
NOTHING: Final = -1  # no round is withheld
ASK_SECONDS = 0.2
# Rounds that anybody used, reserved or saw lie at most REACH_WINDOWS above the highest open round
# of all; that one is at most one above what an answer names.
SPAN_WINDOWS = REACH_WINDOWS + 1


class Memory(NamedTuple):
    """What a replica's disk says of its vow. The default: it has its memory, and always had."""

    nonce: int = 0  # names the directory
    fresh: bool = False  # not kept yet, and nothing was ever there that may have been lost
    kept: bool = True  # whatever may have been said before lies at or below `upto`
    upto: int = NOTHING  # the highest round about which nothing is said, if it is known
    met: tuple[int, ...] = ()  # fresh directories with which this one saw that the cluster is new


class Vow:
    """One replica's vow, and what it knows of the others on the way to it."""

    __slots__ = (
        "_asked_at",
        "_begun",
        "_faults",
        "_first_fresh",
        "_known",
        "_last_fresh",
        "_nonces",
        "_number",
        "_rounds_max",
        "memory",
        "silent",
        "upto",
    )

    def __init__(self, faults: int, rounds_max: int, memory: Memory = Memory()) -> None:  # noqa: B008 (a constant)
        self._faults = faults
        self._rounds_max = rounds_max
        self.memory = memory
        self.silent = not memory.kept  # whether this replica says nothing at all
        # The round of the vow: None as long as it is not known.
        is_known = memory.kept or memory.upto != NOTHING
        self.upto: int | None = memory.upto if is_known else None
        self._asked_at: float | None = None
        self._number = 0  # of the last question
        self._known: dict[int, int] = {}  # peers with memory: their highest answer
        # Fresh peers: the first question sent after one answered so, the last answered so.
        self._first_fresh: dict[int, int] = {}
        self._last_fresh: dict[int, int] = {}
        self._nonces: dict[int, int] = {}  # of fresh peers
        self._begun = False  # the cluster has, and without this directory

    @property
    def silent_upto(self) -> int:
        """The highest round about which nothing is said."""
        return self.memory.upto if self.memory.kept else FOREVER

    def question(self, now: float) -> VowRequest | None:
        """What to ask all others now, if it is time: also to tell them that this one is silent."""
        if not self.silent:
            return None
        if self._asked_at is not None and now - self._asked_at < ASK_SECONDS:
            return None
        self._asked_at = now
        self._number += 1
        upto = NOTHING if self.upto is None else self.upto
        return VowRequest(self.memory.nonce, self._number, upto)

    def answer(self, request: VowRequest, highest: Callable[[], int]) -> VowReply:
        """What this replica can say; `highest` gives the highest round it knows of."""
        memory = self.memory
        fresh = self.silent and memory.fresh
        met = request.nonce in memory.met
        round_ = NOTHING if self.silent else highest()
        return VowReply(request.nonce, request.number, memory.nonce, fresh, met, round_)

    def heard(self, sender: int, reply: VowReply) -> None:
        """An answer; it may settle the vow (`upto`)."""
        if reply.nonce != self.memory.nonce or self.upto is not None:
            return
        if reply.fresh:
            self._note_fresh(sender, reply)
        else:
            self._first_fresh.pop(sender, None)
        if reply.round >= 0:
            self._known[sender] = max(reply.round, self._known.get(sender, 0))
            self._begun |= not reply.met
        if self.memory.fresh and not self._begun and (reply.met or self._is_new()):
            self.upto = NOTHING
        elif len(self._known) > self._faults:
            self.upto = max(self._known.values()) + SPAN_WINDOWS * self._rounds_max

    def _note_fresh(self, sender: int, reply: VowReply) -> None:
        if self._nonces.get(sender) != reply.own:
            self._nonces[sender] = reply.own
            self._first_fresh.pop(sender, None)
        if sender not in self._first_fresh:
            self._first_fresh[sender] = self._number + 1
            self._asked_at = None  # again at once: two answers are needed
        self._last_fresh[sender] = reply.number

    def _is_new(self) -> bool:
        """Whether f others and this one were fresh at one moment: when some question was sent."""
        around = [
            peer
            for peer, first in self._first_fresh.items()
            if first <= self._number <= self._last_fresh[peer]
        ]
        return len(around) >= self._faults

    def kept(self) -> Memory:
        """What the disk has to say before this replica speaks again: see `keep`."""
        assert self.upto is not None, "the vow is not known"
        met = tuple(self._nonces[peer] for peer in self._first_fresh)
        return self.memory._replace(
            fresh=False, kept=True, upto=self.upto, met=met if self.upto == NOTHING else ()
        )

    def keep(self, memory: Memory) -> None:
        """The disk says so: from now on this replica speaks of the rounds above."""
        assert memory.kept
        self.memory = memory
        self.silent = False

    def awaited(self) -> str:
        """Why the vow is not known yet, for a person."""
        fresh, known = len(self._first_fresh), len(self._known)
        text = f"{known} of {self._faults + 1} others with their memory have answered"
        if not self.memory.fresh or self._begun:
            return text
        return f"{text}, and {fresh} of {self._faults} as new as this one"

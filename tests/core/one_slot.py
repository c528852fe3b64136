"""Random runs of one slot alone: the rules of `slot`, n replicas, crashes for good, lost messages.

Much smaller than the whole core, so that thousands of runs fit into a second, and what needs many
coincidences is found: a decision that contradicts another, or one that f losses destroy. Patience,
absence and the coin are random: none of them may matter to safety. Every promise is durable at
once; restarts, lanes and reads are left to the schedules.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import combinations
from typing import NamedTuple

from racos.core.messages import UNSURE, Payload
from racos.core.quorum import Quorum
from racos.core.slot import Need, Slot, decision, next_state, vote

Verdict = int | Need


class Rules(NamedTuple):
    """What is under test; seeded bugs replace one of them."""

    vote: Callable[..., Verdict] = vote
    next_state: Callable[..., Verdict] = next_state
    decision: Callable[[Slot, Quorum], int | None] = decision


class Said(NamedTuple):
    kind: str  # state, vote or hold
    sender: int
    receiver: int
    phase: int
    value: int
    held: int


class OneSlot:
    def __init__(self, quorum: Quorum, seed: int, rules: Rules) -> None:
        self.quorum = quorum
        self.rules = rules
        self.choose = random.Random(seed)
        self.slots = [Slot(0, quorum.total) for _ in range(quorum.total)]
        self.held = [0] * quorum.total  # durable fragments
        self.alive = set(range(quorum.total))
        self.flight: list[Said] = []
        self.coins: list[int] = []
        self.decided: int | None = None
        reach = self.choose.choice([0.3, 0.7, 1.0])
        for replica in range(quorum.total):
            if replica == 0 or self.choose.random() < reach:
                self.store(replica, quorum.share(replica, 1))

    def run(self, steps: int) -> None:
        for _ in range(steps):
            replica = self.choose.choice(sorted(self.alive))
            action = self.choose.random()
            if action < 0.55:
                self.deliver()
            elif action < 0.85:
                self.advance(replica)
            elif action < 0.92:
                self.widen(replica)
            elif action < 0.97:
                self.say_zero(replica)
            elif len(self.alive) > self.quorum.answers:
                self.alive.remove(replica)

    def deliver(self) -> None:
        if not self.flight:
            return
        said = self.flight.pop(self.choose.randrange(len(self.flight)))
        if said.receiver in self.alive and self.choose.random() < 0.8:
            self.hear(said)

    def hear(self, said: Said) -> None:
        slot = self.slots[said.receiver]
        if said.held:
            slot.add_holder(said.sender, said.held)
        if said.kind == "state":
            slot.at(said.phase).add_state(said.sender, said.value)
        elif said.kind == "vote":
            slot.at(said.phase).add_vote(said.sender, said.value)

    def say(self, kind: str, replica: int, phase: int = 0, value: int = 0) -> None:
        held = self.held[replica]
        for receiver in range(self.quorum.total):
            said = Said(kind, replica, receiver, phase, value, held)
            if receiver == replica:
                self.hear(said)
            else:
                self.flight.append(said)

    def store(self, replica: int, fragments: int) -> None:
        """Rule 1."""
        slot = self.slots[replica]
        self.held[replica] |= fragments
        slot.payload = Payload(b"x", coded=True)
        if slot.promised_state < 0:
            slot.promised_state = 0
            self.say("state", replica, 0, 1)
        else:
            self.say("hold", replica)

    def say_zero(self, replica: int) -> None:
        """Rule 2."""
        slot = self.slots[replica]
        if slot.promised_state < 0:
            slot.promised_state = 0
            self.say("state", replica, 0, 0)

    def widen(self, replica: int) -> None:
        """Rebuild some of the own share, if k fragments are to be had."""
        union = 0
        for other in self.alive:
            union |= self.held[other]
        if union.bit_count() >= self.quorum.data:
            width = self.choose.randint(1, self.quorum.data)
            self.store(replica, self.quorum.share(replica, width))

    def advance(self, replica: int) -> None:
        slot, choose = self.slots[replica], self.choose
        if slot.decided is not None:
            return
        slot.decided = self.rules.decision(slot, self.quorum)
        if slot.decided is not None:
            self.check(slot.decided)
        elif slot.promised_vote < slot.phase:
            verdict = self.rules.vote(
                slot,
                self.quorum,
                replica,
                absent=choose.randrange(self.quorum.everyone + 1),
                wait_rest=choose.random() < 0.5,
                wait_cover=choose.random() < 0.5,
            )
            if not isinstance(verdict, Need):
                slot.promised_vote = slot.phase
                self.say("vote", replica, slot.phase, verdict)
        else:
            self.enter_next(replica, slot)

    def enter_next(self, replica: int, slot: Slot) -> None:
        while len(self.coins) <= slot.phase:
            self.coins.append(self.choose.randrange(2))
        wait = self.choose.random() < 0.5
        coin = self.coins[slot.phase]
        verdict = self.rules.next_state(slot, self.quorum, replica, coin, wait_cover=wait)
        if not isinstance(verdict, Need):
            slot.phase += 1
            slot.promised_state = slot.phase
            self.say("state", replica, slot.phase, verdict)

    def check(self, value: int) -> None:
        assert self.decided in (None, value), f"decided {self.decided} and {value}"
        self.decided = value
        if value:
            for lucky in combinations(self.held, self.quorum.answers):
                union = 0
                for mask in lucky:
                    union |= mask
                assert union.bit_count() >= self.quorum.data, f"decided 1, held {self.held}"


# Seeded bugs: each is one rule without the part that looks as if it could be left out.


def unsure_without_a_zero(
    slot: Slot, quorum: Quorum, me: int, *, absent: int, wait_rest: bool, wait_cover: bool
) -> Verdict:
    """Rule 4 as if '?' were always a way out."""
    verdict = vote(slot, quorum, me, absent=absent, wait_rest=wait_rest, wait_cover=wait_cover)
    return UNSURE if verdict is Need.COVER and not wait_cover else verdict


def coin_one_without_cover(
    slot: Slot, quorum: Quorum, me: int, coin: int, *, wait_cover: bool
) -> Verdict:
    """Rule 6 as if the coin were enough."""
    verdict = next_state(slot, quorum, me, coin, wait_cover=wait_cover or bool(coin))
    return 1 if verdict is Need.COVER else verdict


def fast_decision_of_a_quorum(slot: Slot, quorum: Quorum) -> int | None:
    """Rule 3 as if n-f were enough."""
    if slot.phases[0].ones.bit_count() >= quorum.answers and slot.covered(quorum):
        return 1
    return decision(slot, quorum)


def decision_of_f_votes(slot: Slot, quorum: Quorum) -> int | None:
    """Rule 6 as if f votes were enough."""
    for phase in slot.phases:
        for votes, value in ((phase.vote_ones, 1), (phase.vote_zeros, 0)):
            if votes and votes.bit_count() >= quorum.faults:
                return value
    return decision(slot, quorum)


def vote_one_without_cover(
    slot: Slot, quorum: Quorum, me: int, *, absent: int, wait_rest: bool, wait_cover: bool
) -> Verdict:
    """Rule 4 as if a majority of ones were enough."""
    verdict = vote(slot, quorum, me, absent=absent, wait_rest=wait_rest, wait_cover=wait_cover)
    return 1 if verdict is Need.COVER else verdict

"""Drives the slot at the frontier: asks `slot` what may be said, and writes it down.

As published there is one pipe: a replica speaks only in the lowest slot it has not passed.
"""

from __future__ import annotations

from collections.abc import Mapping

from racos.core.ballots import NONE, PROPOSAL, Ballot, is_state, phase_of
from racos.core.coin import coin
from racos.core.outbox import Outbox
from racos.core.peers import Peers
from racos.core.quorum import Quorum, bits
from racos.queue.pool import Pool
from racos.queue.slot import (
    Slot,
    Wait,
    Word,
    decision,
    first_state,
    holders_needed,
    next_state,
    phases,
    vote,
)

GRACE_SECONDS = 0.02  # for a batch under way, before "nothing" is proposed (correction D4)
REST_SECONDS = 0.05  # for the remaining proposals once n-f are there; as published: none
RETRY_SECONDS = 0.02  # between slots begun for what failed often; doubles
RETRY_SECONDS_MAX = 0.25


class Agreement:
    __slots__ = (
        "_last",
        "_me",
        "_nulls",
        "_outbox",
        "_peers",
        "_pool",
        "_quorum",
        "_retry_at",
        "_secret",
        "frontier",
        "highest_one",
        "highest_slot",
        "now",
        "open",
        "rest_seconds",
        "statistics",
    )

    def __init__(
        self, me: int, quorum: Quorum, secret: bytes, outbox: Outbox, peers: Peers, pool: Pool
    ) -> None:
        self._me = me
        self._quorum = quorum
        self._secret = secret
        self._outbox = outbox
        self._peers = peers
        self._pool = pool
        self.now = 0.0
        self.frontier = 0  # every slot below is decided and handed out for applying
        self.highest_slot = -1  # highest one seen in use
        self.highest_one = -1  # highest one said or known to be 1: the read barrier's answer
        self._nulls = 0  # null slots in a row
        self._retry_at = 0.0
        self._last: Mapping[int, int] = {}  # proposals of the last slot, if that became null
        self.rest_seconds = REST_SECONDS
        self.open: dict[int, Slot] = {}  # at or above the frontier
        self.statistics = {"voted_one": 0, "voted_zero": 0, "phases": 0}

    def slot(self, number: int) -> Slot:
        """A slot at or above the frontier, made on first use."""
        return self.open.setdefault(number, Slot(number))

    def resume(self, said: list[Ballot]) -> None:
        """Own words found in the log: repeated, never contradicted."""
        for ballot in said:
            slot = self.slot(ballot.slot)
            slot.hear(self._me, ballot)
            slot.said = max(slot.said, ballot.step)
            self.highest_slot = max(self.highest_slot, ballot.slot)

    def advance(self) -> int | None:
        """Say what may be said at the frontier; its decision (a name or NONE) if there is one."""
        slot = self.open.get(self.frontier)
        if slot is None:
            if self.frontier > self.highest_slot and not self._worth_a_slot():
                return None
            slot = self.slot(self.frontier)
        if slot.decided is None:
            slot.decided = decision(slot, self._quorum)
            if slot.decided is not None:
                kind = "voted_zero" if slot.decided == NONE else "voted_one"
                self.statistics[kind] += 1
                self.statistics["phases"] += phases(slot)
                if len(slot.at(PROPOSAL)) == self._quorum.total:
                    self._peers.all_in_time()
        if slot.decided is None:
            self._speak(slot)
        return slot.decided

    def passed(self) -> Slot:
        """Step over the slot at the frontier, which is decided."""
        slot = self.open.pop(self.frontier)
        self._nulls = self._nulls + 1 if slot.decided == NONE else 0
        self._retry_at = self.now + min(
            RETRY_SECONDS * 2 ** min(self._nulls, 10), RETRY_SECONDS_MAX
        )
        self._last = {}
        if slot.decided == NONE:
            self._last = slot.proposed()
            self._pool.count_tries(self._last)
        else:
            self.highest_one = max(self.highest_one, slot.number)
        self.highest_slot = max(self.highest_slot, self.frontier)
        self.frontier += 1
        return slot

    def _worth_a_slot(self) -> bool:
        """Whether to begin a slot that nobody has begun: at once for a batch with prospects, now
        and then for what may be an orphan."""
        name = self._pool.head(self._last, self.frontier)
        return name != NONE and (self._pool.is_hopeful(name) or self.now >= self._retry_at)

    def _speak(self, slot: Slot) -> None:
        """This replica's next word, if its last one is durable and enough of the others came."""
        if slot.said < PROPOSAL:
            self._maybe_propose(slot)
        elif self._me in slot.at(slot.said):
            word = self._next_word(slot)
            if word is Wait.REST and slot.rest_since is None:
                slot.rest_since = self.now
            if not isinstance(word, Wait):
                self._say(slot, slot.said + 1, word)

    def _next_word(self, slot: Slot) -> Word | Wait:
        said = slot.said
        if said == PROPOSAL:
            return self._first_state(slot)
        if is_state(said):
            return vote(slot, self._quorum, said)
        return next_state(slot, self._quorum, said, coin(self._secret, slot.number, phase_of(said)))

    def _maybe_propose(self, slot: Slot) -> None:
        name = self._pool.head(self._last, self.frontier)
        if name == NONE:
            if slot.idle_since is None:
                slot.idle_since = self.now
            best, count = slot.best()
            if count < self._need(best) and self.now - slot.idle_since < GRACE_SECONDS:
                return
        self._say(slot, PROPOSAL, (0 if name == NONE else 1, name))

    def _first_state(self, slot: Slot) -> Word | Wait:
        waited = 0.0 if slot.rest_since is None else self.now - slot.rest_since
        patient = waited < self.rest_seconds
        absent = self._peers.absent(self.now)
        if not patient:
            heard = sum(1 << sender for sender in slot.at(PROPOSAL))
            for peer in bits(self._quorum.everyone & ~heard & ~absent):
                self._peers.mark_slow(peer, self.now)
        need = self._need(slot.best()[0])
        return first_state(slot, self._quorum, need, absent, patient=patient)

    def _need(self, name: int) -> int:
        """An unknown batch might be coded: then only more proposals are asked for."""
        batch = self._pool.batches.get(name)
        return holders_needed(self._quorum, coded=batch is None or batch.payload.coded)

    def _say(self, slot: Slot, step: int, word: Word) -> None:
        slot.said = step
        ballot = Ballot(slot.number, step, *word)
        self._outbox.promise(ballot, ballot)

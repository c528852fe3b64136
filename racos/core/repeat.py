"""Saying again what was said: to a replica that is stuck, or whose connection is new.

Only facts that are durable here, or that others vouched for: own promises that count already,
batches and links at hand, and who is known to hold what (a HOLD that only one replica heard may be
what another needs to see that a batch is covered).
"""

from __future__ import annotations

from racos.core.messages import UNSURE, Decide, Hold, Pay, Payload, State, Vote
from racos.core.outbox import Outbox
from racos.core.quorum import Quorum
from racos.core.slot import Phase, Slot
from racos.core.window import Window


class Repeater:
    __slots__ = ("_me", "_outbox", "_quorum", "_window")

    def __init__(self, me: int, quorum: Quorum, window: Window, outbox: Outbox) -> None:
        self._me = me
        self._quorum = quorum
        self._window = window
        self._outbox = outbox

    def say_all(self, peer: int, span: int = 1 << 62) -> None:
        """Tell one replica about the slots from the frontier on, at most `span` of them."""
        for lane in self._window.lanes:
            for link in lane.proofs():
                self._outbox.send(peer, link)
        end = self._window.frontier + span
        for position, slot in sorted(self._window.slots.items()):
            if position < end:
                self._say_slot(peer, slot)

    def _say_slot(self, peer: int, slot: Slot) -> None:
        lane, round_ = slot.lane, slot.round
        if slot.payload is not None and slot.decided != 0 and peer not in slot.held:
            self._say_batch(peer, slot, slot.payload)
        if slot.decided is not None:
            self._outbox.send(peer, Decide(lane, round_, round_, slot.decided))
            return
        for holder, fragments in slot.held.items():
            if holder != peer and fragments:
                self._outbox.send(peer, Hold(lane, round_, holder, fragments))
        for number, phase in enumerate(slot.phases):
            self._say_phase(peer, slot, number, phase)

    def _say_phase(self, peer: int, slot: Slot, number: int, phase: Phase) -> None:
        """Own promises of one phase."""
        lane, round_, bit = slot.lane, slot.round, 1 << self._me
        if phase.states & bit:
            held = slot.held.get(self._me, 0)
            value = 1 if phase.ones & bit else 0
            self._outbox.send(peer, State(lane, round_, round_, number, value, held))
        if phase.votes & bit:
            value = 1 if phase.vote_ones & bit else 0 if phase.vote_zeros & bit else UNSURE
            self._outbox.send(peer, Vote(lane, round_, round_, number, value))

    def _say_batch(self, peer: int, slot: Slot, payload: Payload) -> None:
        """The batch once more; a coded one with the peer's share if that is at hand."""
        share = self._quorum.share(peer, max(1, slot.cover_width))
        if payload.coded:
            share &= sum(1 << index for index in payload.fragments)
        self._outbox.send(peer, Pay(slot.lane, slot.round, slot.round - 1, payload, share))

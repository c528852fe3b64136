"""The facade: one replica of the queue engine, synchronous, without I/O, clock or randomness.

Fed and carried out exactly like `racos.core.replica.Replica` (see `racos.core.engine`). Where a
position names a batch, it is the batch's name here; where it is a place in the order, a slot.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from racos.core.ballots import NONE, PROPOSAL, Ballot, Pull, Settled, is_state
from racos.core.config import Change, Config, Configs
from racos.core.effects import Chunk, Effects
from racos.core.messages import (
    AppliedRecord,
    Ask,
    Beat,
    Message,
    Pay,
    Payload,
    PayRecord,
    Probe,
    ProbeReply,
    ReserveRecord,
)
from racos.core.outbox import ALL, Outbox
from racos.core.peers import Peers
from racos.core.reads import Barrier
from racos.core.replica import Settings
from racos.queue.agreement import Agreement
from racos.queue.fetches import Fetches
from racos.queue.pool import Batch, Pool, Stamps
from racos.queue.recovery import Recovered

STEPS_MAX = 2000  # a word of a later step is not believed
RECENT_SLOTS_MAX = 256  # decisions kept for whoever still speaks about them
RESERVE_BLOCK_STAMPS = 64


class Window:
    """The agreement's progress under the names that the driver knows."""

    __slots__ = ("_agreement", "slots")

    def __init__(self, agreement: Agreement, batches: Mapping[int, Batch]) -> None:
        self._agreement = agreement
        self.slots = batches  # not applied, by name

    @property
    def frontier(self) -> int:
        return self._agreement.frontier

    @property
    def round(self) -> int:
        """A slot is a round of its own here."""
        return self._agreement.frontier

    def forget_below(self, position: int) -> None:
        """All history is kept."""


class QueueReplica:
    def __init__(self, settings: Settings, now: float, recovered: Recovered | None = None) -> None:
        quorum = settings.quorum
        past = recovered or Recovered(quorum.total)
        assert quorum.data + 2 * quorum.faults <= quorum.total, "published: n >= 2f + k"
        self.settings = settings
        self.quorum = quorum
        self.me = settings.lane
        self.outbox = Outbox()
        self.peers = Peers(quorum.total, self.me, settings.suspect_after, now)
        self.configs = Configs(quorum.faults, settings.rounds_max)  # one, for ever
        self.barrier = Barrier(quorum.answers, settings.incarnation << 32)
        self.pool = Pool(self.me, quorum.total, past.settlement)
        self.agreement = Agreement(
            self.me, quorum, settings.secret, self.outbox, self.peers, self.pool
        )
        self.window = Window(self.agreement, self.pool.batches)
        self.fetches = Fetches(self.outbox, settings.ask_after, settings.ask_every)
        self.stamps = Stamps(RESERVE_BLOCK_STAMPS, past.reserved)
        self._recent: dict[int, int] = {}  # slot -> name of what was decided
        self._applied: list[tuple[int, Payload]] = []
        self._ones: list[int] = []  # the slots of `_applied`
        self._applied_from = past.frontier
        self._rejected: list[tuple[int, Payload]] = []
        self._rebuilds: list[tuple[int, int]] = []
        self._serves: list[tuple[int, int]] = []
        self._reservations: list[tuple[int, int]] = []  # (token, upto)
        self._stuck_at = -1
        self._stuck_since = self._asked_at = now
        self._beat_at = now - settings.beat_every
        self._set_clock(now)
        self._resume(past)

    def _resume(self, past: Recovered) -> None:
        """Stand where the log says this replica stood."""
        agreement = self.agreement
        agreement.frontier, agreement.highest_slot = past.frontier, past.frontier - 1
        agreement.highest_one = past.highest_one
        for name, held in sorted(past.slots.items()):
            assert held.payload is not None
            batch = self.pool.find_or_add(name, held.payload)
            if batch is not None:
                batch.recorded, batch.stored = True, held.held
                self._want(batch)
        for _, said in sorted(past.ballots.items()):
            agreement.resume(said)

    @property
    def now(self) -> float:
        return self.agreement.now

    @property
    def highest_round(self) -> int:
        """Highest slot seen in use."""
        return self.agreement.highest_slot

    # -- inputs ----------------------------------------------------------------------------------

    def _set_clock(self, now: float) -> None:
        self.agreement.now = self.outbox.now = now

    def tick(self, now: float) -> None:
        """Time has passed. Call every few milliseconds, and before other inputs of a turn."""
        if now - self.now > self.settings.suspect_after / 2:
            self.peers.forgive(now)  # it was this replica that was away
        self._set_clock(now)
        self._maybe_ask()
        self.fetches.tick(now)
        self.barrier.expire(now, self.settings.probe_again)
        if now - self._beat_at >= self.settings.beat_every:
            self._beat_at = now
            self.outbox.send(ALL, self._beat())

    def _beat(self) -> Beat:
        return Beat(self.highest_round, self.window.frontier)  # claims no fragments: none is pruned

    def peer_up(self, peer: int) -> None:
        """A connection to the peer stands: say again what it may have missed."""
        self.peers.heard(peer, self.now)
        self.outbox.send(peer, self._beat())
        self._say_words(peer)
        for batch in self.pool.batches.values():
            if batch.lane == self.me:
                self._send_batch(peer, batch)

    def peer_down(self, peer: int) -> None:
        self.peers.became_down(peer)

    def receive(self, sender: int, message: Message) -> None:
        """A message from another replica (or, from `persisted`, this replica's own promise)."""
        if sender != self.me:
            self.peers.heard(sender, self.now)
        handler = self._handlers.get(type(message))
        if handler is not None:  # one of the lanes' messages means nothing here
            handler(self, sender, message)

    def propose(self, payload: Payload) -> int | None:
        """Queue a batch, with all its fragments, everywhere; its name, or None (see
        `can_propose`)."""
        stamp = self.stamps.free(self.pool.highest_stamp)
        if stamp is None or not self.pool.has_room:
            return None
        self.stamps.next = stamp + 1
        batch = self.pool.find_or_add(stamp * self.quorum.total + self.me, payload)
        assert batch is not None, "there is room, and the name is new"
        for peer in range(self.quorum.total):
            if peer != self.me:
                self._send_batch(peer, batch)
        self._accept(batch, payload, 1 << self.me)
        return batch.name

    def can_propose(self) -> bool:
        """Whether `propose` would find a stamp that is reserved, and room in the queue."""
        return self.stamps.free(self.pool.highest_stamp) is not None and self.pool.has_room

    def read(self, ticket: int) -> None:
        """A linearizable read arrived; its ticket comes back in Effects.reads when it may go."""
        self.barrier.add(ticket)

    def persisted(self, token: int) -> None:
        """What was sealed up to this token is durable: its promises are said, and count here."""
        agreement = self.agreement
        for message in self.outbox.durable(token):
            if isinstance(message, Ballot) and is_state(message.step) and message.value == 1:
                agreement.highest_one = max(agreement.highest_one, message.slot)
            self.outbox.send(ALL, message)
            self.receive(self.me, message)
        while self._reservations and self._reservations[0][0] <= token:
            self.stamps.reserved_durable = self._reservations.pop(0)[1]

    def rebuilt(self, position: int, payload: Payload, held: int) -> None:
        """The node rebuilt fragments that `Effects.rebuilds` asked for."""
        batch = self.pool.batches.get(position)
        if batch is not None:
            self._accept(batch, payload, held)

    def change(self, position: int, change: Change) -> Config | None:
        """There are no lanes to switch off here: it comes to nothing, on all replicas alike."""

    def install(self, sender: int, chunk: Chunk) -> None:
        """Decided history from a peer that is ahead; asks it for more while it still is."""
        frontier = self.window.frontier
        if not chunk.start <= frontier < chunk.end or len(chunk.names) != len(chunk.batches):
            return
        self.peers.heard(sender, self.now)
        batches = {
            slot: (name, payload)
            for (slot, payload), name in zip(chunk.batches, chunk.names, strict=True)
        }
        for number in range(frontier, chunk.end):
            if number < self.window.frontier:
                continue  # decided here already, and passed meanwhile
            name, payload = batches.get(number, (NONE, None))
            slot = self.agreement.slot(number)
            if slot.decided is None:
                slot.decided = name
            if payload is not None:
                self.pool.find_or_add(name, payload, decided=True)
            self._advance_frontier()
        self._saw(chunk.end - 1)
        self.peers.frontiers[sender] = chunk.frontier
        if self.window.frontier < chunk.frontier:
            self._asked_at = self.now
            self.outbox.send(sender, Ask(self.window.frontier))

    # -- effects ---------------------------------------------------------------------------------

    def take_effects(self) -> Effects:
        """What this turn wants done."""
        self._advance_frontier()
        self._reserve()
        self._probe()
        self._note_applied()
        sealed = self.outbox.seal()
        effects = Effects(
            sealed.records,
            sealed.token,
            sealed.sends,
            self._applied,
            self._rejected,
            self._rebuilds,
            self._serves,
            self.barrier.take_ready(self.window.frontier),
            None,
        )
        self._applied, self._rejected, self._rebuilds, self._serves = [], [], [], []
        return effects

    def _advance_frontier(self) -> None:
        """Hand out every batch whose turn it is, and go on with the next slot."""
        while (name := self.agreement.advance()) is not None:
            batch = self.pool.batches.get(name)
            if name != NONE:
                if batch is None:
                    self.fetches.want(name, ALL, self.now)
                    return  # decided, but what? (correction D6: asked for, not waited for)
                self._hand_out(batch)
            self.agreement.passed()
            self._recent[self.window.frontier - 1] = name
            if len(self._recent) > RECENT_SLOTS_MAX:
                del self._recent[next(iter(self._recent))]

    def _hand_out(self, batch: Batch) -> None:
        if not batch.recorded:
            lane, stamp = batch.lane, batch.round
            self.outbox.record(PayRecord(lane, stamp, batch.payload, batch.stored, False))
        self._applied.append((batch.name, batch.payload))
        self._ones.append(self.window.frontier)
        self.pool.settle(batch.name)
        self.fetches.forget(self.pool.settlement.covers)
        for dead in self.pool.take_dead():
            if dead.lane == self.me:
                self._rejected.append((dead.name, dead.payload))

    def _note_applied(self) -> None:
        frontier = self.window.frontier
        if frontier > self._applied_from:
            names = tuple(name for name, _ in self._applied)
            ones = tuple(self._ones)
            self.outbox.record(AppliedRecord(self._applied_from, frontier, ones, names))
            self._applied_from = frontier
            self._ones = []

    def _reserve(self) -> None:
        upto = self.stamps.wanted_reservation(self.pool.highest_stamp)
        if upto is not None:
            self.outbox.record(ReserveRecord(upto))
            self._reservations.append((self.outbox.token + 1, upto))

    def _probe(self) -> None:
        number = self.barrier.next_probe(self.now)
        while number is not None:
            self.outbox.send(ALL, Probe(number))
            self._answer(self.me, number, self.agreement.highest_one)
            number = self.barrier.next_probe(self.now)

    def _answer(self, sender: int, number: int, slot: int) -> None:
        self.barrier.answer(sender, number, slot)
        self._saw(self.barrier.highest_target())

    # -- batches ---------------------------------------------------------------------------------

    def _accept(self, batch: Batch, payload: Payload, held: int) -> None:
        """A batch, or fragments of it, are here: into the log, and so into the queue."""
        if not batch.payload.fragments:
            batch.payload = payload
        new = held & ~batch.stored
        if payload.coded and not (batch.stored | new) >> self.me & 1:
            self._want(batch)
        elif new or not batch.recorded:
            batch.recorded, batch.stored = True, batch.stored | new
            self.outbox.record(PayRecord(batch.lane, batch.round, payload, new, False))

    def _want(self, batch: Batch) -> None:
        """Ask the node to rebuild the own fragment from others' (corrections D5, D6)."""
        lacks = batch.payload.coded and not batch.stored >> self.me & 1
        if lacks and not batch.rebuilding:
            batch.rebuilding = True
            self._rebuilds.append((batch.name, 1 << self.me))

    def _send_batch(self, peer: int, batch: Batch) -> None:
        """The batch, with the peer's fragment if that is at hand."""
        share = 1 << peer
        if batch.payload.coded and peer not in batch.payload.fragments:
            share = 0
        pay = Pay(batch.lane, batch.round, batch.round - 1, batch.payload, share)
        self.outbox.send(peer, pay)

    # -- being stuck -----------------------------------------------------------------------------

    def _saw(self, slot: int) -> None:
        self.agreement.highest_slot = max(self.agreement.highest_slot, slot)

    def _maybe_ask(self) -> None:
        """When the frontier does not move: ask the others what they said there."""
        frontier = self.window.frontier
        if frontier != self._stuck_at or frontier > self.highest_round:
            self._stuck_at = frontier
            self._stuck_since = self.now
            return
        waited = self.now - self._stuck_since
        if waited < self.settings.ask_after:
            return
        if self.now - self._asked_at >= self.settings.ask_every:
            self._asked_at = self.now
            self.outbox.send(self._whom_to_ask(frontier, waited), Ask(frontier))

    def _whom_to_ask(self, frontier: int, waited: float) -> int:
        """The peer that is furthest ahead; everyone if none is, or if it does not answer."""
        best = self.peers.most_advanced()
        if best is None or self.peers.frontiers[best] <= frontier:
            return ALL
        return best if waited < 3 * self.settings.ask_every else ALL

    def _say_words(self, peer: int) -> None:
        """Own words that are durable, in all open slots."""
        for _, slot in sorted(self.agreement.open.items()):
            if slot.decided is not None:
                self.outbox.send(peer, Settled(slot.number, slot.decided))
            for words in slot.words:
                if self.me in words:
                    self.outbox.send(peer, words[self.me])

    # -- messages --------------------------------------------------------------------------------

    def _handle_pay(self, sender: int, pay: Pay) -> None:
        name = pay.round * self.quorum.total + pay.lane
        slot = self.agreement.open.get(self.window.frontier)
        waited_for = slot is not None and slot.decided == name
        batch = self.pool.find_or_add(name, pay.payload, decided=waited_for)
        if batch is None:
            return
        self.fetches.arrived(name)
        batch.back(sender)
        self._accept(batch, pay.payload, pay.held)

    def _handle_ballot(self, sender: int, ballot: Ballot) -> None:
        self._saw(ballot.slot)
        if ballot.slot < self.window.frontier:
            self._answer_late(sender, ballot)
            return
        too_far = ballot.slot > self.window.frontier + self.settings.rounds_max
        if too_far or ballot.step > STEPS_MAX:
            return  # it will be caught up with by asking
        self.agreement.slot(ballot.slot).hear(sender, ballot)
        if ballot.step == PROPOSAL and ballot.value and sender != self.me:
            self._meet(sender, ballot.name)

    def _meet(self, sender: int, name: int) -> None:
        """Another replica proposes this: it holds it."""
        self.pool.meet(name)
        batch = self.pool.batches.get(name)
        if batch is not None:
            batch.back(sender)
        elif not self.pool.settlement.covers(name):
            self.fetches.want(name, sender, self.now)

    def _answer_late(self, sender: int, ballot: Ballot) -> None:
        """The sender speaks about a slot decided here: tell it, unless it will find out itself."""
        name = self._recent.get(ballot.slot)
        if sender == self.me or name is None:
            return
        votes_alike = not is_state(ballot.step) and ballot.step != PROPOSAL
        if not (votes_alike and ballot.name == name and ballot.value in (0, 1)):
            self.outbox.send(sender, Settled(ballot.slot, name))

    def _handle_settled(self, _sender: int, settled: Settled) -> None:
        frontier = self.window.frontier
        self._saw(settled.slot)
        if frontier <= settled.slot <= frontier + self.settings.rounds_max:
            slot = self.agreement.slot(settled.slot)
            if slot.decided is None:
                slot.decided = settled.name

    def _handle_pull(self, sender: int, pull: Pull) -> None:
        batch = self.pool.batches.get(pull.name)
        if batch is not None:
            for each in [batch, *self.pool.likely_lost(pull.name, sender)]:
                self._send_batch(sender, each)
            return
        for slot, name in self._recent.items():
            if name == pull.name:
                self._serves.append((sender, slot))

    def _handle_ask(self, sender: int, ask: Ask) -> None:
        if ask.position < self.window.frontier:
            self._serves.append((sender, ask.position))
        else:
            self._say_words(sender)

    def _handle_probe(self, sender: int, probe: Probe) -> None:
        self.outbox.send(sender, ProbeReply(probe.number, self.agreement.highest_one))

    def _handle_probe_reply(self, sender: int, reply: ProbeReply) -> None:
        self._answer(sender, reply.number, reply.position)

    def _handle_beat(self, sender: int, beat: Beat) -> None:
        self.peers.beat(sender, beat, self.now)
        self._saw(beat.round)

    _handlers: ClassVar[dict[type, Callable[[QueueReplica, int, Any], None]]] = {
        Pay: _handle_pay,
        Ballot: _handle_ballot,
        Settled: _handle_settled,
        Pull: _handle_pull,
        Ask: _handle_ask,
        Probe: _handle_probe,
        ProbeReply: _handle_probe_reply,
        Beat: _handle_beat,
    }

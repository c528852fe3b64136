"""The facade of the agreement core: one replica, synchronous, without I/O, clock or randomness.

Use: feed inputs (`tick`, `receive`, `propose`, `read`, `persisted`, `rebuilt`), then `take_effects`
and carry them out in the order of its fields. Records are to be appended to the log and made
durable; when they are, say so with `persisted(token)`, which releases the promises that rest on
them. A batch among `applied` that holds a change of the configuration goes to `change`, before any
other input.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from racos.core.agreement import Agreement
from racos.core.config import Change, Config, Configs
from racos.core.effects import Chunk, Effects
from racos.core.lanes import REACH_WINDOWS, OwnLane
from racos.core.messages import (
    AppliedRecord,
    Ask,
    Beat,
    Decide,
    Hold,
    Message,
    Pay,
    Payload,
    PayRecord,
    Probe,
    ProbeReply,
    ReserveRecord,
    Skip,
    State,
    Vote,
    VowReply,
    VowRequest,
)
from racos.core.nulls import Nulls
from racos.core.outbox import ALL, Outbox
from racos.core.peers import Peers
from racos.core.reads import Barrier
from racos.core.recovery import Recovered, take_up
from racos.core.repeat import Repeater
from racos.core.settings import Settings
from racos.core.slot import Slot
from racos.core.stuck import Stuck
from racos.core.switch import Switch
from racos.core.vow import NOTHING, Memory, Vow
from racos.core.window import FORGOTTEN, Window

__all__ = ["PHASES_AHEAD_MAX", "Replica", "Settings"]

PHASES_AHEAD_MAX = 1000  # a message further ahead in phases than this is not believed


class Replica:
    def __init__(
        self,
        settings: Settings,
        now: float,
        recovered: Recovered | None = None,
        memory: Memory = Memory(),  # noqa: B008 (a constant)
    ) -> None:
        past = recovered or Recovered(settings.quorum.total)
        self.settings = settings
        self.quorum = settings.quorum
        self.me = settings.lane
        self.now = now
        self.outbox = Outbox()
        self.peers = Peers(past.total, self.me, settings.suspect_after, now, settings.rounds_max)
        self.configs = Configs(self.quorum.faults, settings.rounds_max, past.configs)
        self.window = Window(self.quorum.total, settings.rounds_max, past.frontier, self.configs)
        self.own = OwnLane(self.me, settings.rounds_max // 2, past.reserved)
        self.barrier = Barrier(self.quorum.answers, settings.incarnation << 32)
        self.agreement = Agreement(
            self.me,
            self.quorum,
            settings.secret,
            self.outbox,
            self.peers,
            settings.patience,
            self._became_decided,
        )
        self.switch = Switch(
            self.me, self.quorum, self.configs, settings.lane_off_after, settings.rounds_max
        )
        self._repeater = Repeater(self.me, self.quorum, self.window, self.outbox)
        self.vow = Vow(self.quorum.faults, settings.rounds_max, memory)
        self._goal = NOTHING  # a silent replica waits for the rounds up to there to be over
        self._nulls = Nulls(self.window, self.own, self.agreement)
        self._stuck = Stuck(
            settings, self.window, self.peers, self.agreement, self._nulls, self.outbox, now
        )
        self.highest_round = -1  # highest round seen in use
        self._applied: list[tuple[int, Payload]] = []
        self._rejected: list[tuple[int, Payload]] = []
        self._serves: list[tuple[int, int]] = []
        self._early: dict[int, tuple[int, Pay]] = {}
        self._applied_from = past.frontier
        self._reservations: list[tuple[int, int]] = []  # (token, upto)
        self._beat_at = now - settings.beat_every
        self._set_clock(now)
        self._resume(past)

    def _resume(self, past: Recovered) -> None:
        """Stand where the log says this replica stood."""
        self.agreement.silent_upto = self.vow.silent_upto
        self.own.begin_above(max(past.reserved, self.vow.memory.upto))
        for position, change in past.changes:
            self.configs.apply(change, position // self.quorum.total)
        self.configs.forget_below(self.window.round)
        self.window.recall(past.ones, past.highest_one, past.floor)
        for position, said in sorted(past.slots.items()):
            if not (said.promises or self.window.within(position // self.quorum.total)):
                continue  # of a chunk of history whose end did not come to be durable: asked again
            slot = self.window.open(position)
            take_up(slot, said, self.me)
            if said.payload is not None:
                self._saw(slot.round)
        self._saw(self.window.round - 1)
        self._saw(past.reserved)
        for slot in list(self.window.slots.values()):
            self.agreement.advance(slot)

    # -- inputs ----------------------------------------------------------------------------------

    def _set_clock(self, now: float) -> None:
        self.now = self.agreement.now = self.outbox.now = now

    def tick(self, now: float) -> None:
        """Time has passed. Call every few milliseconds, and before other inputs of a turn."""
        if now - self.now > self.settings.suspect_after / 2:
            self.peers.forgive(now)  # it was this replica that was away
        self._set_clock(now)
        self.peers.note_own_frontier(self.window.frontier)
        self.outbox.overdue()
        self.agreement.tick()
        if self.vow.silent:
            question = self.vow.question(now)
            if question is not None:
                self.outbox.send(ALL, question)
        else:
            self.switch.tick(now, self.peers.suspected(now))
            self._nulls.settle(self.peers.idle(now), self.highest_round)
            # In steps, as nobody may have seen what lies too far above (lanes.REACH_WINDOWS).
            self._saw(min(self._goal, self.window.round + self.settings.rounds_max // 2))
        self._stuck.tick(now, self.highest_round)
        self.barrier.expire(now, self.settings.probe_again)
        if now - self._beat_at >= self.settings.beat_every:
            self._beat_at = now
            self._say_beat(ALL)

    def _say_beat(self, whom: int) -> None:
        if self.vow.silent:
            return
        newest = self.configs.newest
        back = bool(newest.off >> self.me & 1)
        whole = self.peers.wholes[self.me]
        beat = Beat(self.highest_round, self.window.frontier, whole, newest.epoch, back)
        self.outbox.send(whom, beat)

    def speak(self, memory: Memory) -> None:
        """The vow is kept: every round up to it is applied here, and what this replica should hold
        of them it durably holds. `memory`, durable, says so.
        """
        assert self.window.round > memory.upto, "rounds of the vow are open"
        self.vow.keep(memory)
        self.own.begin_above(max(self.own.reserved, memory.upto))
        self._saw(memory.upto)
        self.agreement.break_silence(memory.upto, list(self.window.slots.values()))
        self._say_beat(ALL)

    def peer_up(self, peer: int) -> None:
        """A connection to the peer stands: say again what it may have missed."""
        self.peers.heard(peer, self.now)
        self._say_beat(peer)
        self._repeater.say_all(peer)

    def peer_down(self, peer: int) -> None:
        self.peers.became_down(peer)

    def receive(self, sender: int, message: Message) -> None:
        """A message from another replica (or, from `persisted`, this replica's own promise)."""
        if sender != self.me:
            self.peers.heard(sender, self.now)
        self._handlers[type(message)](self, sender, message)

    def propose(self, payload: Payload) -> int | None:
        """Put a batch, with all its fragments, into this replica's lane.

        Returns its position, or None when no round is free yet (see `can_propose`).
        """
        round_ = self._free_round()
        if round_ is None:
            return None
        width = self.agreement.width() if payload.coded else 1
        previous = self.own.use(round_)
        self.window.link(self.me, previous, round_ - 1)
        self._saw(round_)
        slot = self.window.open(self.window.position(round_, self.me))
        slot.cover_width = width
        for peer in range(self.quorum.total):
            if peer != self.me:
                share = self.quorum.share(peer, width)
                self.outbox.send(peer, Pay(self.me, round_, previous, payload, share))
        self.agreement.accept(slot, payload, self.quorum.share(self.me, width))
        return slot.position

    def change(self, position: int, change: Change) -> Config | None:
        """The batch applied at `position` changes the configuration; the epoch that begins, if one
        does. To be called in the order of the slots, before any other input.
        """
        round_, owner = divmod(position, self.quorum.total)
        config = self.configs.apply(change, round_)
        self.switch.applied(owner, change, config, self.now)
        if config is not None and config.off >> self.me & 1:
            self._say_beat(ALL)  # this replica is here: it asks for its lane
        return config

    def can_propose(self) -> bool:
        """Whether `propose` would find a round now."""
        return self._free_round() is not None

    def _free_round(self) -> int | None:
        lowest = max(self.own.next, self.highest_round)
        round_ = self.window.open_round(self.me, lowest)
        if round_ is None or not self.window.within(round_):
            return None
        return round_ if round_ <= self.own.reserved_durable else None

    def read(self, ticket: int) -> None:
        """A linearizable read arrived; its ticket comes back in Effects.reads when it may go."""
        self.barrier.add(ticket)

    def persisted(self, token: int) -> None:
        """What was sealed up to this token is durable: its promises are said, and count here."""
        for message in self.outbox.durable(token):
            if isinstance(message, State) and message.value:
                self.window.note_one(self.window.position(message.last, message.lane))
            self.outbox.send(ALL, message)
            self.receive(self.me, message)
        while self._reservations and self._reservations[0][0] <= token:
            self.own.reserved_durable = self._reservations.pop(0)[1]

    def rebuilt(self, position: int, payload: Payload, held: int) -> None:
        """The node rebuilt fragments that `Effects.rebuilds` asked for."""
        slot = self.window.slots.get(position)
        if slot is not None and slot.decided is None:
            self.agreement.accept(slot, payload, held)

    def install(self, sender: int, chunk: Chunk) -> None:
        """Decided history from a peer that is ahead; asks it for more while it still is."""
        if not chunk.start <= self.window.frontier < chunk.end:
            return
        self.peers.heard(sender, self.now)
        batches = dict(chunk.batches)
        for position in range(self.window.frontier, chunk.end):
            if position < self.window.frontier:
                continue  # decided here already, and passed by the frontier meanwhile
            slot = self.window.open(position)
            payload = batches.get(position)
            if payload is not None and slot.payload is None:
                slot.payload = payload
            if slot.decided is None:
                slot.decided = 0 if payload is None else 1
                self._became_decided(slot)
            self._advance_frontier()
        self._saw((chunk.end - 1) // self.quorum.total)
        self.peers.frontiers[sender] = chunk.frontier
        if self.window.frontier < chunk.frontier:
            self._stuck.ask_at_once(sender, self.now)

    # -- effects ---------------------------------------------------------------------------------

    def take_effects(self) -> Effects:
        """What this turn wants done. An idle lane is skipped here: the caller proposes first."""
        self._advance_frontier()
        self._nulls.void_own()
        self._nulls.follow_early()
        if not self.vow.silent:
            self._reserve()
            skip = self.own.skip_to(self.highest_round)
            if skip is not None:
                self.window.link(self.me, skip.previous, skip.upto)
                self.outbox.beside(skip)
                self._advance_frontier()
            self._probe()
        self._note_applied()
        self.window.handed_out()
        sealed = self.outbox.seal()
        effects = Effects(
            sealed.records,
            sealed.token,
            sealed.sends,
            self._applied,
            self._rejected,
            self.agreement.rebuilds,
            self._serves,
            self.barrier.take_ready(self.window.frontier),
            self.switch.take_wish(),
        )
        self._applied, self._rejected, self._serves = [], [], []
        self.agreement.rebuilds = []
        return effects

    def _advance_frontier(self) -> None:
        """Hand out every batch whose turn it is."""
        window = self.window
        while (value := window.value_at(window.frontier)) is not None:
            if value:
                slot = window.slots[window.frontier]
                if slot.payload is None:
                    break  # decided, but what? asked for in _maybe_ask
                if not slot.recorded:
                    record = PayRecord(slot.lane, slot.round, slot.payload, slot.stored, False)
                    self.outbox.record(record)
                self._applied.append((slot.position, slot.payload))
            window.advance(value)
        if window.round > self.highest_round:
            self._saw(window.round - 1)
        if self._early:
            self._retry_early()

    def _retry_early(self) -> None:
        """Batches that came before their round was within the window."""
        for position, (sender, pay) in list(self._early.items()):
            if self.window.within(pay.round):
                del self._early[position]
                self._handle_pay(sender, pay)

    def _note_applied(self) -> None:
        if self.window.frontier > self._applied_from:
            ones = tuple(position for position, _ in self._applied)
            self.outbox.record(AppliedRecord(self._applied_from, self.window.frontier, ones))
            self._applied_from = self.window.frontier

    def _reserve(self) -> None:
        wanted = max(self.own.next, self.highest_round)
        wanted = max(self.highest_round, self.window.open_round(self.me, wanted) or 0)
        limit = self.window.round + REACH_WINDOWS * self.settings.rounds_max
        upto = self.own.wanted_reservation(wanted, limit)
        if upto is not None:
            self.outbox.record(ReserveRecord(upto))
            self._reservations.append((self.outbox.token + 1, upto))

    def _probe(self) -> None:
        number = self.barrier.next_probe(self.now)
        while number is not None:
            self.outbox.send(ALL, Probe(number))
            self._answer(self.me, number, self.window.highest_one)
            number = self.barrier.next_probe(self.now)

    def _answer(self, sender: int, number: int, position: int) -> None:
        self.barrier.answer(sender, number, position)
        target = self.barrier.highest_target()
        if target >= self.window.frontier:
            self._saw(target // self.quorum.total)

    def _saw(self, round_: int) -> None:
        if round_ > self.highest_round:
            self.highest_round = round_

    # -- messages --------------------------------------------------------------------------------

    def _became_decided(self, slot: Slot) -> None:
        if slot.decided:
            self.window.note_one(slot.position)
        elif slot.lane == self.me and slot.payload is not None:
            self._rejected.append((slot.position, slot.payload))

    def _undecided(self, sender: int, message: State | Vote, slots: list[Slot]) -> list[Slot]:
        """The message's undecided slots; for decided ones the sender is told the decision."""
        window = self.window
        if message.last > window.round + 8 * self.settings.rounds_max:
            return slots  # far beyond what this replica can follow: it will catch up by asking
        for round_ in range(message.first, message.last + 1):
            position = window.position(round_, message.lane)
            value = window.value_at(position)
            if value is None:
                slots.append(window.open(position))
            elif value != FORGOTTEN and sender != self.me:
                self.outbox.send(sender, Decide(message.lane, round_, round_, value))
        return slots

    def _handle_pay(self, sender: int, pay: Pay) -> None:
        window = self.window
        self._saw(pay.round)
        window.link(pay.lane, pay.previous, pay.round - 1)
        position = window.position(pay.round, pay.lane)
        if position < window.frontier:
            return
        if not window.within(pay.round):
            if len(self._early) < self.quorum.total * self.settings.rounds_max:
                self._early[position] = (sender, pay)
            return
        slot = window.open(position)
        if slot.decided is None:
            self.agreement.accept(slot, pay.payload, pay.held)
            self.agreement.advance(slot)
        elif slot.decided and not slot.recorded:
            slot.payload, slot.stored = pay.payload, pay.held

    def _handle_state(self, sender: int, state: State) -> None:
        for slot in self._undecided(sender, state, []):
            if state.phase > slot.phase + PHASES_AHEAD_MAX:
                continue
            if state.phase == 0 and state.value and not slot.phases[0].states >> sender & 1:
                self.agreement.time_state(slot, sender)
            slot.at(state.phase).add_state(sender, state.value)
            if state.held:
                slot.add_holder(sender, state.held)
            if not state.value and state.phase == 0 and self._follows(sender, slot):
                self.agreement.say_zero(slot)
            self.agreement.advance(slot)

    def _follows(self, sender: int, slot: Slot) -> bool:
        """Whether another's 0 is reason enough: its owner's own, or one about an idle owner."""
        if slot.payload is not None or not self.window.within(slot.round):
            return False
        return sender == slot.lane or bool(self.peers.idle(self.now) >> slot.lane & 1)

    def _handle_vote(self, sender: int, vote: Vote) -> None:
        for slot in self._undecided(sender, vote, []):
            if vote.phase > slot.phase + PHASES_AHEAD_MAX:
                continue
            slot.at(vote.phase).add_vote(sender, vote.value)
            self.agreement.advance(slot)

    def _handle_hold(self, _sender: int, hold: Hold) -> None:
        slot = self.window.slots.get(self.window.position(hold.round, hold.lane))
        if slot is not None:
            slot.add_holder(hold.holder, hold.held)
            self.agreement.advance(slot)

    def _handle_decide(self, _sender: int, decide: Decide) -> None:
        last = min(decide.last, self.window.round + 8 * self.settings.rounds_max)
        for round_ in range(max(decide.first, self.window.round), last + 1):
            position = self.window.position(round_, decide.lane)
            if self.window.value_at(position) is None:
                slot = self.window.open(position)
                slot.decided = decide.value
                self._became_decided(slot)

    def _handle_skip(self, _sender: int, skip: Skip) -> None:
        self._saw(skip.upto)
        self.window.link(skip.lane, skip.previous, skip.upto)

    def _handle_ask(self, sender: int, ask: Ask) -> None:
        if ask.position < self.window.frontier:
            self._serves.append((sender, ask.position))
        else:
            self._repeater.say_all(sender, span=8 * self.quorum.total)

    def _handle_probe(self, sender: int, probe: Probe) -> None:
        if self.vow.silent:
            return  # it does not know what it said
        self.outbox.send(sender, ProbeReply(probe.number, self.window.highest_one))

    def _handle_probe_reply(self, sender: int, reply: ProbeReply) -> None:
        self._answer(sender, reply.number, reply.position)

    def _handle_beat(self, sender: int, beat: Beat) -> None:
        self.peers.beat(sender, beat, self.now)
        self.switch.heard(sender, beat, self.window.round, self.now)
        self._saw(beat.round)
        if beat.epoch > self.configs.newest.epoch and beat.frontier > self.window.frontier:
            self._stuck.ask(sender, self.now)

    def _handle_vow_request(self, sender: int, request: VowRequest) -> None:
        self.peers.became_silent(sender)
        self._goal = max(self._goal, request.upto)
        self.outbox.send(sender, self.vow.answer(request, self._highest_known))

    def _highest_known(self) -> int:
        """The highest round of which this replica, or its log, knows anything."""
        return max(self.highest_round, self.window.highest_spoken(), self.own.reserved)

    def _handle_vow_reply(self, sender: int, reply: VowReply) -> None:
        self.vow.heard(sender, reply)

    _handlers: ClassVar[dict[type, Callable[[Replica, int, Any], None]]] = {
        Pay: _handle_pay,
        State: _handle_state,
        Vote: _handle_vote,
        Hold: _handle_hold,
        Decide: _handle_decide,
        Skip: _handle_skip,
        Ask: _handle_ask,
        Probe: _handle_probe,
        ProbeReply: _handle_probe_reply,
        Beat: _handle_beat,
        VowRequest: _handle_vow_request,
        VowReply: _handle_vow_reply,
    }

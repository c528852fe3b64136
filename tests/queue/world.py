"""The world of `tests.core.world` with replicas of the queue engine in it."""

from __future__ import annotations

from typing import Any

from racos.core.ballots import PROPOSAL, Ballot
from racos.core.effects import Chunk, Effects
from racos.core.messages import AppliedRecord, Message, Payload, PayRecord, Record
from racos.queue.recovery import Recovered
from racos.queue.replica import QueueReplica
from tests.core.world import Node, Said, World, stored_payload


class QueueSaid(Said):
    """Ballots are the promises; they never change, and a proposal needs the fragment on disk."""

    def __init__(self, total: int) -> None:
        super().__init__(total)
        self.ballots: dict[tuple[int, int], Ballot] = {}

    def add(self, record: Record) -> None:
        if isinstance(record, Ballot):
            known = self.ballots.setdefault((record.slot, record.step), record)
            assert known == record, f"{known} and {record}"
        else:
            super().add(record)

    def check_ballot(self, ballot: Ballot, lane: int) -> None:
        assert self.ballots.get((ballot.slot, ballot.step)) == ballot, f"{ballot} is not durable"
        if ballot.step == PROPOSAL and ballot.value:
            held = self.fragments.get(divmod(ballot.name, self.total), 0)
            assert held >> lane & 1, f"{lane} proposes {ballot.name} without its fragment"


class QueueNode(Node):
    """Positions are names; `applied` and `order` have them in the order of slots."""

    world: QueueWorld

    def start(self) -> None:
        world = self.world
        if not isinstance(self.said, QueueSaid):
            self.said = QueueSaid(world.quorum.total)
        recovered = Recovered(world.quorum.total)
        self.batches, self.applied, self.paused = {}, [], False
        self.slots: list[int] = []  # of `applied`
        for record in self.log:
            self._index(record)
            for name in recovered.add(record):
                self._apply(name, self.batches[name])
            if isinstance(record, AppliedRecord):
                self.slots.extend(record.ones)
        self.lives += 1
        self.tokens = []
        settings = world.settings(self.lane, self.lives)
        replica: Any = world.make_replica(settings, world.now + self.ahead, recovered)
        self.replica = replica
        for peer in world.alive():
            if peer is not self and world.connected(self.lane, peer.lane):
                replica.peer_up(peer.lane)
                assert peer.replica is not None
                peer.replica.peer_up(self.lane)

    @property
    def queue(self) -> QueueReplica:
        replica: object = self.replica
        assert isinstance(replica, QueueReplica)
        return replica

    def turn(self) -> None:
        if self.replica is None or self.paused:
            return
        effects = self.replica.take_effects()
        for record in effects.records:
            if isinstance(record, PayRecord):
                record = record._replace(payload=stored_payload(record.payload, record.held))
            elif isinstance(record, AppliedRecord):
                self.slots.extend(record.ones)
            self.log.append(record)
            self._index(record)
        if effects.records:
            self.tokens.append((effects.token, len(self.log)))
        self._carry_out(effects)
        assert len(self.slots) == len(self.applied)
        assert all(slot >= self.queue.window.frontier for slot in self.queue.agreement.open)
        self.world.observe(self, effects)

    def _carry_out(self, effects: Effects) -> None:
        world = self.world
        self._send(effects)
        for name, payload in effects.applied:
            self._apply(name, payload)
            if name % world.quorum.total == self.lane:
                world.acknowledged = max(world.acknowledged, len(self.applied) - 1)
        world.rejected.extend(effects.rejected)
        for name, mask in effects.rebuilds:
            world.rebuilds.append((self.lane, self.lives, name, mask))
        for peer, slot in effects.serves:
            self._serve(peer, slot)
        for ticket in effects.reads:
            self._finish_read(ticket)

    def _check_said(self, message: Message) -> None:
        assert isinstance(self.said, QueueSaid)
        if isinstance(message, Ballot):
            self.said.check_ballot(message, self.lane)

    def _apply(self, position: int, payload: Payload) -> None:
        order, entry = self.world.order, (position, payload.descriptor)
        if len(self.applied) == len(order):
            assert position not in self.world.decided, f"{position} is decided twice"
            order.append(entry)
            self.world.decided[position] = payload.descriptor
        assert order[len(self.applied)] == entry, f"{order[len(self.applied)]} and {entry}"
        self.applied.append(entry)

    def _serve(self, peer: int, position: int) -> None:
        at = [index for index, slot in enumerate(self.slots) if slot >= position]
        names = tuple(self.applied[index][0] for index in at)
        batches = tuple(
            (self.slots[index], Payload(self.applied[index][1], self.batches[name].coded))
            for index, name in zip(at, names, strict=True)
        )
        end = self.queue.window.frontier
        self.world.post(self.lane, peer, Chunk(position, end, batches, end, names))

    def _finish_read(self, ticket: int) -> None:
        must, seen = self.world.reads[ticket], len(self.applied) - 1
        assert seen >= must, f"read {ticket} at {self.lane} saw up to {seen}, not {must}"
        self.world.read_upto = max(self.world.read_upto, seen)
        self.reads_done.append(ticket)


class QueueWorld(World):
    """`acknowledged` and `read_upto` are indexes into `order`."""

    dry_steps_max = 2000  # slots come one after the other
    make_replica: type[QueueReplica] = QueueReplica

    def make_node(self, lane: int) -> Node:
        return QueueNode(self, lane)

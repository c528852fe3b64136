"""A small deterministic world around the agreement core: messages in flight, logs that lose what
was not synced, crashes and restarts, and the checks that must hold after every step.

Only the core is here (payloads are opaque); the whole node has its own tests.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from itertools import combinations

from racos.core.agreement import Patience
from racos.core.config import Change, Config
from racos.core.effects import Chunk, Effects
from racos.core.messages import (
    AppliedRecord,
    Hold,
    Message,
    Pay,
    Payload,
    PayRecord,
    Record,
    State,
    StateRecord,
    Vote,
    VoteRecord,
)
from racos.core.outbox import ALL
from racos.core.quorum import Quorum, bits
from racos.core.recovery import Recovered
from racos.core.replica import Replica, Settings
from racos.core.vow import Memory
from tests.core.lane_model import LaneModel, change_of, change_payload

SECRET = b"world"


def stored_payload(payload: Payload, held: int) -> Payload:
    """What a record keeps of a batch: the descriptor and the fragments it is about."""
    return Payload(
        payload.descriptor,
        payload.coded,
        {index: payload.fragments[index] for index in bits(held) if index in payload.fragments},
    )


class Said:
    """Everything one replica's durable log says it promised; it may never say otherwise."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.promises: dict[tuple[type, int, int, int], int] = {}  # (kind, round, lane, phase)
        self.fragments: dict[tuple[int, int], int] = {}  # (round, lane)

    def add(self, record: Record) -> None:
        if isinstance(record, PayRecord):
            slot = (record.round, record.lane)
            self.fragments[slot] = self.fragments.get(slot, 0) | record.held
            if record.says_one:
                self._promise(State, record.round, record.lane, 0, 1)
        elif isinstance(record, StateRecord | VoteRecord):
            kind = State if isinstance(record, StateRecord) else Vote
            for round_ in range(record.first, record.last + 1):
                self._promise(kind, round_, record.lane, record.phase, record.value)

    def _promise(self, kind: type, round_: int, lane: int, phase: int, value: int) -> None:
        known = self.promises.setdefault((kind, round_, lane, phase), value)
        assert known == value, f"{kind.__name__} r{round_}.l{lane} p{phase}: {known} and {value}"

    def check(self, message: State | Vote, round_: int) -> None:
        key = (type(message), round_, message.lane, message.phase)
        assert self.promises.get(key) == message.value, f"{message} is not durable"
        if isinstance(message, State):
            held = self.fragments.get((round_, message.lane), 0)
            assert message.held & ~held == 0, f"{message} counts fragments not durable"


class Node:
    """One replica with its log; `synced` records survive a crash, the others do not."""

    def __init__(self, world: World, lane: int) -> None:
        self.world = world
        self.lane = lane
        self.log: list[Record] = []
        self.tokens: list[tuple[int, int]] = []  # (token, log length)
        self.synced = 0
        self.said = Said(world.quorum.total)
        self.batches: dict[int, Payload] = {}  # what the log holds, by position
        self.applied: list[tuple[int, bytes]] = []
        self.reads_done: list[int] = []
        self.lives = 0
        self.paused = False  # neither runs nor sees the time; what is sent to it waits
        self.ahead = 0.0  # its clock minus the world's, seconds
        self.wish: Change | None = None  # to be proposed as soon as possible
        self.memory = Memory()  # what the disk says of it
        self.replica: Replica | None = None
        self.start()

    def start(self) -> None:
        world = self.world
        recovered = Recovered(world.quorum.total)
        self.batches, self.applied, self.paused, self.wish = {}, [], False, None
        for record in self.log:
            self._index(record)
            for position in recovered.add(record):
                self._apply(position, self.batches[position])
                change = change_of(self.batches[position].descriptor)
                if change is not None:
                    recovered.changes.append((position, change))
        self.lives += 1
        self.tokens = []
        self.replica = Replica(
            world.settings(self.lane, self.lives), world.now + self.ahead, recovered, self.memory
        )
        for peer in world.alive():
            if peer is not self and world.connected(self.lane, peer.lane):
                self.replica.peer_up(peer.lane)
                assert peer.replica is not None
                peer.replica.peer_up(self.lane)

    def _index(self, record: Record) -> None:
        if isinstance(record, PayRecord):
            position = record.round * self.world.quorum.total + record.lane
            known = self.batches.get(position)
            merged = dict(known.fragments) if known else {}
            merged.update(record.payload.fragments)
            self.batches[position] = Payload(
                record.payload.descriptor, record.payload.coded, merged
            )

    def crash(self) -> None:
        """Power off: what was not synced is gone."""
        del self.log[self.synced :]
        self.replica = None
        for peer in self.world.alive():
            assert peer.replica is not None
            peer.replica.peer_down(self.lane)
        self.world.drop_of(self.lane)

    def wipe(self, *, fresh: bool) -> None:
        """Its disk is lost; `fresh`: it does not know that there was anything on it."""
        assert self.replica is None
        self.log.clear()
        self.synced = 0
        self.said.fragments.clear()
        self.world.wiped += 1
        self.memory = Memory(self.world.wiped, fresh=fresh, kept=False)

    @property
    def is_lost(self) -> bool:
        """Whether it has not got over the loss of its disk."""
        return not self.memory.kept

    def _maybe_speak(self, replica: Replica) -> None:
        """Keep the vow, if everything up to it is applied, durably, and held here."""
        upto = replica.vow.upto
        if not replica.vow.silent or upto is None:
            return
        ends = [each.end for each in self.log[: self.synced] if isinstance(each, AppliedRecord)]
        if max(ends, default=0) >= (upto + 1) * self.world.quorum.total and self._heal():
            self.memory = replica.vow.kept()
            replica.speak(self.memory)
            self.world.spoke(self, self.memory.upto)

    def _heal(self) -> bool:
        """Make the own fragments again of all that was applied, from those of others that answer;
        False if there are too few."""
        for position, _ in self.applied:
            slot = divmod(position, self.world.quorum.total)
            batch = self.batches[position]
            if self.said.fragments.get(slot) or not batch.coded:
                continue
            others = [peer.said.fragments.get(slot, 0) for peer in self.world.alive()]
            if len({index for mask in others for index in bits(mask)}) < self.world.quorum.data:
                return False
            mask = self.world.quorum.share(self.lane, self.world.quorum.data)
            own = Payload(batch.descriptor, True, {index: [b"healed"] for index in bits(mask)})
            record = PayRecord(slot[1], slot[0], own, mask, says_one=False)
            self.log.insert(self.synced, record)
            self.synced += 1
            self.tokens = [(token, length + 1) for token, length in self.tokens]
            self.said.add(record)
        return True

    def turn(self) -> None:
        """Carry out what the replica wants."""
        if self.replica is None or self.paused:
            return
        effects = self.replica.take_effects()
        for record in effects.records:
            if isinstance(record, PayRecord):
                record = record._replace(payload=stored_payload(record.payload, record.held))
            self._check_window(record)
            self.world.lanes.check(record)
            self.log.append(record)
            self._index(record)
        if effects.records:
            self.tokens.append((effects.token, len(self.log)))
        self._send(effects)
        for position, payload in effects.applied:
            self._apply(position, payload)
            self._change(position, payload.descriptor)
            if position % self.world.quorum.total == self.lane:
                self.world.acknowledged = max(self.world.acknowledged, position)
        self._take_back(effects)
        for position, mask in effects.rebuilds:
            self.world.rebuilds.append((self.lane, self.lives, position, mask))
        for peer, position in effects.serves:
            self._serve(peer, position)
        for ticket in effects.reads:
            self._finish_read(ticket)
        window = self.replica.window
        assert all(position >= window.frontier for position in window.slots), "a slot is kept"
        self.world.observe(self, effects)
        self._propose_wish()
        self._maybe_speak(self.replica)

    def _take_back(self, effects: Effects) -> None:
        """Changes are proposed again at once; the other null batches are left to the test."""
        self.wish = effects.wish or self.wish
        for position, payload in effects.rejected:
            change = change_of(payload.descriptor)
            self.wish = change or self.wish
            if change is None:
                self.world.rejected.append((position, payload))

    def _propose_wish(self) -> None:
        assert self.replica is not None
        if self.wish is not None and self.replica.can_propose():
            wish, self.wish = self.wish, None
            self.world.propose(self.lane, change_payload(wish).descriptor, coded=False)

    def _change(self, position: int, name: bytes) -> None:
        change = change_of(name)
        if change is None:
            return
        assert self.replica is not None
        config = self.replica.change(position, change)
        if config is not None:
            assert config in self.world.lanes.configs, f"{config}, {self.world.lanes.configs}"
            self.world.changed(self, change, config)

    def _check_window(self, record: Record) -> None:
        """No promise about a round further ahead than the window."""
        assert self.replica is not None
        if isinstance(record, StateRecord):
            assert self.replica.window.within(record.last), record
        elif isinstance(record, PayRecord) and record.says_one:
            assert self.replica.window.within(record.round), record

    def _send(self, effects: Effects) -> None:
        for destination, message in effects.sends:
            self._check_said(message)
            for peer in range(self.world.quorum.total):
                if peer != self.lane and destination in (ALL, peer):
                    self.world.post(self.lane, peer, message)

    def _check_said(self, message: Message) -> None:
        """Promises are durable before they are sent."""
        if isinstance(message, State | Vote):
            for round_ in range(message.first, message.last + 1):
                self.said.check(message, round_)
        if isinstance(message, Hold) and message.holder == self.lane:
            held = self.said.fragments.get((message.round, message.lane), 0)
            assert message.held & ~held == 0, f"{self.lane} says {message} before it is durable"

    def _apply(self, position: int, payload: Payload) -> None:
        order, entry = self.world.order, (position, payload.descriptor)
        assert not self.applied or self.applied[-1][0] < position, "applied out of order"
        if len(self.applied) == len(order):
            order.append(entry)
            known = self.world.decided.setdefault(*entry)
            assert known == payload.descriptor, f"two batches at {position}"
            self.world.fold(position, payload.descriptor)
        assert order[len(self.applied)] == entry, f"{order[len(self.applied)]} and {entry}"
        self.applied.append(entry)

    def _serve(self, peer: int, position: int) -> None:
        batches = tuple(
            (at, Payload(self.batches[at].descriptor, self.batches[at].coded))
            for at, _ in self.applied
            if at >= position
        )
        assert self.replica is not None
        end = self.replica.window.frontier
        self.world.post(self.lane, peer, Chunk(position, end, batches, end))

    def read(self) -> int | None:
        """Begin a linearizable read; what was acknowledged, or read, before must be seen."""
        if self.replica is None:
            return None
        ticket = len(self.world.reads)
        self.world.reads.append(max(self.world.acknowledged, self.world.read_upto))
        self.replica.read(ticket)
        return ticket

    def _finish_read(self, ticket: int) -> None:
        must = self.world.reads[ticket]
        seen = self.applied[-1][0] if self.applied else -1
        assert seen >= must, f"read {ticket} at {self.lane} saw up to {seen}, not {must}"
        self.world.read_upto = max(self.world.read_upto, seen)
        self.reads_done.append(ticket)

    def sync(self, upto: int | None = None) -> None:
        """Make the log durable (up to a token's records)."""
        if self.replica is None or self.paused or not self.tokens:
            return
        token, length = self.tokens[-1] if upto is None else self.tokens[upto]
        for record in self.log[self.synced : length]:
            self.said.add(record)
        self.synced = max(self.synced, length)
        self.tokens = [entry for entry in self.tokens if entry[0] > token]
        self.replica.persisted(token)


class World:
    """n replicas, a seeded scheduler, and the invariants."""

    dry_steps_max = 100  # rounds of messages until nothing is left to say at one moment

    def __init__(
        self,
        total: int,
        faults: int,
        data: int,
        seed: int = 0,
        rounds_max: int = 16,
        lane_off_after: float = 5.0,
    ) -> None:
        self.quorum = Quorum(total, faults, data)
        self.random = random.Random(seed)
        self.rounds_max = rounds_max
        self.patience = Patience(rest=0.02, cover=0.05)
        self.suspect_after = 0.1
        self.lane_off_after = lane_off_after
        self.lanes = LaneModel(faults, rounds_max)
        self.now = 0.0
        self.flight: list[tuple[int, int, Message | Chunk]] = []
        self.rebuilds: list[tuple[int, int, int, int]] = []
        self.rejected: list[tuple[int, Payload]] = []
        self.cut: set[tuple[int, int]] = set()  # (from, to) pairs that lose everything
        self.decided: dict[int, bytes] = {}
        self.order: list[tuple[int, bytes]] = []  # as the replica furthest ahead applied them
        self.proposed: dict[int, bytes] = {}  # by position
        self.acknowledged = -1  # highest position applied at its owner
        self.reads: list[int] = []  # by ticket: the position it must see
        self.read_upto = -1  # highest position a finished read saw
        self.wiped = 0  # disks
        self.nodes: list[Node] = []
        for lane in range(total):
            self.nodes.append(self.make_node(lane))
        for node in self.nodes:
            assert node.replica is not None
            for peer in range(total):
                if peer != node.lane:
                    node.replica.peer_up(peer)

    def make_node(self, lane: int) -> Node:
        return Node(self, lane)

    def settings(self, lane: int, incarnation: int) -> Settings:
        return Settings(
            self.quorum,
            lane,
            SECRET,
            incarnation,
            rounds_max=self.rounds_max,
            patience=self.patience,
            suspect_after=self.suspect_after,
            lane_off_after=self.lane_off_after,
        )

    def observe(self, node: Node, effects: Effects) -> None:
        """For those who want to watch."""

    def changed(self, node: Node, change: Change, config: Config) -> None:
        """Likewise."""

    def spoke(self, node: Node, upto: int) -> None:
        """Likewise."""

    def fold(self, position: int, name: bytes) -> None:
        """The next batch in the order; if it switches a lane off, nobody has spoken too early."""
        if self.lanes.apply(position // self.quorum.total, name) is not None:
            for node in self.nodes:
                for record in node.log:
                    self.lanes.check(record)

    def alive(self) -> Iterable[Node]:
        return [node for node in self.nodes if node.replica is not None]

    def connected(self, sender: int, receiver: int) -> bool:
        return (sender, receiver) not in self.cut

    def post(self, sender: int, receiver: int, message: Message | Chunk) -> None:
        if self.connected(sender, receiver) and self.nodes[receiver].replica is not None:
            if isinstance(message, Pay):
                payload = stored_payload(message.payload, message.held)
                message = message._replace(payload=payload)
            self.flight.append((sender, receiver, message))

    def drop_of(self, lane: int) -> None:
        """A crash loses what was on its way to and from the node."""
        self.flight = [entry for entry in self.flight if lane not in entry[:2]]

    def deliver(self, index: int = 0) -> None:
        sender, receiver, message = self.flight.pop(index)
        self.hand_over(sender, receiver, message)

    def hand_over(self, sender: int, receiver: int, message: Message | Chunk) -> None:
        replica = self.nodes[receiver].replica
        if replica is None or not self.connected(sender, receiver):
            return
        if isinstance(message, Chunk):
            replica.install(sender, message)
        else:
            replica.receive(sender, message)

    def rebuild(self, index: int = 0) -> None:
        """What the node does for Effects.rebuilds: gather k fragments from those who answer."""
        lane, life, position, mask = self.rebuilds.pop(index)
        node = self.nodes[lane]
        if node.replica is None or node.lives != life:
            return
        slot = node.replica.window.slots.get(position)
        if slot is None or slot.decided is not None or slot.payload is None:
            return
        union = 0
        for peer in self.alive():
            if position in peer.batches and self.connected(peer.lane, lane):
                union |= sum(1 << index for index in peer.batches[position].fragments)
        if union.bit_count() < self.quorum.data:
            self.rebuilds.append((lane, life, position, mask))
            return
        payload = Payload(
            slot.payload.descriptor, True, {index: [b"rebuilt"] for index in bits(mask)}
        )
        node.replica.rebuilt(position, payload, mask)

    def tick(self, seconds: float) -> None:
        self.now += seconds
        for node in self.alive():
            assert node.replica is not None
            if not node.paused:
                node.replica.tick(self.now + node.ahead)

    def propose(self, lane: int, name: bytes, coded: bool = True) -> int | None:
        replica = self.nodes[lane].replica
        if replica is None:
            return None
        fragments = {index: [b"f%d" % index] for index in range(self.quorum.total)}
        position = replica.propose(Payload(name, coded, fragments if coded else {}))
        if position is not None:
            assert position not in self.proposed, f"two batches proposed at {position}"
            self.proposed[position] = name
        return position

    def settle(self, seconds: float = 3.0) -> None:
        """Run everything until the given virtual time has passed, in order, syncing at once."""
        end = self.now + seconds
        while self.now < end:
            self._run_dry()
            pending, self.rebuilds = self.rebuilds, []
            for wanted in pending:
                self.rebuilds.append(wanted)
                self.rebuild(len(self.rebuilds) - 1)
            self.tick(0.01)

    def _run_dry(self) -> None:
        """Deliver, sync and carry out until nothing is left to do at this moment."""
        for _ in range(self.dry_steps_max):
            for node in self.nodes:
                node.turn()
                node.sync()
                node.turn()
            if not self.flight:
                return
            arriving, self.flight = self.flight, []
            for entry in arriving:
                self.hand_over(*entry)
        raise AssertionError(f"messages without end: {self.flight[:10]}")

    def check_coverage(self) -> None:
        """P-7: any n-f replicas' durable fragments rebuild each applied batch.

        Counted anew here, so that a wrong `cover` does not approve of itself.
        """
        for position in self.decided:
            slot = divmod(position, self.quorum.total)
            # A disk that is lost is one of the f.
            held = [node.said.fragments.get(slot, 0) for node in self.nodes if not node.is_lost]
            coded = any(
                node.batches[position].coded for node in self.nodes if position in node.batches
            )
            for lucky in combinations(held, self.quorum.answers):
                union = 0
                for mask in lucky:
                    union |= mask
                assert union.bit_count() >= (self.quorum.data if coded else 1), (position, held)

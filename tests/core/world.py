"""A small deterministic world around the agreement core: messages in flight, logs that lose what was
not synced, crashes and restarts, and the checks that must hold after every step.

Only the core is here (payloads are opaque); the whole node has its own tests.
"""

from __future__ import annotations

import random
from collections.abc import Iterable

from racos.core.agreement import Patience
from racos.core.messages import Message, Pay, Payload, PayRecord, Record
from racos.core.outbox import ALL
from racos.core.quorum import Quorum, bits
from racos.core.recovery import Recovered
from racos.core.replica import Chunk, Effects, Replica, Settings

SECRET = b"world"


def stored_payload(payload: Payload, held: int) -> Payload:
    """What a record keeps of a batch: the descriptor and the fragments it is about."""
    return Payload(
        payload.descriptor,
        payload.coded,
        {index: payload.fragments[index] for index in bits(held) if index in payload.fragments},
    )


class Node:
    """One replica with its log; `synced` records survive a crash, the others do not."""

    def __init__(self, world: World, lane: int) -> None:
        self.world = world
        self.lane = lane
        self.log: list[Record] = []
        self.tokens: list[tuple[int, int]] = []  # (token, log length)
        self.synced = 0
        self.batches: dict[int, Payload] = {}  # what the log holds, by position
        self.applied: list[tuple[int, bytes]] = []
        self.reads_done: list[int] = []
        self.lives = 0
        self.replica: Replica | None = None
        self.start()

    def start(self) -> None:
        world = self.world
        recovered = Recovered(world.quorum.total)
        self.batches, self.applied = {}, []
        for record in self.log:
            self._index(record)
            for position in recovered.add(record):
                self.applied.append((position, self.batches[position].descriptor))
        self.lives += 1
        self.tokens = []
        self.replica = Replica(
            Settings(
                world.quorum, self.lane, SECRET, self.lives, rounds_max=world.rounds_max,
                patience=world.patience, suspect_after=world.suspect_after,
            ),
            world.now,
            recovered,
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

    def turn(self) -> None:
        """Carry out what the replica wants."""
        if self.replica is None:
            return
        effects = self.replica.take_effects()
        for record in effects.records:
            if isinstance(record, PayRecord):
                record = record._replace(payload=stored_payload(record.payload, record.held))
            self.log.append(record)
            self._index(record)
        if effects.records:
            self.tokens.append((effects.token, len(self.log)))
        self._say(effects)
        for position, payload in effects.applied:
            self.applied.append((position, payload.descriptor))
        self.world.rejected.extend(effects.rejected)
        for position, mask in effects.rebuilds:
            self.world.rebuilds.append((self.lane, self.lives, position, mask))
        self.reads_done.extend(effects.reads)

    def _say(self, effects: Effects) -> None:
        for destination, message in effects.sends:
            for peer in range(self.world.quorum.total):
                if peer != self.lane and destination in (ALL, peer):
                    self.world.post(self.lane, peer, message)
        for peer, position in effects.serves:
            batches = tuple(
                (at, Payload(self.batches[at].descriptor, self.batches[at].coded))
                for at, _ in self.applied
                if at >= position
            )
            assert self.replica is not None
            end = self.replica.window.frontier
            self.world.post(self.lane, peer, Chunk(position, end, batches, end))

    def sync(self, upto: int | None = None) -> None:
        """Make the log durable (up to a token's records)."""
        if self.replica is None or not self.tokens:
            return
        token, length = self.tokens[-1] if upto is None else self.tokens[upto]
        self.synced = max(self.synced, length)
        self.tokens = [entry for entry in self.tokens if entry[0] > token]
        self.replica.persisted(token)

    def durable_fragments(self) -> dict[int, int]:
        """Fragments by position that would survive a crash now."""
        found: dict[int, int] = {}
        for record in self.log[: self.synced]:
            if isinstance(record, PayRecord):
                position = record.round * self.world.quorum.total + record.lane
                found[position] = found.get(position, 0) | record.held
        return found


class World:
    """n replicas, a seeded scheduler, and the invariants."""

    def __init__(
        self, total: int, faults: int, data: int, seed: int = 0, rounds_max: int = 16
    ) -> None:
        self.quorum = Quorum(total, faults, data)
        self.random = random.Random(seed)
        self.rounds_max = rounds_max
        self.patience = Patience(rest=0.02, cover=0.05)
        self.suspect_after = 0.1
        self.now = 0.0
        self.flight: list[tuple[int, int, Message | Chunk]] = []
        self.rebuilds: list[tuple[int, int, int, int]] = []
        self.rejected: list[tuple[int, Payload]] = []
        self.cut: set[tuple[int, int]] = set()  # (from, to) pairs that lose everything
        self.decided: dict[int, bytes] = {}
        self.nodes: list[Node] = []
        for lane in range(total):
            self.nodes.append(Node(self, lane))
        for node in self.nodes:
            assert node.replica is not None
            for peer in range(total):
                if peer != node.lane:
                    node.replica.peer_up(peer)

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
            node.replica.tick(self.now)

    def propose(self, lane: int, name: bytes, coded: bool = True) -> int | None:
        replica = self.nodes[lane].replica
        if replica is None:
            return None
        fragments = {index: [b"f%d" % index] for index in range(self.quorum.total)}
        return replica.propose(Payload(name, coded, fragments if coded else {}))

    def settle(self, seconds: float = 3.0) -> None:
        """Run everything until the given virtual time has passed, in order, syncing at once."""
        end = self.now + seconds
        while self.now < end:
            for _ in range(10_000):
                for node in self.nodes:
                    node.turn()
                    node.sync()
                    node.turn()
                if not self.flight:
                    break
                self.deliver()
            for index in range(len(self.rebuilds)):
                self.rebuild(min(index, len(self.rebuilds) - 1)) if self.rebuilds else None
            self.tick(0.01)
            self.check()

    def check(self) -> None:
        """P-1, P-2, P-7 of agreement: same order everywhere, and every batch survives f losses."""
        for node in self.nodes:
            for position, name in node.applied:
                known = self.decided.setdefault(position, name)
                assert known == name, f"slot {position}: {known!r} and {name!r}"
        longest = max((node.applied for node in self.nodes), key=len)
        for node in self.nodes:
            mine = node.applied
            if mine:
                end = mine[-1][0]
                assert mine == [entry for entry in longest if entry[0] <= end], "order differs"

    def check_coverage(self) -> None:
        """P-7: any n-f replicas' durable fragments rebuild each applied batch."""
        durable = [node.durable_fragments() for node in self.nodes]
        for position in self.decided:
            held = [fragments.get(position, 0) for fragments in durable]
            masks = [mask for mask in held if mask]
            coded = any(
                node.batches[position].coded for node in self.nodes if position in node.batches
            )
            assert self.quorum.cover(masks, coded=coded), (position, held)

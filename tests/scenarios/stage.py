"""A world whose every event is written down as a line, and moved by hand.

Beats are delivered at once and not shown: in a play they would only be noise. A message's cost is
the longest chain of messages and syncs that led to it, since the command `count`.
"""

from __future__ import annotations

from racos.core.config import Change, Config
from racos.core.effects import Chunk, Effects
from racos.core.messages import Beat, Message, Record
from racos.core.outbox import ALL
from racos.core.replica import Replica, Settings
from tests.core.world import SECRET, Node, World
from tests.scenarios.wording import (
    decision_text,
    kind,
    members,
    message_text,
    record_text,
    slot_name,
    slot_text,
    slots_name,
)

Cost = tuple[int, int]  # messages, syncs, one after the other
STEP_SECONDS = 0.01


class Stage(World):
    def __init__(
        self, total: int, faults: int, data: int, rounds_max: int, lane_off_after: float
    ) -> None:
        self.lines: list[str] = []
        self.quiet = False
        self._counting = False
        self._cost: list[Cost] = [(0, 0)] * total
        self._cost_of: dict[int, Cost] = {}  # by identity of the entry in flight
        self._announced: list[set[int]] = [set() for _ in range(total)]
        super().__init__(total, faults, data, rounds_max=rounds_max, lane_off_after=lane_off_after)
        self.settle(5 * STEP_SECONDS)
        self.lines.clear()

    def say(self, line: str, always: bool = False) -> None:
        if always or not self.quiet:
            self.lines.append(line)

    def settings(self, lane: int, incarnation: int) -> Settings:
        """Patience and suspicion as in production."""
        return Settings(
            self.quorum,
            lane,
            SECRET,
            incarnation,
            rounds_max=self.rounds_max,
            lane_off_after=self.lane_off_after,
        )

    # -- words -------------------------------------------------------------------------------------

    def text(self, message: Message | Chunk) -> str:
        return message_text(message, self.quorum.total)

    def record_text(self, record: Record) -> str | None:
        return record_text(record)

    def kind(self, message: Message | Chunk) -> str:
        return kind(message)

    def batch_name(self, position: int) -> str:
        return slot_name(position, self.quorum.total)

    def place_name(self, position: int) -> str:
        """A place in the order; for lanes the same."""
        return slot_name(position, self.quorum.total)

    # -- what happens ------------------------------------------------------------------------------

    def observe(self, node: Node, effects: Effects) -> None:
        lane = node.lane
        for record in effects.records:
            text = self.record_text(record)
            if text is not None:
                self.say(f"{lane} writes {text}")
        for destination, message in effects.sends:
            if not isinstance(message, Beat):
                self._say_sent(lane, destination, message)
        for position, payload in effects.applied:
            name = payload.descriptor.decode()
            self.say(f"{lane} applies {self.batch_name(position)} {name}", always=True)
        for position, payload in effects.rejected:
            name = payload.descriptor.decode()
            self.say(f"{lane} takes back {self.batch_name(position)} {name}", always=True)
        for position, mask in effects.rebuilds:
            line = f"{lane} wants to rebuild {self.batch_name(position)} {members(mask)}"
            self.say(line, always=True)
        for peer, position in effects.serves:
            self.say(f"{lane} serves {peer} from {self.place_name(position)}")
        for ticket in effects.reads:
            self.say(f"{lane} may do read {ticket}", always=True)

    def changed(self, node: Node, change: Change, config: Config) -> None:
        name = "on" if change.on else "off"
        line = f"{node.lane} knows lane {change.lane} to be {name} from r{config.first} on"
        self.say(f"{line} (epoch {config.epoch})", always=True)

    def spoke(self, node: Node, upto: int) -> None:
        self.say(f"{node.lane} speaks again, of rounds above r{upto}", always=True)

    def _say_sent(self, lane: int, destination: int, message: Message) -> None:
        others = [peer for peer in range(self.quorum.total) if peer != lane]
        reached = [
            peer
            for peer in others
            if destination in (ALL, peer)
            and self.connected(lane, peer)
            and self.nodes[peer].replica is not None
        ]
        if reached:
            to = "*" if reached == others and len(others) > 1 else ",".join(map(str, reached))
            self.say(f"{lane}->{to} {self.text(message)}")

    def post(self, sender: int, receiver: int, message: Message | Chunk) -> None:
        replica = self.nodes[receiver].replica
        if isinstance(message, Beat):
            if replica is not None and self.connected(sender, receiver):
                replica.receive(sender, message)
            return
        before = len(self.flight)
        super().post(sender, receiver, message)
        if len(self.flight) > before:
            delays, syncs = self._cost[sender]
            self._cost_of[id(self.flight[-1])] = (delays + 1, syncs)
            if isinstance(message, Chunk):
                self.say(f"{sender}->{receiver} {self.text(message)}")

    def carry(self, entry: tuple[int, int, Message | Chunk]) -> None:
        """Deliver one message that is no longer in flight."""
        sender, receiver, message = entry
        arrived = self._cost_of.pop(id(entry), (0, 0))
        known = self._cost[receiver]
        self._cost[receiver] = (max(known[0], arrived[0]), max(known[1], arrived[1]))
        if self.nodes[receiver].replica is None or not self.connected(sender, receiver):
            return
        self.say(f"{receiver} gets from {sender}: {self.text(message)}")
        self.hand_over(sender, receiver, message)
        self.finish(receiver)

    def finish(self, lane: int) -> None:
        """The end of one replica's turn: name its new decisions, carry out its effects."""
        node = self.nodes[lane]
        if node.replica is None:
            return
        self._say_decided(lane, node.replica)
        node.turn()

    def _say_decided(self, lane: int, replica: Replica) -> None:
        """New decisions, those of one lane that rest on the same in one line."""
        news: dict[tuple[int, int, str], list[int]] = {}
        for position, slot in sorted(replica.window.slots.items()):
            if slot.decided is not None and position not in self._announced[lane]:
                self._announced[lane].add(position)
                reason = decision_text(slot, self.quorum.faults, self.quorum.everyone)
                news.setdefault((slot.lane, slot.decided, reason), []).append(slot.round)
        cost = " [delays {}, syncs {}]".format(*self._cost[lane]) if self._counting else ""
        for (owner, value, reason), rounds in news.items():
            name = slots_name(rounds[0], rounds[-1], owner)
            line = f"{lane} decides {name} = {value} ({reason}){cost}"
            self.say(line, always=reason != "was told")

    # -- what a play can do ------------------------------------------------------------------------

    def count(self) -> None:
        self._counting = True
        self._cost = [(0, 0)] * self.quorum.total
        self._cost_of.clear()

    def matching(self, sender: int, receiver: int, name: str) -> list[int]:
        """Indexes in flight; -1 and "" match any."""
        return [
            index
            for index, (source, target, message) in enumerate(self.flight)
            if sender in (-1, source)
            and receiver in (-1, target)
            and name in ("", self.kind(message))
        ]

    def take(self, indexes: list[int]) -> list[tuple[int, int, Message | Chunk]]:
        chosen = [self.flight[index] for index in indexes]
        left = set(indexes)
        self.flight = [entry for index, entry in enumerate(self.flight) if index not in left]
        return chosen

    def sync_one(self, lane: int) -> None:
        node = self.nodes[lane]
        if node.replica is None or not node.tokens:
            return
        delays, syncs = self._cost[lane]
        self._cost[lane] = (delays, syncs + 1)
        self.say(f"{lane} synced")
        node.sync()
        self.finish(lane)

    def pass_time(self, seconds: float) -> None:
        for _ in range(round(seconds / STEP_SECONDS)):
            self.tick(STEP_SECONDS)
            for lane in range(self.quorum.total):
                self.finish(lane)

    def rebuild_all(self) -> None:
        pending, self.rebuilds = self.rebuilds, []
        for wanted in pending:
            self.rebuilds.append(wanted)
            self.rebuild(len(self.rebuilds) - 1)
            self.finish(wanted[0])

    def settle(self, seconds: float = 0.3) -> None:
        """Deliver and sync everything for a while; only the outcomes are said."""
        self.quiet = True
        for _ in range(round(seconds / STEP_SECONDS)):
            for _ in range(100):
                for lane in range(self.quorum.total):
                    self.finish(lane)
                    self.sync_one(lane)
                if not self.flight:
                    break
                for entry in self.take(list(range(len(self.flight)))):
                    self.carry(entry)
            self.rebuild_all()
            self.pass_time(STEP_SECONDS)
        self.quiet = False

    def forget(self, lane: int) -> None:
        """A new life announces its decisions anew."""
        self._announced[lane].clear()

    def show(self, lane: int) -> None:
        replica = self.nodes[lane].replica
        if replica is None:
            self.say(f"{lane} is down")
            return
        total = self.quorum.total
        frontier = slot_name(replica.window.frontier, total)
        names = " ".join(name.decode() for _, name in self.nodes[lane].applied) or "nothing"
        suspects = members(replica.peers.suspected(replica.now))
        self.say(f"{lane} frontier {frontier}, applied {names}, suspects {suspects}")
        slots = [slot for _, slot in sorted(replica.window.slots.items())]
        ahead = [
            f"{slot_name(slot.position, total)}={slot.decided}"
            for slot in slots
            if slot.decided is not None
        ]
        if ahead:
            self.say("  decided above it: " + " ".join(ahead))
        for slot in slots:
            if slot.decided is None:
                self.say(f"  {slot_text(slot, total)}")

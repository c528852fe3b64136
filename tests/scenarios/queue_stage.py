"""The stage with the queue engine on it, and its words.

`b7.l0` is the batch with stamp 7 of replica 0, `s3` a slot. Messages are chosen by what they say:
PROPOSAL, STATE and VOTE are all Ballots.
"""

from __future__ import annotations

from racos.core.ballots import NONE, PROPOSAL, Ballot, Pull, Settled, is_state, phase_of
from racos.core.effects import Chunk
from racos.core.messages import UNSURE, Ask, Message, Pay, PayRecord, Record, ReserveRecord
from racos.core.replica import Replica
from tests.queue.world import QueueNode, QueueWorld
from tests.scenarios.stage import Stage
from tests.scenarios.wording import kind, members, message_text


class QueueStage(QueueWorld, Stage):
    def batch_name(self, position: int) -> str:
        stamp, lane = divmod(position, self.quorum.total)
        return "none" if position == NONE else f"b{stamp}.l{lane}"

    def place_name(self, position: int) -> str:
        return f"s{position}"

    def kind(self, message: Message | Chunk) -> str:
        if not isinstance(message, Ballot):
            return kind(message)
        if message.step == PROPOSAL:
            return "PROPOSAL"
        return "STATE" if is_state(message.step) else "VOTE"

    def text(self, message: Message | Chunk) -> str:
        match message:
            case Pay(lane, stamp, _, payload, held):
                return f"PAY b{stamp}.l{lane} held={members(held)} {payload.descriptor.decode()}"
            case Ballot():
                return self._ballot_text(message)
            case Settled(slot, name):
                return f"SETTLED s{slot} {self.batch_name(name)}"
            case Pull(name):
                return f"PULL {self.batch_name(name)}"
            case Ask(position):
                return f"ASK from s{position}"
            case Chunk(start, end, batches):
                names = ",".join(payload.descriptor.decode() for _, payload in batches)
                return f"CHUNK s{start}..<s{end} [{names}]"
            case _:
                return message_text(message, self.quorum.total)

    def _ballot_text(self, ballot: Ballot) -> str:
        slot, step, value, name = ballot
        if step == PROPOSAL:
            return f"PROPOSAL s{slot} {self.batch_name(name)}"
        shown = "?" if value == UNSURE else str(value)
        named = f" {self.batch_name(name)}" if value == 1 else ""
        return f"{self.kind(ballot)} s{slot} p{phase_of(step)}={shown}{named}"

    def record_text(self, record: Record) -> str | None:
        match record:
            case Ballot():
                return self._ballot_text(record)
            case PayRecord(lane, stamp, payload, held, _):
                return f"PAY b{stamp}.l{lane} held={members(held)} {payload.descriptor.decode()}"
            case ReserveRecord(upto):
                return f"RESERVE stamps upto {upto}"
            case _:
                return None

    def _say_decided(self, lane: int, replica: Replica) -> None:
        """The effects of the turn tell it (see `finish`)."""

    def finish(self, lane: int) -> None:
        node = self.nodes[lane]
        if node.replica is None:
            return
        assert isinstance(node, QueueNode)
        agreement = node.queue.agreement
        before, known = agreement.frontier, dict(agreement.statistics)
        node.turn()
        cost = " [delays {}, syncs {}]".format(*self._cost[lane]) if self._counting else ""
        by_votes = sum(
            agreement.statistics[each] - known[each] for each in known if each != "phases"
        )
        for slot in range(before, agreement.frontier):
            name = self.batch_name(node.queue._recent.get(slot, NONE))
            why = "by votes" if by_votes else "was told"
            self.say(f"{lane} passes s{slot}: {name} ({why}){cost}", always=True)

    def show(self, lane: int) -> None:
        node = self.nodes[lane]
        if node.replica is None:
            self.say(f"{lane} is down")
            return
        assert isinstance(node, QueueNode)
        names = " ".join(name.decode() for _, name in node.applied) or "nothing"
        queue = node.queue
        waiting = (
            " ".join(self.batch_name(name) for name in sorted(queue.pool.batches)) or "nothing"
        )
        suspects = members(queue.peers.suspected(queue.now))
        self.say(
            f"{lane} at s{queue.window.frontier}, applied {names}, queued {waiting}, "
            f"suspects {suspects}"
        )

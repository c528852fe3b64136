"""Configuration epochs: what is said where a lane is off, and who believes what."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from racos.core.config import Config
from racos.core.messages import Hold, Message, Pay, Payload, State, Vote
from racos.node import changes
from racos.pb import batch_pb2 as pb
from racos.sim.violation import Violation


class Lanes:
    """Verifies, with epochs reckoned here anew from the order of batches:

    - nobody says anything (PAY, STATE, VOTE, HOLD) about a slot whose lane is off, and nobody had
      done so before the lane was switched off;
    - no replica takes another epoch to be in force than the batches it applied say;
    - never more than f lanes are off.

    Not verified: what is never delivered, and whether switching was wise.
    """

    def __init__(self, total: int, faults: int, delay: int) -> None:
        self.configs = [Config()]
        self._faults = faults
        self._delay = delay  # W
        self._total = total
        self._applied = -1  # the highest position any replica applied
        self._spoken = [-1] * total  # per lane, the highest round anybody spoke about

    def received(self, sender: int, message: Message) -> None:
        """A message reached a replica."""
        if isinstance(message, State | Vote):
            self._said(sender, message.lane, range(message.first, message.last + 1))
        elif isinstance(message, Pay | Hold):
            self._said(sender, message.lane, range(message.round, message.round + 1))

    def _said(self, sender: int, lane: int, rounds: Sequence[int]) -> None:
        self._spoken[lane] = max(self._spoken[lane], rounds[-1])
        if len(self.configs) == 1:
            return
        for round_ in rounds:
            if self._off(round_) >> lane & 1:
                raise Violation("epochs", f"n{sender} speaks of r{round_}.l{lane}, which is off")

    def _off(self, round_: int) -> int:
        return next(each.off for each in reversed(self.configs) if each.first <= round_)

    def applied(self, batches: Iterable[tuple[int, Payload]]) -> None:
        """A replica applies these batches; each does so in order, and without gaps."""
        for position, payload in batches:
            if position > self._applied:
                self._applied = position
                self._apply(position // self._total, bytes(payload.descriptor))

    def _apply(self, round_: int, descriptor: bytes) -> None:
        change = changes.found_in(pb.Batch.FromString(descriptor))
        epoch, _, off = self.configs[-1]
        if change is None or change.epoch != epoch or change.on != bool(off >> change.lane & 1):
            return
        off ^= 1 << change.lane
        if off.bit_count() > self._faults:
            return
        first = round_ + self._delay + 1
        self.configs.append(Config(epoch + 1, first, off))
        if not change.on and self._spoken[change.lane] >= first:
            text = f"somebody spoke of r{self._spoken[change.lane]}.l{change.lane} already"
            raise Violation("epochs", f"lane {change.lane} is off from r{first} on; {text}")

    def look(self, lane: int, known: Iterable[Config]) -> None:
        """A replica holds these epochs to be in force."""
        for config in known:
            if config not in self.configs:
                raise Violation("epochs", f"n{lane} believes in {config}; there is {self.configs}")
            if config.off.bit_count() > self._faults:
                raise Violation("epochs", f"n{lane} has more than f lanes off: {config}")

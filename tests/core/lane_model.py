"""Changes of the configuration in a world of opaque batches: how they are named, what they should
come to (reckoned here anew, from the order of batches alone), and what must not be said then.
"""

from __future__ import annotations

import re

from racos.core.config import Change, Config
from racos.core.messages import Payload, PayRecord, Record, StateRecord, VoteRecord

_NAME = re.compile(rb"(on|off)\.l(\d)\.e(\d+)")


def change_payload(change: Change) -> Payload:
    return Payload(b"%s.l%d.e%d" % ((b"off", b"on")[change.on], change.lane, change.epoch))


def change_of(name: bytes) -> Change | None:
    """The change that a batch of this name is; None for any other."""
    match = _NAME.fullmatch(name)
    return Change(int(match[2]), match[1] == b"on", int(match[3])) if match else None


class LaneModel:
    """Which lane is off in which round, as the applied batches say."""

    def __init__(self, faults: int, delay: int) -> None:
        self.faults = faults
        self.delay = delay
        self.configs = [Config()]

    def apply(self, round_: int, name: bytes) -> Config | None:
        """The next batch in the order; the epoch it begins."""
        change, (epoch, _, off) = change_of(name), self.configs[-1]
        if change is None or change.epoch != epoch or change.on != bool(off >> change.lane & 1):
            return None
        off = off - (1 << change.lane) if change.on else off + (1 << change.lane)
        if not change.on and off.bit_count() > self.faults:
            return None
        self.configs.append(Config(epoch + 1, round_ + self.delay + 1, off))
        return self.configs[-1]

    @property
    def newest(self) -> Config:
        return self.configs[-1]

    def is_off(self, lane: int, round_: int) -> bool:
        off = [config.off for config in self.configs if config.first <= round_][-1]
        return bool(off >> lane & 1)

    def check(self, record: Record) -> None:
        """Nobody writes down anything about a slot whose lane is off."""
        if isinstance(record, StateRecord | VoteRecord):
            rounds = range(record.first, record.last + 1)
        elif isinstance(record, PayRecord):
            rounds = range(record.round, record.round + 1)
        else:
            return
        for round_ in rounds:
            assert not self.is_off(record.lane, round_), (
                f"r{round_}.l{record.lane} is off: {record}"
            )

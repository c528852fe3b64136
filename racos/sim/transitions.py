"""Counts what the core did, so that a campaign shows which of its transitions it took."""

from __future__ import annotations

from collections import Counter

from racos.core.effects import Effects
from racos.core.messages import (
    UNSURE,
    AppliedRecord,
    PayRecord,
    Record,
    ReserveRecord,
    StateRecord,
    VoteRecord,
)

_LATER = ("in phase 0", "in a later phase")
_VOTES = {0: "0", 1: "1", UNSURE: "?"}

# What 60 seeds must have done at least once each. A rule that is never used is not tested.
EXPECTED = (
    *(f"state {value} {phase}" for value in (0, 1) for phase in _LATER),
    *(f"vote {value} {phase}" for value in "01?" for phase in _LATER),
    "batch without a promise",
    "rounds reserved",
    "slots applied",
    "own batch rejected",
    "rebuild asked for",
    "chunk served",
    "reads done",
    "fast",
    "voted_one",
    "voted_zero",
    "widened",
    "fragments healed",
    "fragments pruned",
    "records replayed",
    "leases granted",
    "leases renewed",
    "leases expired",
    "leases revoked",
    "leases ended with keys",
    "expiries that came too late",
    "watches compacted",
    "starts refused",
    "bad fragments found",
    "contested",
)


class Transitions:
    """Of all replicas and all their lives. Records are promises: one for each rule of the protocol
    that lets a replica say something."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def note(self, effects: Effects) -> None:
        """One turn of a replica."""
        counts = self.counts
        for record in effects.records:
            counts[_name(record)] += 1
        for name, happened in (
            ("own batch rejected", effects.rejected),
            ("rebuild asked for", effects.rebuilds),
            ("chunk served", effects.serves),
            ("reads done", effects.reads),
        ):
            if happened:
                counts[name] += len(happened)


def _name(record: Record) -> str:
    if isinstance(record, PayRecord):
        return "state 1 in phase 0" if record.says_one else "batch without a promise"
    if isinstance(record, StateRecord):
        return f"state {record.value} {_LATER[record.phase > 0]}"
    if isinstance(record, VoteRecord):
        return f"vote {_VOTES[record.value]} {_LATER[record.phase > 0]}"
    if isinstance(record, ReserveRecord):
        return "rounds reserved"
    assert isinstance(record, AppliedRecord)
    return "slots applied"

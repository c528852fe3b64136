"""Which of its transitions the code took in a run: a rule that is never used is not tested.

The core counts its own (racos.core.transitions); here is what one sees from outside, and what many
runs together must have done.
"""

from __future__ import annotations

from collections import Counter

from racos.core.effects import Effects
from racos.core.messages import AppliedRecord, ReserveRecord
from racos.core.transitions import NAMES

# A handful in 60 seeds: whether these have one at all depends on chance.
RARE = ("coin_1_given_up", "votes_unsure_cover", "starts refused", "watches compacted")

# What hundreds of seeds must have done at least once each; and 60, but for the rare ones.
EXPECTED = (
    *NAMES,
    "rounds reserved",
    "slots applied",
    "own batch rejected",
    "chunk served",
    "reads done",
    "lanes_off",
    "lanes_on",
    "fragments healed",
    "fragments pruned",
    "bad fragments found",
    "starts refused",
    "disks lost",
    "disks rebuilt",
    "ballast bytes given",
    "records replayed",
    "leases granted",
    "leases renewed",
    "leases expired",
    "leases revoked",
    "leases ended with keys",
    "expiries that came too late",
    "watches compacted",
    "contested",
)


class Transitions:
    """Of all replicas and all their lives."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def note(self, effects: Effects) -> None:
        """One turn of a replica."""
        counts = self.counts
        for record in effects.records:
            if isinstance(record, AppliedRecord):
                counts["slots applied"] += record.end - record.start
            elif isinstance(record, ReserveRecord):
                counts["rounds reserved"] += 1
        for name, happened in (
            ("own batch rejected", effects.rejected),
            ("chunk served", effects.serves),
            ("reads done", effects.reads),
        ):
            if happened:
                counts[name] += len(happened)

"""The states that the replicas end with, against the model's."""

from __future__ import annotations

from racos.mvcc.command import Range
from racos.mvcc.store import Store
from racos.sim.history import same_kv
from racos.sim.lease_model import Life
from racos.sim.model import Model
from racos.sim.violation import Violation


class Final:
    """P-9 and P-8 at the end of a run: a replica's revision, compaction revision, live keys and
    leases (TTL, count of renewals, attached keys) are what the model has after the whole order.

    Not verified: what lies between (answers and events are, elsewhere), and keys' old versions
    (`state` compares them between replicas).
    """

    def __init__(self, model: Model, digests: dict[bytes, int]) -> None:
        self.model = model
        self.digests = digests

    def check(self, lane: int, store: Store) -> None:
        model = self.model
        found = store.revision, store.compact_revision
        if found != (model.revision, model.compacted):
            text = f"n{lane} ends at (revision, compacted) {found}"
            raise Violation("P-9", f"{text}, not {(model.revision, model.compacted)}")
        everything = Range(b"\0", b"\0")
        kvs, wanted = store.range(everything).kvs, model.range(everything, model.revision)
        pairs = zip(kvs, wanted, strict=False)
        if len(kvs) != len(wanted) or not all(same_kv(a, b, self.digests) for a, b in pairs):
            raise Violation("P-8", f"n{lane} ends with the keys {kvs}, not {wanted}")
        leases = {
            lease.id: (lease.ttl, lease.renewal, lease.sorted_keys()) for lease in store.leases
        }
        right = {life.id: _shown(life) for life in model.leases.live.values()}
        if leases != right or store.leases.renewals != model.leases.renewals:
            raise Violation("P-12", f"n{lane} ends with the leases {leases}, not {right}")


def _shown(life: Life) -> tuple[int, int, list[bytes]]:
    return life.ttl, life.renewal, sorted(life.keys)

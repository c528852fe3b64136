"""Equal states."""

from __future__ import annotations

from racos.mvcc.store import Store
from racos.sim.violation import Violation


class Digests:
    """P-8: replicas that have applied the same hold the same state: keys, versions, leases.

    What was applied is told apart by the revision, the compaction revision, and how many leases
    were granted or renewed and how many ended (which need not take a revision).

    Not verified: states between two looks (the world looks after a random part of the turns that
    applied something, and at the end), and results of commands (see `linear`).
    """

    def __init__(self) -> None:
        self.compared = 0
        self._known: dict[tuple[int, int, int, int], tuple[bytes, int]] = {}

    def look(self, lane: int, store: Store) -> None:
        leases = store.leases
        ended = leases.granted - len(leases)
        state = store.revision, store.compact_revision, leases.renewals, ended
        digest = store.state_digest()
        known, by = self._known.setdefault(state, (digest, lane))
        self.compared += by != lane
        if known != digest:
            raise Violation("P-8", f"n{lane} and n{by} differ at (revision, compacted, ..) {state}")

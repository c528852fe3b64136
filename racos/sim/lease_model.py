"""Leases as one client alone would see them: the part of the sequential model that times nothing.

A lease's life is kept after its end, with the places in the decided order at which it began and
ended: the checker of leases sets the times of those places against what clients were told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(slots=True)
class Life:
    """One lease, from its grant to its end. Places count the commands of the order, from 0."""

    id: int
    ttl: int  # seconds
    granted: int  # place
    renewal: int  # number of the last renewal or of the grant, counted over all leases
    renewed: int = 0  # place of that
    keys: set[bytes] = field(default_factory=set)
    ended: int | None = None  # place
    by_time: bool = False  # ended by an expiry, not by a revocation
    revision: int = 0  # of the deletion of its keys; 0 if it had none


class LeaseModel:
    def __init__(self) -> None:
        self.live: dict[int, Life] = {}
        self.lives: list[Life] = []  # all there ever were, by grant
        self.renewals = 0  # and grants
        self.idle_expiries = 0  # that came to nothing: the lease was renewed, or gone

    def grant(self, id_: int, ttl: int, place: int) -> None:
        """Begin a lease that does not exist."""
        self.renewals += 1
        life = Life(id_, ttl, place, self.renewals, renewed=place)
        self.live[id_] = life
        self.lives.append(life)

    def renew(self, ids: Sequence[int], place: int) -> tuple[int, ...]:
        """The TTLs of those that exist, 0 for the others."""
        found = []
        for id_ in ids:
            life = self.live.get(id_)
            if life is not None:
                self.renewals += 1
                life.renewal, life.renewed = self.renewals, place
            found.append(life.ttl if life is not None else 0)
        return tuple(found)

    def end(self, id_: int, place: int, *, by_time: bool) -> Life:
        """End a lease that exists; its keys are the caller's to delete."""
        life = self.live.pop(id_)
        life.ended, life.by_time = place, by_time
        return life

    def move(self, key: bytes, old: int, new: int) -> None:
        """A key's lease changes; 0: none. The old one may be gone already."""
        if old in self.live:
            self.live[old].keys.discard(key)
        if new:
            self.live[new].keys.add(key)

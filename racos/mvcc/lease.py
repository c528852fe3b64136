"""Leases as replicated state: which exist, when in the log each was renewed, which keys they hold.

No clock here. Time enters as commands: every replica times a lease by itself (racos.node.leases),
and a lease ends by time only through a LeaseExpire that names the last renewal it saw. Whoever
timed a lease without having seen its latest renewal therefore changes nothing. Renewals are counted
over the whole table, grants included: a count per lease would begin anew when an id is granted
again, and an expiry still under way could end the new lease.

Invariant: the table has a key with a lease exactly if the key's live version names that lease and
the lease exists. (A state that comes from elsewhere may name some that do not.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from racos.mvcc.encoding import (
    ATTACHED,
    LEASES,
    LeaseRecord,
    after,
    attached_key,
    decode_lease,
    encode_lease,
    key_of_attached,
    lease_id,
    lease_key,
)
from racos.mvcc.shelf import Shelf


class LeaseInfo(NamedTuple):
    """A lease as one replica that times it sees it."""

    ttl: int  # seconds, as granted
    remaining: float  # seconds until it may end; 0 when it is over but not ended yet
    keys: tuple[bytes, ...]  # in key order


class Lease:
    """One lease that exists."""

    __slots__ = ("id", "keys", "number", "renewal", "ttl")

    def __init__(self, id_: int, ttl: int, renewal: int, number: int) -> None:
        self.id = id_
        self.number = number  # of its grant, among all grants there were
        self.ttl = ttl  # seconds, as granted
        self.renewal = renewal  # number of its last renewal, or of its grant
        self.keys: set[bytes] = set()  # live keys attached; sort before the order matters

    def sorted_keys(self) -> list[bytes]:
        """The attached keys in key order."""
        return sorted(self.keys)


class LeaseTable:
    """The leases of one replica; changed only by decided commands, through the store.

    All in memory; what changes is written to the shelf as well. `listener` is told the id of every
    lease that was granted, renewed or removed.
    """

    __slots__ = ("_leases", "_shelf", "granted", "listener", "renewals")

    def __init__(self, shelf: Shelf, granted: int = 0, renewals: int = 0) -> None:
        self._shelf = shelf
        self._leases = _load(shelf)
        self.granted = granted  # leases ever
        self.renewals = renewals  # grants and renewals applied, of all leases there ever were
        self.listener: Callable[[int], None] | None = None

    def __contains__(self, id_: object) -> bool:
        return id_ in self._leases

    def __len__(self) -> int:
        return len(self._leases)

    def __iter__(self) -> Iterator[Lease]:
        """All leases, oldest grant first."""
        return iter(self._leases.values())

    def get(self, id_: int) -> Lease | None:
        return self._leases.get(id_)

    def grant(self, id_: int, ttl: int) -> None:
        """Add a lease that does not exist yet."""
        assert id_ not in self._leases
        self.granted += 1
        self.renewals += 1
        self._leases[id_] = lease = Lease(id_, ttl, self.renewals, self.granted)
        self._write(lease)
        self._tell(id_)

    def renew(self, id_: int) -> int:
        """Count a renewal; the lease's TTL in seconds, or 0 if there is no such lease."""
        lease = self._leases.get(id_)
        if lease is None:
            return 0
        self.renewals += 1
        lease.renewal = self.renewals
        self._write(lease)
        self._tell(id_)
        return lease.ttl

    def remove(self, id_: int) -> None:
        """Forget a lease, whose keys are gone already."""
        lease = self._leases.pop(id_)
        assert not lease.keys, "the keys of a lease go before it"
        self._shelf.delete(lease_key(id_))
        self._tell(id_)

    def move(self, key: bytes, old: int, new: int) -> None:
        """A live key's lease changes; 0 stands for none (before a key exists, after its delete)."""
        if old == new:
            return
        holder = self._leases.get(old)
        if holder is not None:  # what came from elsewhere may name a lease that did not
            holder.keys.discard(key)
            self._shelf.delete(attached_key(old, key))
        if new:
            self._leases[new].keys.add(key)
            self._shelf.put(attached_key(new, key), b"")

    def _write(self, lease: Lease) -> None:
        record = LeaseRecord(lease.ttl, lease.renewal, lease.number)
        self._shelf.put(lease_key(lease.id), encode_lease(record))

    def _tell(self, id_: int) -> None:
        if self.listener is not None:
            self.listener(id_)


def _load(shelf: Shelf) -> dict[int, Lease]:
    found = []
    for entry, data in shelf.scan(LEASES, after(LEASES)):
        ttl, renewal, number = decode_lease(data)
        found.append(Lease(lease_id(entry), ttl, renewal, number))
    leases = {lease.id: lease for lease in sorted(found, key=lambda lease: lease.number)}
    for entry in shelf.keys(ATTACHED, after(ATTACHED)):
        leases[lease_id(entry)].keys.add(key_of_attached(entry))
    return leases

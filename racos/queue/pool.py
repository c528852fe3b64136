"""The queue: batches that are known and not applied, and which of them to propose next.

Published: the oldest. Here the oldest, too, among those of which this replica's own fragment is
written down (correction D1); but after a null slot the one that most replicas proposed there, and
those that failed often last, by lot (correction D5).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import blake2b

from racos.core.ballots import NONE
from racos.core.messages import Payload

HORIZON_STAMPS = 1024  # a name that the order has left this far behind is dead, on all replicas
TRIES_MAX = 4  # null slots after which a batch may be an orphan that cannot be rebuilt
BATCHES_PER_LANE_MAX = 64
LIKELY_LOST_MAX = 8  # batches sent along with one that a replica asked for


class Settlement:
    """Which names the applied prefix of slots contains, and which it has left behind.

    A function of the prefix alone: replicas that stand at the same slot agree on what is dead, so
    nobody proposes a dead name there or later, and its owner may propose its batch anew.
    """

    __slots__ = ("_names", "_total", "_trimmed_at", "highest_stamp")

    def __init__(self, total: int) -> None:
        self._total = total
        self._names: set[int] = set()
        self._trimmed_at = 0  # horizon of the last trimming
        self.highest_stamp = -1

    @property
    def horizon(self) -> int:
        """Stamps below it are dead."""
        return self.highest_stamp - HORIZON_STAMPS

    def add(self, name: int) -> None:
        self._names.add(name)
        self.highest_stamp = max(self.highest_stamp, name // self._total)
        if self.horizon - self._trimmed_at >= HORIZON_STAMPS:
            self._trimmed_at = self.horizon
            self._names = {each for each in self._names if not self.is_dead(each)}

    def is_dead(self, name: int) -> bool:
        return name // self._total < self.horizon

    def covers(self, name: int) -> bool:
        """Whether the name must not be proposed: it was applied, or is dead."""
        return name in self._names or self.is_dead(name)


class Batch:
    """A batch on its way. `decided` is always None: what is decided leaves the pool."""

    __slots__ = (
        "backers",
        "decided",
        "lane",
        "name",
        "payload",
        "rebuilding",
        "recorded",
        "round",
        "stored",
        "tries",
    )

    def __init__(self, name: int, total: int, payload: Payload) -> None:
        self.name = name
        self.round, self.lane = divmod(name, total)  # round is the stamp
        self.payload = payload
        self.decided: int | None = None
        self.recorded = False  # in this replica's log, or queued for it
        self.stored = 0  # bit set of fragments likewise
        self.rebuilding = False  # the own fragment is asked of the node
        self.tries = 0  # null slots in which it was proposed, TRIES_MAX at most
        self.backers = 0  # bit set of the others that proposed it

    def is_held(self, me: int) -> bool:
        """Whether this replica may vouch for it: the log has the descriptor and its fragment."""
        return self.recorded and (not self.payload.coded or bool(self.stored >> me & 1))

    def back(self, peer: int) -> None:
        """Another replica turns out to hold it: worth trying again."""
        if not self.backers >> peer & 1:
            self.backers |= 1 << peer
            self.tries = 0


class Pool:
    __slots__ = ("_me", "_total", "batches", "highest_stamp", "settlement")

    def __init__(self, me: int, total: int, settlement: Settlement) -> None:
        self._me = me
        self._total = total
        self.settlement = settlement
        self.batches: dict[int, Batch] = {}
        self.highest_stamp = settlement.highest_stamp  # seen anywhere

    @property
    def has_room(self) -> bool:
        return len(self.batches) < BATCHES_PER_LANE_MAX * self._total

    def meet(self, name: int) -> None:
        self.highest_stamp = max(self.highest_stamp, name // self._total)

    def find_or_add(self, name: int, payload: Payload, *, decided: bool = False) -> Batch | None:
        """The batch of that name; None if it is over, or not decided and there is no room."""
        self.meet(name)
        batch = self.batches.get(name)
        if batch is None and not self.settlement.covers(name):
            if not self.has_room and not decided:
                return None
            batch = self.batches[name] = Batch(name, self._total, payload)
        return batch

    def head(self, last: Mapping[int, int], slot: int) -> int:
        """What to propose in this slot, NONE if nothing.

        `last`: how often each name was proposed in the slot before, if that became null: whoever
        heard alike then proposes alike now. Those that failed often are drawn by lot, the same on
        all replicas: however orphans and what all hold are spread, sometimes all draw alike.
        """

        def rank(batch: Batch) -> tuple[bool, int, int]:
            if batch.tries == TRIES_MAX:
                return True, lot(slot, batch.name), batch.name
            return False, -last.get(batch.name, 0), batch.name

        ready = [batch for batch in self.batches.values() if batch.is_held(self._me)]
        return min(ready, key=rank).name if ready else NONE

    def is_hopeful(self, name: int) -> bool:
        """Whether a slot for it is likely to succeed."""
        batch = self.batches.get(name)
        return batch is not None and batch.tries < TRIES_MAX

    def count_tries(self, names: Iterable[int]) -> None:
        """These were proposed in a slot that became null."""
        for name in names:
            batch = self.batches.get(name)
            if batch is not None:
                batch.tries = min(batch.tries + 1, TRIES_MAX)

    def likely_lost(self, name: int, peer: int) -> list[Batch]:
        """The next own batches after one that the peer lacks, if nothing shows that it has them."""
        lost = [
            batch
            for batch in self.batches.values()
            if batch.lane == self._me and batch.name > name and not batch.backers >> peer & 1
        ]
        return sorted(lost, key=lambda batch: batch.name)[:LIKELY_LOST_MAX]

    def settle(self, name: int) -> None:
        """It is applied."""
        self.batches.pop(name, None)
        self.settlement.add(name)

    def take_dead(self) -> list[Batch]:
        """Those that were left behind; they are forgotten."""
        dead = [each for each in self.batches.values() if self.settlement.is_dead(each.name)]
        for batch in dead:
            del self.batches[batch.name]
        return dead


def lot(slot: int, name: int) -> int:
    """A random order of names, another one for each slot, and equal on all replicas."""
    text = b"%d %d" % (slot, name)
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "big")


class Stamps:
    """The stamps this replica may name batches with: never one that an earlier life has used."""

    __slots__ = ("_block", "next", "reserved", "reserved_durable")

    def __init__(self, block: int, reserved: int) -> None:
        self._block = block
        self.next = reserved + 1
        self.reserved = reserved  # written down, maybe not durable yet
        self.reserved_durable = reserved

    def free(self, highest_seen: int) -> int | None:
        """The stamp of a new batch: above all seen, so that it queues up behind them; None while
        that is not reserved yet."""
        stamp = max(self.next, highest_seen + 1)
        return stamp if stamp <= self.reserved_durable else None

    def wanted_reservation(self, highest_seen: int) -> int | None:
        """Up to where to reserve now, if it is time."""
        target = max(self.next, highest_seen + 1)
        if self.reserved >= target + self._block // 2:
            return None
        self.reserved = target + self._block
        return self.reserved

"""Simulated clients that hold leases: they grant, keep alive, attach keys, revoke, and vanish."""

from __future__ import annotations

from racos.errors import TooManyRequests
from racos.mvcc.command import (
    Compare,
    CompareResult,
    CompareTarget,
    LeaseGrant,
    LeaseRevoke,
    Put,
    Txn,
)
from racos.sim.clients import Client
from racos.sim.history import Answer, Call, KeepAlive, Outcome, lease_id, name_txn
from racos.sim.machine import Machine

_THINK_SECONDS = 0.15  # mean pause, if the world's clients don't pause longer


class TtlReply:
    """Where the node leaves the answer to a keep-alive."""

    __slots__ = ("_client", "call")

    def __init__(self, client: Client, call: Call) -> None:
        self._client = client
        self.call = call

    def done(self) -> bool:
        return self.call.outcome is not Outcome.OPEN

    def set_result(self, ttl: int, /) -> None:
        self._client.finish(self.call, Outcome.OK, ttl)

    def set_exception(self, error: Exception, /) -> None:
        refused = isinstance(error, TooManyRequests)
        outcome = Outcome.NOT_DONE if refused else Outcome.UNKNOWN
        self._client.finish(self.call, outcome, None)


class Holder(Client):
    """Has one lease at a time, and no more calls about a lease than it would have in earnest: a
    lease is revoked once at most. Now and then it is silent for about the lease's TTL, so that
    keep-alives and the lease's end meet, or leaves the lease alone for good.
    """

    lease: int = 0  # 0: none
    ttl: int = 1

    def _pause(self) -> float:
        source = self._source
        if self.lease and source.random() < 0.15:
            return max(0.0, self.ttl + source.uniform(-0.3, 1.0))
        return source.expovariate(1 / max(_THINK_SECONDS, self.options.think))

    def _ask(self, machine: Machine) -> None:
        kind = self._source.random()
        if not self.lease:
            self._grant(machine)
        elif kind < 0.45:
            self.keep_alive(machine)
        elif kind < 0.75:
            self.write(machine, self._attach(len(self._record.calls)))
        elif kind < 0.85:
            self.write(machine, self._attach_if_new(len(self._record.calls)))
        elif kind < 0.93:
            lease, self.lease = self.lease, 0
            self.write(machine, LeaseRevoke(lease))
        else:
            self._grant(machine)  # and the old one is abandoned

    def _grant(self, machine: Machine) -> None:
        self.lease = lease_id(len(self._record.calls))
        self.ttl = self._source.randint(1, self.options.ttl)
        self.write(machine, LeaseGrant(self.lease, self.ttl))

    def keep_alive(self, machine: Machine) -> Call:
        call = self._begin(machine, KeepAlive(self.lease))
        reply, lease = TtlReply(self, call), self.lease
        machine.call(lambda driver: driver.leases.keep_alive(lease, reply))
        return call

    def _key(self) -> bytes:
        """Sometimes a key of its own, which nobody else writes."""
        own = self._source.random() < 0.6
        return b"kh%d" % self.number if own else super()._key()

    def _attach(self, number: int) -> Put:
        return self.draw_put(number)._replace(lease=self.lease)

    def _attach_if_new(self, number: int) -> Txn:
        put = self._attach(number)
        absent = Compare(CompareResult.EQUAL, CompareTarget.VERSION, put.key, 0)
        return name_txn(number, Txn((absent,), (put,)))

    def finish(self, call: Call, outcome: Outcome, answer: Answer) -> None:
        if call.outcome is Outcome.OPEN:
            self._learn(call, outcome, answer)
        super().finish(call, outcome, answer)

    def _learn(self, call: Call, outcome: Outcome, answer: Answer) -> None:
        gone = answer in (0, "LeaseNotFound")
        unsure = outcome is not Outcome.OK and isinstance(call.request, LeaseGrant)
        if (outcome is Outcome.OK and gone) or (unsure and self._source.random() < 0.5):
            self.lease = 0

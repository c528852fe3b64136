"""Linearizable reads from their arrival until what they must see is applied here."""

from __future__ import annotations

from collections.abc import Iterable

from racos.errors import RequestTimedOut
from racos.node.leases import BarrierReply


class WaitingReads:
    """All reads that came between two turns share a ticket, and with it one probe."""

    __slots__ = ("_new", "_next", "_tickets")

    def __init__(self) -> None:
        self._new: list[BarrierReply] = []
        self._tickets: dict[int, tuple[list[BarrierReply], float]] = {}  # with their deadline
        self._next = 0

    def __contains__(self, ticket: int) -> bool:
        return ticket in self._tickets

    def add(self, read: BarrierReply) -> None:
        self._new.append(read)

    def ask(self, deadline: float) -> int | None:
        """The ticket for what came since the last call, None if nothing did."""
        if not self._new:
            return None
        self._next += 1
        self._tickets[self._next] = self._new, deadline
        self._new = []
        return self._next

    def finish(self, tickets: Iterable[int]) -> None:
        """These may be answered now."""
        for ticket in tickets:
            reads, _ = self._tickets.pop(ticket, ((), 0.0))
            for read in reads:
                if not read.done():
                    read.set_result(None)

    def expire(self, now: float) -> None:
        """Answer whoever waited too long."""
        for ticket, (reads, deadline) in list(self._tickets.items()):
            if deadline <= now:
                _fail(reads, RequestTimedOut())
                del self._tickets[ticket]

    def fail_all(self, error: Exception) -> None:
        """The node ends."""
        _fail(self._new, error)
        for reads, _ in self._tickets.values():
            _fail(reads, error)


def _fail(reads: Iterable[BarrierReply], error: Exception) -> None:
    for read in reads:
        if not read.done():
            read.set_exception(error)

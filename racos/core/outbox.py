"""Two outboxes: what may go now, and promises that go only once their record is durable.

A promise is broadcast, and counted by this replica itself, when the log says so and not before: a
crash can then never make a replica deny what others, or its own decisions, already rest on.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple, TypeVar, cast

from racos.core.messages import Decide, Message, Record, State, StateRecord, Vote, VoteRecord

ALL = -1  # destination: every other replica

_RANGED = (State, Vote, Decide, StateRecord, VoteRecord)


class Sealed(NamedTuple):
    """What one turn wants carried out, in this order: append the records, send the messages."""

    records: list[Record]
    token: int  # tell the outbox when everything up to here is durable
    sends: list[tuple[int, Message]]


class Outbox:
    __slots__ = ("_awaiting", "_promised", "_records", "_sends", "token")

    def __init__(self) -> None:
        self._records: list[Record] = []
        self._promised: list[Message] = []
        self._sends: list[tuple[int, Message]] = []
        self._awaiting: deque[tuple[int, list[Message]]] = deque()
        self.token = 0  # grows by one with every sealed set of records

    def send(self, destination: int, message: Message) -> None:
        """Send without waiting for anything."""
        if self._sends and self._sends[-1][0] == destination:
            joined = _join(self._sends[-1][1], message)
            if joined is not None:
                self._sends[-1] = (destination, joined)
                return
        self._sends.append((destination, message))

    def record(self, record: Record) -> None:
        """Write down without promising anything by it."""
        joined = _join(self._records[-1], record) if self._records else None
        if joined is None:
            self._records.append(record)
        else:
            self._records[-1] = joined

    def promise(self, record: Record, message: Message) -> None:
        """Write down, and say it to everyone (oneself included) once that is durable."""
        self.record(record)
        joined = _join(self._promised[-1], message) if self._promised else None
        if joined is None:
            self._promised.append(message)
        else:
            self._promised[-1] = joined

    def seal(self) -> Sealed:
        """Hand over what has gathered since the last call."""
        if self._records:
            self.token += 1
        if self._promised:
            self._awaiting.append((self.token, self._promised))
            self._promised = []
        sealed = Sealed(self._records, self.token, self._sends)
        self._records = []
        self._sends = []
        return sealed

    def durable(self, token: int) -> list[Message]:
        """The promises that may be said now, in the order they were made."""
        messages: list[Message] = []
        while self._awaiting and self._awaiting[0][0] <= token:
            messages.extend(self._awaiting.popleft()[1])
        return messages


_T = TypeVar("_T", bound=object)


def _join(last: object, new: _T) -> _T | None:
    """Two statements about neighbouring rounds as one, if they differ in nothing else."""
    if not isinstance(new, _RANGED) or type(last) is not type(new):
        return None
    assert isinstance(last, _RANGED)
    whole = last._replace(last=new.last)
    if last.last + 1 == new.first and new._replace(first=last.first) == whole:
        return cast(_T, whole)
    return None

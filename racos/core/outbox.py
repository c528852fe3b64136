"""Two outboxes: what may go now, and promises that go only once their record is durable.

A promise is broadcast, and counted by this replica itself, when the log says so and not before: a
crash can then never make a replica deny what others, or its own decisions, already rest on.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple, TypeVar, cast

from racos.core.messages import Decide, Message, Record, State, StateRecord, Vote, VoteRecord

ALL = -1  # destination: every other replica
BESIDE_SECONDS = 0.005

_RANGED = (State, Vote, Decide, StateRecord, VoteRecord)


class Sealed(NamedTuple):
    """What one turn wants carried out, in this order: append the records, send the messages."""

    records: list[Record]
    token: int  # tell the outbox when everything up to here is durable
    sends: list[tuple[int, Message]]


class Outbox:
    __slots__ = (
        "_awaiting",
        "_beside",
        "_beside_until",
        "_promised",
        "_records",
        "_sealed_at",
        "_sends",
        "_sync_seconds",
        "now",
        "token",
    )

    def __init__(self) -> None:
        self._records: list[Record] = []
        self._promised: list[Message] = []
        self._sends: list[tuple[int, Message]] = []
        self.now = 0.0
        self._beside: list[Message] = []
        self._beside_until = 0.0
        self._sealed_at: deque[float] = deque()  # of the promises that wait
        self._sync_seconds = 0.0  # how long the last promise waited
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

    def beside(self, message: Message) -> None:
        """Broadcast together with the next promise, to save a frame; at once if none waits, or if
        the last one waited longer than BESIDE_SECONDS."""
        if (not self._promised and not self._awaiting) or self._sync_seconds > BESIDE_SECONDS:
            self.send(ALL, message)
            return
        if not self._beside:
            self._beside_until = self.now + BESIDE_SECONDS
        self._beside.append(message)

    def overdue(self) -> None:
        """If the sync that `beside` waits for is slow, don't wait for it."""
        if self._beside and self.now >= self._beside_until:
            self._sync_seconds = max(self._sync_seconds, self.now - self._sealed_at[0])
            self._say_beside()

    def _say_beside(self) -> None:
        for message in self._beside:
            self.send(ALL, message)
        self._beside = []

    def seal(self) -> Sealed:
        """Hand over what has gathered since the last call."""
        if self._records:
            self.token += 1
        if self._promised:
            self._awaiting.append((self.token, self._promised))
            self._sealed_at.append(self.now)
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
            self._sync_seconds = self.now - self._sealed_at.popleft()
        if messages:
            self._say_beside()
        return messages


_T = TypeVar("_T", bound=object)


def _join(last: object, new: _T) -> _T | None:
    """Two statements about neighbouring rounds as one, if they differ in nothing else."""
    if not isinstance(new, _RANGED) or type(last) is not type(new):
        return None
    assert isinstance(last, _RANGED)
    if last.last + 1 != new.first:
        return None
    whole = last._replace(last=new.last)
    return cast(_T, whole) if new._replace(first=last.first) == whole else None

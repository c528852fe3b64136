"""What a replica hands to whoever drives it: effects to carry out, and history for those behind."""

from __future__ import annotations

from typing import NamedTuple

from racos.core.config import Change
from racos.core.messages import Message, Payload, Record


class Chunk(NamedTuple):
    """Decided history: batches by position, everything else in [start, end) is null."""

    start: int
    end: int
    batches: tuple[tuple[int, Payload], ...]
    frontier: int  # the sender's


class Effects(NamedTuple):
    """Carry out in this order. `sends` may go at once; promises come by `persisted`."""

    records: list[Record]
    token: int
    sends: list[tuple[int, Message]]  # (lane or ALL, message)
    applied: list[tuple[int, Payload]]  # batches to apply now, in order
    rejected: list[tuple[int, Payload]]  # own batches whose slot became null: propose them again
    rebuilds: list[tuple[int, int]]  # (position, fragments): rebuild these and call `rebuilt`
    serves: list[tuple[int, int]]  # (peer, position): send it a Chunk from there
    reads: list[int]  # tickets whose read may be done now
    wish: Change | None  # propose this in a batch of its own, before any other; it is said once

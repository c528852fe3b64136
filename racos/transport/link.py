"""The link port: what a node asks of the network between replicas.

The mesh implements it over TCP; a simulated network can take its place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

from racos.transport.frame import Buffer

__all__ = ["FrameHandler", "LaneHandler", "Link"]

# Called with the sender's lane, the frame's header and its blobs.
FrameHandler: TypeAlias = Callable[[int, bytes, Sequence[Buffer]], None]
# Called with a lane whose link came up or went down.
LaneHandler: TypeAlias = Callable[[int], None]


class Link(Protocol):
    """Best effort, in order while a connection lasts: a frame may be lost, never altered."""

    def send(self, lane: int, header: bytes, blobs: Sequence[Buffer] = ()) -> bool:
        """Queue a frame for a peer. False, and nothing queued, if it is down or its queue full.

        Never blocks. The buffers are not copied: do not change them afterwards.
        """

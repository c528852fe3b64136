"""What a driver needs of the world besides its log's disk and a clock, and what shapes it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from racos.core.engine import LANES
from racos.core.messages import Buffer
from racos.node.auditor import Auditing
from racos.node.batcher import Limits
from racos.node.checkpoint import Flushes
from racos.node.cleaner import Space
from racos.node.fetching import AtOnce, Reader
from racos.node.healer import Healing
from racos.node.scrubber import Scrubbing
from racos.storage.log import Batch


class Link(Protocol):
    """Frames to peers: coalesced, bounded, never blocking. False when it cannot be sent."""

    def send(self, lane: int, header: bytes, blobs: Sequence[Buffer] = ()) -> bool: ...


class Flusher(Protocol):
    def start(self, batch: Batch) -> bool:
        """Run the batch: at once, and say True; or off this thread, say False, and have
        `Driver.flushed(batch)` called later."""


class Options(NamedTuple):
    """What shapes a node beyond the core's settings."""

    inline_limit: int = 2048  # bytes
    cache_bytes: int = 64 << 20
    limits: Limits = Limits()
    healing: Healing = Healing()
    space: Space = Space()
    scrubbing: Scrubbing = Scrubbing()
    auditing: Auditing = Auditing()
    flushes: Flushes = Flushes()
    engine: str = LANES
    reader: Reader = AtOnce()

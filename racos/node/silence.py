"""A node that has lost its memory: silent until it has taken what the others have.

The core finds the round up to which it may have spoken (racos.core.vow), which is written down;
history, state and fragments come as to any replica that is behind. When all slots up to that round
are applied and what this node should hold of them is durable, the directory says so, durably, and
the node speaks. A crash before that leaves it silent, with what it has taken so far.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from racos.core.engine import Engine
from racos.core.quorum import Quorum
from racos.core.replica import Replica
from racos.core.vow import Memory
from racos.node.healer import Healer
from racos.storage.vow import VowFile, Written

TELL_SECONDS = 5.0  # between two lines about the progress


class Progress(NamedTuple):
    """How far a silent node is. Rounds; -1: not known yet."""

    upto: int  # nothing is said up to there
    applied: int  # everything below is
    missing: int  # fragments of batches, known so far


def memory_of(file: VowFile | None, healer: Healer, quorum: Quorum) -> Memory:
    """What the disk says of the vow; of one that knows no vows, that it has its memory.

    Without it this replica's share of a batch may have been as much as rebuilds a value.
    """
    memory = Memory() if file is None else Memory(*file.written)
    if not memory.kept:
        healer.holdings.widen(quorum.share(healer.me, quorum.data))
    return memory


def silence_of(
    replica: Engine, file: VowFile | None, healer: Healer, report: Callable[[str], None]
) -> Silence | None:
    """None for a replica that takes no vows."""
    if file is None or not isinstance(replica, Replica):
        return None
    return Silence(replica, file, healer, report)


class Silence:
    """Ends a replica's silence when its time has come. Call `tick` every few milliseconds."""

    __slots__ = ("_file", "_healer", "_replica", "_report", "_told_at", "_was_known")

    def __init__(
        self, replica: Replica, file: VowFile, healer: Healer, report: Callable[[str], None]
    ) -> None:
        self._replica = replica
        self._file = file
        self._healer = healer
        self._report = report
        self._told_at: float | None = None
        self._was_known = False

    @property
    def progress(self) -> Progress | None:
        """None if this node speaks."""
        replica = self._replica
        if not replica.vow.silent:
            return None
        upto = -1 if replica.vow.upto is None else replica.vow.upto
        return Progress(upto, replica.window.round, len(self._healer.holdings.missing))

    def is_blank(self, revision: int) -> bool:
        """Whether this node, whose store is at this revision, has lost its state and nothing has
        come yet: what it would show has never been."""
        return self._replica.vow.silent and revision <= 1

    def tick(self, now: float) -> None:
        """OSError if the disk fails."""
        vow = self._replica.vow
        if not vow.silent:
            return
        self._healer.holdings.note_others(self._replica.peers.whole_elsewhere)
        if (
            vow.upto is not None
            and self._healer.whole >= (vow.upto + 1) * self._replica.quorum.total
        ):
            self._end()
            return
        if self._told_at is None:
            self._told_at = now  # a new cluster begins at once, and says nothing about it
        if vow.upto is not None and self._file.written.upto != vow.upto:
            self._file.write(self._file.written._replace(upto=vow.upto))
        is_news = self._was_known != (vow.upto is not None)
        if is_news or now - self._told_at >= TELL_SECONDS:
            self._told_at = now
            self._was_known = vow.upto is not None
            self._report(f"vow.silent {self._text()}")

    def _text(self) -> str:
        vow, progress = self._replica.vow, self.progress
        if vow.upto is None or progress is None:
            return f"upto_round=unknown: {vow.awaited()}"
        return f"upto_round={vow.upto} round={progress.applied} missing={progress.missing}"

    def _end(self) -> None:
        memory: Memory = self._replica.vow.kept()
        self._file.write(Written(*memory))
        self._healer.narrow()
        self._replica.speak(memory)
        if memory.upto >= 0:
            self._report(f"vow.kept upto_round={memory.upto}: this member takes part again")

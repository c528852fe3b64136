"""What watchers are promised."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from racos.mvcc.command import Event
from racos.sim.history import same_kv
from racos.sim.model import Model
from racos.sim.violation import Violation


@dataclass(slots=True)
class Stream:
    """What one watcher saw, over all replicas it was attached to."""

    watcher: int
    start: int
    seen: list[tuple[int, int, Sequence[Event]]] = field(default_factory=list)  # lane, revision
    gaps: list[tuple[int, int, int]] = field(default_factory=list)  # (index, asked, compacted)


class Watches:
    """Verifies each stream against the model after the run: ordered, unique, atomic (a revision's
    events together and in order), reliable and resumable (nothing missing between first and last,
    across changes of replica), create and modify revisions and previous values right.

    After `Compacted` a watcher goes on at the compaction revision: only then may revisions be
    missing, and the events of that revision may lack their previous values.

    Not verified: how soon events come, and the shim's own buffering and fragmenting (it has tests
    of its own; this is the history under it).
    """

    def __init__(self, model: Model, digests: dict[bytes, int]) -> None:
        self.model = model
        self.digests = digests

    def check(self, stream: Stream) -> None:
        expected = stream.start
        jumps = {index: compacted for index, _, compacted in stream.gaps}
        for index, (lane, revision, events) in enumerate(stream.seen):
            if index in jumps:
                expected = max(expected, jumps[index])
            if revision != expected:
                raise Violation(
                    "watch",
                    f"watcher {stream.watcher} at n{lane} saw revision {revision}"
                    f" where {expected} was due",
                )
            bare = revision <= self.model.compacted
            self._check_events(stream, lane, revision, events, bare)
            expected = revision + 1
        for _, asked, compacted in stream.gaps:
            if not asked < compacted <= self.model.compacted:
                raise Violation("watch", f"compacted at {asked} without reason ({compacted})")

    def _check_events(
        self, stream: Stream, lane: int, revision: int, events: Sequence[Event], bare: bool
    ) -> None:
        right = self.model.events.get(revision, [])
        same = len(right) == len(events) and all(
            actual.is_delete == wanted.is_delete
            and same_kv(actual.kv, wanted.kv, self.digests)
            and (
                (bare and actual.prev_kv is None)
                or same_kv(actual.prev_kv, wanted.prev_kv, self.digests)
            )
            for actual, wanted in zip(events, right, strict=True)
        )
        if not same:
            raise Violation(
                "watch",
                f"watcher {stream.watcher} at n{lane} saw {events} at {revision}, not {right}",
            )

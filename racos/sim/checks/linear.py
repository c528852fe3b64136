"""Strict serializability, guided by the order the replicas agreed on.

The cluster hands out the order itself: the decided batches, and in every answer the revision it
saw. So no search is needed. Cost: O(calls * log).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from racos.mvcc.command import (
    Command,
    Compact,
    DeleteResult,
    LeaseExpire,
    LeaseRenew,
    LeaseRevoke,
    PutResult,
    Range,
    RangeResult,
    Result,
    TxnResult,
)
from racos.sim.history import Call, KeepAlive, Outcome, number_of, same_kv
from racos.sim.model import Model, Refused
from racos.sim.violation import Violation


class Linear:
    """Verifies, once, at the end of a run, from the decided commands in order and all calls:

    - P-6: no command is in the order twice; one that was answered is in it; one that was refused
      before it was proposed is not;
    - each answer is what the model gives when it runs the order;
    - real time: a command that returned before another was called comes before it in the order;
    - a linearizable read saw every command that returned before the read was called, none that was
      called after it returned, and not less than an earlier read; its answer is the model's at that
      revision; fetched values are the bytes that were put;
    - a serializable read saw some revision's exact state, never an older one than the same client
      saw before in the same life of that replica.

    Not verified: the order of commands without effect (they have no revision) against reads, and
    compactions' place in real time (they may be repeated; their effect is checked by refusals).
    """

    def __init__(self, calls: Sequence[Call], heads: dict[bytes, int]) -> None:
        self.calls = calls
        self.heads = heads
        self.model = Model()
        self._revocations = {
            call.request.id: call.number for call in calls if isinstance(call.request, LeaseRevoke)
        }
        self._place: dict[int, int] = {}  # call -> index in the order
        self._revision: dict[int, int] = {}  # call -> revision after it
        self._changed: list[int | None] = []  # the call behind each revision from 2 on, if one is

    def run(self, order: Iterable[Command]) -> Model:
        """Check everything; returns the model after the whole order."""
        self._replay(order)
        self._check_presence()
        self._check_real_time()
        self._check_reads()
        return self.model

    def _replay(self, order: Iterable[Command]) -> None:
        for index, command in enumerate(order):
            number = number_of(command, self.heads, self._revocations)
            if number is None:
                assert isinstance(command, Compact | LeaseRenew | LeaseExpire)
                before = self.model.revision
                self.model.apply(command)
                self._changed += [None] * (self.model.revision - before)
                continue
            if number in self._place:
                raise Violation("P-6", f"call {number} is in the order twice: {command}")
            call = self.calls[number]
            assert not isinstance(call.request, Range | KeepAlive)
            before = self.model.revision
            expected = self.model.apply(call.request)
            self._place[number] = index
            self._revision[number] = self.model.revision
            if self.model.revision > before:
                self._changed.append(number)
            if call.outcome is Outcome.OK:
                self._compare(call, expected)

    def _compare(self, call: Call, expected: Result | Refused) -> None:
        if isinstance(expected, Refused):
            right = call.answer == expected.error
        else:
            right = not isinstance(call.answer, str | int) and self._same(call.answer, expected)
        if not right:
            raise Violation("answer", f"{call} should have got {expected}")

    def _same(self, actual: Result | None, expected: Result, nested: bool = False) -> bool:
        if type(actual) is not type(expected) or actual is None:
            return False
        if not nested and actual.revision != expected.revision:
            return False
        if isinstance(actual, PutResult) and isinstance(expected, PutResult):
            return same_kv(actual.prev_kv, expected.prev_kv, self.heads)
        if isinstance(actual, DeleteResult) and isinstance(expected, DeleteResult):
            return actual.deleted == expected.deleted and self._same_kvs(
                actual.prev_kvs, expected.prev_kvs
            )
        if isinstance(actual, RangeResult) and isinstance(expected, RangeResult):
            return actual.count == expected.count and self._same_kvs(actual.kvs, expected.kvs)
        if isinstance(actual, TxnResult) and isinstance(expected, TxnResult):
            pairs = zip(actual.responses, expected.responses, strict=False)
            return (
                actual.succeeded == expected.succeeded
                and len(actual.responses) == len(expected.responses)
                and all(self._same(one, other, nested=True) for one, other in pairs)
            )
        return nested or actual == expected

    def _same_kvs(self, actual: Sequence[object], expected: Sequence[object]) -> bool:
        return len(actual) == len(expected) and all(
            same_kv(one, other, self.heads)  # type: ignore[arg-type]
            for one, other in zip(actual, expected, strict=True)
        )

    def _check_presence(self) -> None:
        for call in self.calls:
            if not call.is_command or isinstance(call.request, Compact):
                continue
            present = call.number in self._place
            if call.outcome is Outcome.OK and not present:
                raise Violation("P-6", f"acknowledged but not in the order: {call}")
            if call.outcome is Outcome.NOT_DONE and present:
                raise Violation("P-6", f"refused, and yet in the order: {call}")

    def _check_real_time(self) -> None:
        latest: Call | None = None  # the latest called among those already placed
        for number in sorted(self._place, key=self._place.__getitem__):
            call = self.calls[number]
            returned = call.returned_at if call.outcome is Outcome.OK else None
            if latest is not None and returned is not None and returned < latest.called_at:
                raise Violation("real-time", f"{call} comes after {latest}, called later")
            if latest is None or call.called_at > latest.called_at:
                latest = call

    # -- reads -----------------------------------------------------------------------------------

    def _check_reads(self) -> None:
        reads = [c for c in self.calls if c.is_read and c.outcome is Outcome.OK]
        for call in reads:
            self._check_content(call)
        linearizable = [call for call in reads if call.linearizable]
        self._check_freshness(linearizable)
        self._check_no_future(reads)

    def _check_freshness(self, reads: Sequence[Call]) -> None:
        """Walk through time: what returned sets the least revision of what is called later."""
        ends: list[tuple[float, int, str]] = []
        for number, revision in self._revision.items():
            call = self.calls[number]
            if call.outcome is Outcome.OK and call.returned_at is not None:
                ends.append((call.returned_at, revision, f"{call}"))
        for call in reads:
            assert call.returned_at is not None
            ends.append((call.returned_at, call.revision, f"{call}"))
        ends.sort(key=lambda end: end[:2])
        least, why, index = 0, "", 0
        for call in sorted(reads, key=lambda call: call.called_at):
            while index < len(ends) and ends[index][0] < call.called_at:
                if ends[index][1] > least:
                    _, least, why = ends[index]
                index += 1
            if call.revision < least:
                raise Violation("stale-read", f"{call} missed revision {least} of {why}")

    def _check_no_future(self, reads: Sequence[Call]) -> None:
        """No read saw a command that was called only after the read had returned."""
        latest_call: list[float] = []  # latest call among the first i changes
        for number in self._changed:
            called = self.calls[number].called_at if number is not None else 0.0
            latest_call.append(max(called, latest_call[-1]) if latest_call else called)
        for call in reads:
            seen = call.revision - 1
            assert call.returned_at is not None
            if seen > len(latest_call):
                raise Violation("answer", f"{call} saw a revision that does not exist")
            if seen > 0 and latest_call[seen - 1] > call.returned_at:
                raise Violation("real-time", f"{call} saw a command of its future")

    def _check_content(self, call: Call) -> None:
        request, answer = call.request, call.answer
        assert isinstance(request, Range)
        wanted = request.revision
        if isinstance(answer, str):
            legal = (answer == "Compacted" and wanted < call.compacted) or (
                answer == "FutureRevision" and wanted > call.revision
            )
            if not legal:
                raise Violation("answer", f"{call} was refused without reason")
            return
        assert isinstance(answer, RangeResult)
        expected = self.model.range(request, wanted or call.revision)
        if answer.revision != call.revision or not self._same_kvs(answer.kvs, expected):
            raise Violation("answer", f"{call} should have got {expected}")
        for kv in expected:
            if kv.key in call.loaded and call.loaded[kv.key] != kv.value:
                raise Violation("P-10", f"{call} was served other bytes for {kv.key!r}")

"""Whether a history is strictly serializable and durable, guided by revisions: O(n log n).

The events of a watch from revision 1 are taken for the order; then it is checked that
- the order itself makes sense: revisions 2, 3, .. without gap, versions and create revisions right,
  each value written by some call, and at most once;
- each acknowledged write is in the order, at the revision it was told, and did there what it said;
- a definite failure is not in it; an unknown outcome may be;
- each linearizable read shows its key as it was at the revision of its answer;
- real time is kept: no read's revision lies below that of a call that had returned before it began,
  and no write's at or below it.

Not verified: at which revision a delete of unknown outcome took effect, if it did; transactions of
more than one key; leases.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from tests.robustness.history import Event, Found, Kind, Operation, Outcome

_SHOWN_MAX = 10


class Violation(AssertionError):
    """The history could not have come from one correct copy of the store."""


def check(operations: Sequence[Operation], events: Sequence[Event]) -> None:
    """Raises Violation with the first findings."""
    found = list(findings(operations, events))
    if found:
        more = f"\n... and {len(found) - _SHOWN_MAX} more" if len(found) > _SHOWN_MAX else ""
        raise Violation(f"{len(found)} findings:\n" + "\n".join(found[:_SHOWN_MAX]) + more)


def findings(operations: Sequence[Operation], events: Sequence[Event]) -> Iterator[str]:
    """One line per violation."""
    yield from check_order(events)
    order = Order(events)
    yield from _check_origins(operations, events)
    claimed: dict[int, Operation] = {}
    for operation in operations:
        problem = _problem(operation, order)
        if problem is not None:
            yield f"{problem}: {operation}"
        elif operation.outcome is Outcome.OK and writes(operation):
            other = claimed.setdefault(operation.revision, operation)
            if other is not operation:
                yield f"two writes were told one revision: {operation} and {other}"
    yield from _check_deletes(operations, events, claimed)
    yield from _check_real_time(operations, order)


def check_order(events: Sequence[Event]) -> Iterator[str]:
    """Whether events by themselves are those of one store that began empty."""
    states: dict[str, Found] = {}
    for revision, event in enumerate(events, start=2):
        if event.revision != revision:
            yield f"revision {revision} expected, not {event}"
            return
        before = states.pop(event.key, None)
        if event.tag is None:
            if before is None:
                yield f"deletes what was not there: {event}"
            continue
        after = _put(event, before)
        if (event.create_revision, event.version) != (after.create_revision, after.version):
            yield f"create revision or version is wrong after {before}: {event}"
        states[event.key] = after


def writes(operation: Operation) -> bool:
    """Whether an acknowledged operation made a revision."""
    return operation.kind is Kind.PUT or (operation.kind is not Kind.GET and operation.succeeded)


def lost(operations: Iterable[Operation], events: Iterable[Event]) -> list[Operation]:
    """Acknowledged puts that the events do not show. (`check` finds them too: the plain words.)"""
    present = {(event.revision, event.key, event.tag) for event in events}
    return [
        operation
        for operation in operations
        if operation.outcome is Outcome.OK
        and operation.kind is Kind.PUT
        and (operation.revision, operation.key, operation.tag) not in present
    ]


class Order:
    """The events, and every key's state at every revision."""

    def __init__(self, events: Sequence[Event]) -> None:
        self.last = events[-1].revision if events else 1
        self.by_revision = {event.revision: event for event in events}
        self.by_tag = {event.tag: event for event in events if event.tag is not None}
        self._revisions: dict[str, list[int]] = {}
        self._states: dict[str, list[Found | None]] = {}
        for event in events:
            states = self._states.setdefault(event.key, [])
            before = states[-1] if states else None
            states.append(None if event.tag is None else _put(event, before))
            self._revisions.setdefault(event.key, []).append(event.revision)

    def state(self, key: str, revision: int) -> Found | None:
        """The key as it was at a revision."""
        index = bisect_right(self._revisions.get(key, ()), revision)
        return self._states[key][index - 1] if index else None

    def final(self) -> dict[str, Found]:
        """Every key that is there at the end."""
        return {key: states[-1] for key, states in self._states.items() if states[-1] is not None}


def _put(event: Event, before: Found | None) -> Found:
    assert event.tag is not None
    if before is None:
        return Found(event.tag, event.revision, event.revision, 1)
    return Found(event.tag, before.create_revision, event.revision, before.version + 1)


def _check_origins(operations: Sequence[Operation], events: Sequence[Event]) -> Iterator[str]:
    written = {operation.tag: operation for operation in operations if operation.tag}
    times = Counter(event.tag for event in events if event.tag is not None)
    for event in events:
        if event.tag is None:
            continue
        operation = written.get(event.tag)
        if operation is None or operation.key != event.key:
            yield f"nobody wrote this: {event}"
        elif times[event.tag] > 1:
            yield f"a write took effect {times[event.tag]} times: {event}"


def _problem(operation: Operation, order: Order) -> str | None:
    """What is wrong with one operation by itself, None if nothing is."""
    if operation.outcome is Outcome.DEFINITE:
        return "took effect though refused" if operation.tag in order.by_tag else None
    if operation.outcome is Outcome.UNKNOWN:
        return None
    if operation.revision > order.last:
        return f"its revision is beyond the last, {order.last}"
    if not writes(operation):
        return _read_problem(operation, order)
    event = order.by_revision.get(operation.revision)
    if event is None or (event.key, event.tag or "") != (operation.key, operation.tag):
        return f"acknowledged, but its revision is {event}"
    before = order.state(operation.key, operation.revision - 1)
    if operation.kind is Kind.SWAP and _mod(before) != operation.expected:
        return f"succeeded, but the key was {before}"
    return None


def _read_problem(operation: Operation, order: Order) -> str | None:
    """GET, and SWAP and DELETE that changed nothing."""
    actual = order.state(operation.key, operation.revision)
    if operation.kind is Kind.DELETE:
        return None if actual is None else f"deleted nothing, but the key was {actual}"
    if operation.found != actual:
        return f"the key was {actual}"
    if operation.kind is Kind.SWAP and _mod(actual) == operation.expected:
        return "did not succeed, but the key was as expected"
    return None


def _mod(state: Found | None) -> int:
    return 0 if state is None else state.mod_revision


def _check_deletes(
    operations: Sequence[Operation], events: Sequence[Event], claimed: dict[int, Operation]
) -> Iterator[str]:
    """Deletes that nobody was told of need a delete of unknown outcome."""
    unknown = Counter(
        operation.key
        for operation in operations
        if operation.kind is Kind.DELETE and operation.outcome is Outcome.UNKNOWN
    )
    for event in events:
        if event.tag is None and event.revision not in claimed:
            unknown[event.key] -= 1
            if unknown[event.key] < 0:
                yield f"nobody deleted this: {event}"


def _check_real_time(operations: Sequence[Operation], order: Order) -> Iterator[str]:
    """Walk by time of call; `seen` is the highest revision that any call had returned by then."""
    done = [operation for operation in operations if operation.outcome is Outcome.OK]
    returned = sorted(done, key=lambda operation: operation.end)
    seen, index = 0, 0
    latest: Operation | None = None
    for operation in sorted(operations, key=lambda operation: operation.begin):
        while index < len(returned) and returned[index].end < operation.begin:
            if returned[index].revision > seen:
                seen, latest = returned[index].revision, returned[index]
            index += 1
        revision = _placed(operation, order)
        if revision is not None and (revision < seen or (revision == seen and _wrote(operation))):
            yield f"goes back in time, to revision {revision}: {operation} after {latest}"


def _placed(operation: Operation, order: Order) -> int | None:
    """Where in the order an operation is, None if it is not or nobody knows."""
    if operation.outcome is Outcome.OK:
        return operation.revision
    event = order.by_tag.get(operation.tag) if operation.tag else None
    return None if event is None else event.revision


def _wrote(operation: Operation) -> bool:
    return operation.outcome is not Outcome.OK or writes(operation)

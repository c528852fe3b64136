"""The checker accepts a correct history and finds each way of spoiling it."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.robustness.checks import Violation, check, check_order, findings, lost
from tests.robustness.history import (
    Event,
    Found,
    Kind,
    Operation,
    Outcome,
    expand,
    new_value,
    tag_of,
)

History = tuple[list[Operation], list[Event]]


def good_history() -> History:
    """Two keys, every kind of operation, every outcome; times are 10 apart and overlap by hand."""
    ok = Outcome.OK
    operations = [
        Operation(Kind.PUT, "a", "n1", 10, 15, ok, "t1", revision=2),
        Operation(Kind.GET, "a", "n2", 20, 25, ok, revision=2, found=Found("t1", 2, 2, 1)),
        Operation(Kind.PUT, "a", "n1", 30, 0, Outcome.UNKNOWN, "t2"),
        Operation(Kind.GET, "a", "n3", 32, 38, ok, revision=2, found=Found("t1", 2, 2, 1)),
        Operation(Kind.SWAP, "a", "n2", 40, 45, ok, "t3", expected=3, revision=4),
        Operation(
            Kind.SWAP,
            "a",
            "n2",
            50,
            55,
            ok,
            "t4",
            expected=3,
            revision=4,
            succeeded=False,
            found=Found("t3", 2, 4, 3),
        ),
        Operation(Kind.PUT, "b", "n1", 52, 62, Outcome.DEFINITE, "t5"),
        Operation(Kind.DELETE, "a", "n3", 60, 65, ok, revision=5),
        Operation(Kind.DELETE, "a", "n3", 70, 75, ok, revision=5, succeeded=False),
        Operation(Kind.GET, "a", "n1", 80, 85, ok, revision=5),
        Operation(Kind.PUT, "b", "n1", 82, 0, Outcome.UNKNOWN, "t6"),
        Operation(Kind.PUT, "b", "n1", 90, 99, ok, "t7", revision=6),
        Operation(Kind.DELETE, "b", "n1", 91, 0, Outcome.UNKNOWN),
        Operation(Kind.PUT, "b", "n2", 92, 98, ok, "t8", revision=8),
    ]
    events = [
        Event(2, "a", "t1", 2, 1),
        Event(3, "a", "t2", 2, 2),  # the unknown one took effect
        Event(4, "a", "t3", 2, 3),
        Event(5, "a", None, 0, 0),
        Event(6, "b", "t7", 6, 1),
        Event(7, "b", None, 0, 0),
        Event(8, "b", "t8", 8, 1),
    ]
    return operations, events


def test_a_correct_history_is_accepted() -> None:
    check(*good_history())
    check([], [])


def _spoil_operation(index: int, **changes: object) -> Callable[[History], None]:
    def spoil(history: History) -> None:
        history[0][index] = replace(history[0][index], **changes)  # type: ignore[arg-type]

    return spoil


def _spoil_event(index: int, **changes: object) -> Callable[[History], None]:
    def spoil(history: History) -> None:
        history[1][index] = history[1][index]._replace(**changes)  # type: ignore[arg-type]

    return spoil


def _lose_last(history: History) -> None:
    del history[1][-1]


def _lose_middle(history: History) -> None:
    del history[1][2]


def _swap_events(history: History) -> None:
    events = history[1]
    events[0], events[1] = events[1], events[0]


def _apply_twice(history: History) -> None:
    history[1].append(Event(9, "b", "t8", 8, 2))


def _invent(history: History) -> None:
    history[1].append(Event(9, "b", "t99", 8, 2))


def _invent_delete(history: History) -> None:
    history[1].append(Event(9, "b", None, 0, 0))


def _apply_refused(history: History) -> None:
    history[1].append(Event(9, "b", "t5", 8, 2))


def _unknown_too_early(history: History) -> None:
    """The unknown write takes effect at a revision that others saw before it was called."""
    history[0][2] = replace(history[0][2], begin=66)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_lose_last, "its revision is beyond the last, 7"),
        (_lose_middle, "revision 4 expected"),
        (_swap_events, "revision 2 expected"),
        (_apply_twice, "a write took effect 2 times"),
        (_invent, "nobody wrote this"),
        (_invent_delete, "nobody deleted this"),
        (_apply_refused, "took effect though refused"),
        (_unknown_too_early, "goes back in time, to revision 3"),
        (_spoil_event(1, version=3), "create revision or version is wrong"),
        (_spoil_event(1, create_revision=3), "create revision or version is wrong"),
        (_spoil_event(0, key="b"), "nobody wrote this"),
        (_spoil_event(5, key="c"), "deletes what was not there"),
        (_spoil_operation(0, tag="t9"), "acknowledged, but its revision is"),
        (_spoil_operation(0, revision=3), "acknowledged, but its revision is"),
        (_spoil_operation(4, expected=2), "succeeded, but the key was"),
        (_spoil_operation(5, expected=4), "did not succeed, but the key was as expected"),
        (_spoil_operation(1, found=None), "the key was Found(tag='t1'"),
        (_spoil_operation(1, found=Found("t1", 2, 2, 2)), "the key was Found(tag='t1'"),
        (_spoil_operation(9, found=Found("t3", 2, 4, 3)), "the key was None"),
        (_spoil_operation(9, revision=4, found=Found("t3", 2, 4, 3)), "goes back in time"),
        (_spoil_operation(8, revision=4), "deleted nothing, but the key was"),
        (_spoil_operation(13, tag="t7", revision=6), "two writes were told one revision"),
        (_spoil_operation(11, begin=99, end=105), "goes back in time, to revision 6"),
    ],
)
def test_a_spoilt_history_is_found(spoil: Callable[[History], None], words: str) -> None:
    history = good_history()
    spoil(history)
    with pytest.raises(Violation, match="findings") as violation:
        check(*history)
    assert words in str(violation.value)


def test_a_lost_put_is_named() -> None:
    operations, events = good_history()
    assert lost(operations, events) == []
    assert lost(operations, events[:-1]) == [operations[-1]]


def random_history(seed: int, length: int = 300) -> History:
    """A sequential run of a correct store, each call widened at random around its moment."""
    draw = random.Random(seed)
    operations: list[Operation] = []
    events: list[Event] = []
    states: dict[str, Found] = {}
    revision = 1
    for step in range(length):
        moment, key = 100 * step, draw.choice("abc")
        operation = Operation(Kind.GET, key, "n1", moment - draw.randrange(400), outcome=Outcome.OK)
        operation.end = moment + draw.randrange(400)
        if draw.random() < 0.5:
            revision += 1
            before = states.get(key)
            operation.kind, operation.tag = Kind.PUT, f"t{step}"
            version = 1 if before is None else before.version + 1
            created = revision if before is None else before.create_revision
            states[key] = Found(operation.tag, created, revision, version)
            events.append(Event(revision, key, operation.tag, created, version))
            if draw.random() < 0.1:
                operation.outcome = Outcome.UNKNOWN
        else:
            operation.found = states.get(key)
        operation.revision = revision
        operations.append(operation)
    draw.shuffle(operations)
    return operations, events


@pytest.mark.parametrize("seed", range(10))
def test_random_correct_histories_are_accepted(seed: int) -> None:
    check(*random_history(seed))


@pytest.mark.parametrize("seed", range(10))
def test_a_stale_read_in_a_random_history_is_found(seed: int) -> None:
    """A read answers from 20 revisions before: in itself right, but too late."""
    operations, events = random_history(seed)
    draw = random.Random(seed)
    reads = [each for each in operations if each.kind is Kind.GET and each.revision > 50]
    read = draw.choice(reads)
    read.revision -= 20
    present = [each for each in events if each.revision <= read.revision and each.key == read.key]
    last = present[-1]
    assert last.tag is not None
    read.found = Found(last.tag, last.create_revision, last.revision, last.version)
    found = list(findings(operations, events))
    assert found
    assert all("goes back in time" in line for line in found)


def test_events_that_begin_late_are_found() -> None:
    assert list(check_order([Event(3, "a", "t", 3, 1)])) != []


def test_a_value_is_known_by_all_its_bytes() -> None:
    value = new_value(5000)
    assert len(value) == 5000
    assert expand(tag_of(value)) == value
    broken = value[:4000] + bytes([value[4000] ^ 1]) + value[4001:]
    assert tag_of(broken).startswith("not a written value: 5000 bytes")
    assert tag_of(value[:-1]).startswith("not a written value")
    assert new_value() != new_value()

"""The read barrier: which answers count for which read."""

from __future__ import annotations

import pytest

from racos.core.reads import Barrier


def probe(barrier: Barrier, now: float = 0.0) -> int:
    number = barrier.next_probe(now)
    assert number is not None
    return number


def test_a_read_waits_for_n_minus_f_answers_and_for_the_highest_of_them() -> None:
    barrier = Barrier(answers=2)
    barrier.add(7)
    number = probe(barrier)
    barrier.answer(0, number, 3)
    assert barrier.take_ready(100) == []
    barrier.answer(1, number, 5)
    assert barrier.highest_target() == 5
    assert barrier.take_ready(5) == []
    assert barrier.take_ready(6) == [7]
    assert barrier.take_ready(6) == []


def test_the_same_replica_twice_is_one_answer() -> None:
    barrier = Barrier(answers=2)
    barrier.add(1)
    number = probe(barrier)
    barrier.answer(1, number, 0)
    barrier.answer(1, number, 9)
    assert barrier.take_ready(100) == []


def test_a_probe_serves_what_waited_and_nothing_later() -> None:
    barrier = Barrier(answers=1)
    barrier.add(1)
    barrier.add(2)
    first = probe(barrier)
    barrier.add(3)
    barrier.answer(0, first, 4)
    assert barrier.take_ready(5) == [1, 2]
    second = probe(barrier)
    assert second != first
    barrier.answer(0, first, 0)
    assert barrier.take_ready(5) == []
    barrier.answer(0, second, 8)
    assert barrier.take_ready(9) == [3]


def test_a_retry_is_a_new_probe_and_late_answers_count_for_nothing() -> None:
    barrier = Barrier(answers=2)
    barrier.add(1)
    first = probe(barrier, now=0.0)
    barrier.answer(0, first, 2)
    barrier.expire(now=1.0, age_max=1.0)
    second = probe(barrier, now=1.0)
    barrier.answer(1, first, 2)
    barrier.answer(0, second, 2)
    assert barrier.take_ready(100) == []
    barrier.answer(1, second, 2)
    assert barrier.take_ready(100) == [1]


def test_probes_in_flight_are_bounded() -> None:
    barrier = Barrier(answers=2, in_flight_max=2)
    for ticket in range(2):
        barrier.add(ticket)
        probe(barrier)
    barrier.add(2)
    assert barrier.next_probe(0.0) is None
    assert Barrier(answers=1).next_probe(0.0) is None


def test_numbers_begin_where_no_earlier_life_has_been() -> None:
    barrier = Barrier(answers=1, first_number=3 << 32)
    barrier.add(1)
    assert probe(barrier) == (3 << 32) + 1


@pytest.mark.parametrize("stage", ["waiting", "probed", "answered"])
def test_reads_nobody_waits_for_are_dropped(stage: str) -> None:
    barrier = Barrier(answers=1)
    barrier.add(1)
    barrier.add(2)
    number = 0
    if stage != "waiting":
        number = probe(barrier)
    if stage == "answered":
        barrier.answer(0, number, 0)
    barrier.drop(lambda ticket: ticket == 2)
    if stage == "waiting":
        number = probe(barrier)
    barrier.answer(0, number, 0)
    assert barrier.take_ready(1) == [2]

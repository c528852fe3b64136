"""The wait for stragglers follows what was measured of the quick ones."""

from __future__ import annotations

import pytest

from racos.core.pace import REST_SECONDS_MAX, REST_SECONDS_MIN, SAMPLES_MIN, Pace


def measured(pace: Pace, times: dict[int, float], count: int = 8000) -> Pace:
    """Many samples around each peer's time, 10 % to both sides."""
    for number in range(count):
        for peer, seconds in times.items():
            pace.sample(peer, seconds * (0.9 + 0.2 * (number % 2)))
    pace.settle()
    return pace


def test_before_enough_samples_the_configured_time_holds() -> None:
    pace = Pace(3, 0, 2, rest=0.15)
    measured(pace, {1: 0.001, 2: 0.001}, SAMPLES_MIN - 1)
    assert pace.rest == 0.15
    measured(pace, {1: 0.001}, 1)
    assert pace.rest == REST_SECONDS_MIN


@pytest.mark.parametrize(
    ("shape", "times", "rest"),
    [
        ((3, 2), {1: 0.04, 2: 0.04}, 0.06),
        ((3, 2), {1: 0.04, 2: 0.09}, 0.13),
        ((3, 2), {1: 0.04, 2: 9.0}, 0.06),  # one slow replica does not set the pace
        ((5, 3), {1: 0.03, 2: 0.05, 3: 9.0, 4: 9.0}, 0.075),  # nor do f of them
        ((2, 2), {1: 0.1}, 0.15),
        ((3, 2), {1: 0.0, 2: 0.0}, REST_SECONDS_MIN),
        ((3, 2), {1: 5.0, 2: 5.0}, REST_SECONDS_MAX),
    ],
)
def test_the_rest_is_the_time_that_a_quorum_needs(
    shape: tuple[int, int], times: dict[int, float], rest: float
) -> None:
    total, answers = shape
    pace = measured(Pace(total, 0, answers, 0.15), times)
    assert pace.rest == pytest.approx(rest, rel=0.1)


def test_a_replica_alone_waits_for_nobody() -> None:
    pace = Pace(1, 0, 1, 0.15)
    pace.settle()
    assert pace.rest == 0.15


def test_a_hiccup_is_remembered_for_a_while() -> None:
    pace = measured(Pace(3, 0, 2, 0.15), {1: 0.001, 2: 0.001})
    assert pace.rest == REST_SECONDS_MIN
    pace.sample(2, 0.1)
    measured(pace, {1: 0.001, 2: 0.001}, 100)
    assert pace.rest > 0.05
    measured(pace, {1: 0.001, 2: 0.001}, 3000)
    assert pace.rest == REST_SECONDS_MIN

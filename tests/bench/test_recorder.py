from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.recorder import Histogram, Timeline

seconds = st.floats(min_value=1e-6, max_value=1e4)


def filled(values: list[float]) -> Histogram:
    histogram = Histogram()
    for value in values:
        histogram.record(value)
    return histogram


@given(st.lists(seconds, min_size=1, max_size=200), st.sampled_from([0.0, 0.5, 0.9, 0.99, 1.0]))
def test_quantiles_are_close_to_exact(values: list[float], fraction: float) -> None:
    exact = sorted(values)[max(0, -int(-fraction * len(values) // 1) - 1)]
    found = filled(values).quantile(fraction)
    assert exact - 1e-6 <= found <= exact * 1.01 + 2e-6


@given(seconds)
def test_a_value_lies_in_its_bucket(value: float) -> None:
    ((upper, count),) = filled([value]).steps()
    assert count == 1
    assert value <= upper <= value * 1.008 + 2e-6


def test_steps_ascend() -> None:
    uppers = [upper for upper, _ in filled([value / 1e6 for value in range(5000)]).steps()]
    assert uppers == sorted(set(uppers))


def test_odd_values_are_counted() -> None:
    histogram = filled([-1.0, 0.0, 1e9])
    assert histogram.total == sum(histogram.counts) == 3
    assert histogram.quantile(0.5) <= 1e-6


def test_empty_histogram() -> None:
    assert Histogram().quantile(0.99) == 0


@given(st.lists(seconds, max_size=50), st.lists(seconds, max_size=50))
def test_merge_equals_recording_in_one(left: list[float], right: list[float]) -> None:
    merged = Histogram.from_json(json.loads(json.dumps(filled(left).to_json())))
    merged.merge(filled(right))
    both = filled(left + right)
    assert merged.counts == both.counts
    assert (merged.total, merged.maximum) == (both.total, both.maximum)


def test_gap_between_successes() -> None:
    timeline = Timeline(1.0)
    for at in (0.001, 0.104, 0.109, 0.9):
        timeline.record(at, 0.002)
    length, start = timeline.longest_gap()
    assert (round(length, 6), start) == (0.791, 0.109)


@pytest.mark.parametrize(("at", "length", "start"), [(0.7, 0.7, 0.0), (0.2, 0.8, 0.2)])
def test_gap_reaches_the_windows_edges(at: float, length: float, start: float) -> None:
    timeline = Timeline(1.0)
    timeline.record(at, 0.001)
    assert list(timeline.longest_gap()) == pytest.approx([length, start])


def test_silence_is_one_gap() -> None:
    assert Timeline(2.5).longest_gap() == (2.5, 0.0)


def test_what_follows_the_end_of_a_run_is_no_gap() -> None:
    timeline = Timeline(60.0)
    for at in (0.1, 0.25, 0.3):
        timeline.record(at, 0.001)
    assert list(timeline.until(0.31).longest_gap()) == pytest.approx([0.15, 0.1])


def test_timelines_merge() -> None:
    left, right = Timeline(0.05), Timeline(0.05)
    left.record(0.012, 0.5)
    left.record(0.018, 0.1)
    right.record(0.011, 0.2)
    right.record(0.031, 0.3)
    left.merge(Timeline.from_json(json.loads(json.dumps(right.to_json()))))
    assert left.counts == [0, 3, 0, 1, 0, 0]
    assert (left.first[1], left.last[1], left.worst[1]) == (0.011, 0.018, 0.5)
    assert (left.first[3], left.last[3], left.worst[3]) == (0.031, 0.031, 0.3)


def test_timeline_needs_a_window() -> None:
    with pytest.raises(ValueError, match="longer than 0 s"):
        Timeline(0)

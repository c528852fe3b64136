"""Arrivals of an open loop: when they are due, whoever takes them."""

from __future__ import annotations

import asyncio
from time import monotonic

import pytest

from bench.pace import TICK_S, Arrivals, Ticker


def taken(arrivals: Arrivals, until: float) -> list[float]:
    times = []
    while due := arrivals.take(until):
        times.append(due)
    return times


def test_slow_arrivals_come_one_by_one() -> None:
    arrivals = Arrivals(10, start=100.0)
    assert arrivals.tick_s == pytest.approx(0.1)
    assert taken(arrivals, 100.35) == pytest.approx([100.0, 100.1, 100.2, 100.3])
    assert arrivals.take(100.39) == 0
    assert arrivals.take(100.41) == pytest.approx(100.4)


@pytest.mark.parametrize("rate", [999.0, 2500.0, 12_345.0])
def test_fast_arrivals_come_in_groups_at_the_same_rate(rate: float) -> None:
    arrivals = Arrivals(rate, start=50.0)
    times = taken(arrivals, 50.0 + 2)
    assert len(times) == pytest.approx(2 * rate, abs=2 * max(1, rate * TICK_S))
    assert times == sorted(times)
    groups = sorted(set(times))
    assert groups[1] - groups[0] == pytest.approx(max(TICK_S, 1 / rate))


def test_what_nobody_took_is_behind_and_keeps_its_time() -> None:
    arrivals = Arrivals(100, start=10.0)
    assert arrivals.behind(10.995) == 100
    assert arrivals.take(10.995) == 10.0
    assert arrivals.behind(10.995) == 99
    taken(arrivals, 20.0)
    assert arrivals.behind(20.0) == 0


def test_a_rate_must_be_above_zero() -> None:
    with pytest.raises(ValueError, match="above 0"):
        Arrivals(0, start=1.0)


async def test_ticker_rings_until_it_is_closed() -> None:
    rings: list[float] = []
    fifth = asyncio.Event()

    def ring() -> None:
        rings.append(monotonic())
        if len(rings) == 5:
            fifth.set()

    start = monotonic() + 0.002
    ticker = Ticker(0.001, start, ring)
    async with asyncio.timeout(5):
        await fifth.wait()
    ticker.close()
    ticker.close()
    assert rings[0] >= start - 1e-4
    count = len(rings)
    await asyncio.sleep(0.003)
    assert len(rings) == count

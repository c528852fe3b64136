"""Lanes against the queue, as docs/queue-engine.md tells it."""

from __future__ import annotations

import pytest

from racos.core.engine import LANES, QUEUE
from racos.sim.engines import Load, Setup, compare, measure, one_write, run, setups

SHORT = Load(clients=6, size=256, seconds=0.05)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("setup", "delays", "syncs"),
    [
        (Setup(LANES, 3, 1, 2), 2, 1),
        (Setup(QUEUE, 3, 1, 1), 3, 3),
        (Setup(LANES, 5, 2, 3), 2, 1),
        (Setup(QUEUE, 5, 2, 1), 4, 3),
    ],
    ids=str,
)
def test_what_a_lone_write_waits_for(setup: Setup, delays: int, syncs: int) -> None:
    assert one_write(setup) == (delays, syncs)


@pytest.mark.slow
def test_with_each_writing_node_lanes_go_on_and_the_queue_takes_turns() -> None:
    rates = {
        (engine, writers): len(measure(Setup(engine, 3, 1, 1), SHORT, writers, writers).latencies)
        for engine in (LANES, QUEUE)
        for writers in (1, 3)
    }
    assert rates[LANES, 3] > 1.5 * rates[LANES, 1]
    assert rates[QUEUE, 3] < 1.3 * rates[QUEUE, 1]


def test_with_coded_values_the_engines_are_compared_at_the_same_k_too() -> None:
    assert setups(5, 64) == [Setup(QUEUE, 5, 2, 1), Setup(LANES, 5, 2, 3)]
    assert setups(5, 64 << 10) == [*setups(5), Setup(LANES, 5, 2, 1)]


@pytest.mark.slow
def test_a_row_for_each_engine_k_and_load() -> None:
    table = compare(1, Load(clients=2, size=16, seconds=0.02, impatient=True))
    assert table.row_count == 2 * 2  # one client, and both
    assert [column.header for column in table.columns][:4] == ["engine", "k", "clients", "writers"]


def test_a_wrong_call_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--nodes", "x"]) == 2
    assert "--nodes" in capsys.readouterr().err

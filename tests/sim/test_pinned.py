"""Runs that once failed. Options are written out, so that they do not change with how they are
drawn.
"""

from __future__ import annotations

import pytest

from racos.sim.campaign import run_one
from racos.sim.options import Options, changed
from racos.sim.world import Outcomes

PINNED = [
    pytest.param(
        0,
        "nodes=1,faults_max=0,data=1,seconds=0.311,calls=100,faults=power,fault_every=0.3,"
        "clients=1,watchers=1,think=0.005,keys=1,reads=0,large=0.8,large_bytes=600,compactions=0,"
        "delay=0.0001,loss=0.01,duplicate=0.5,rounds_max=8",
        id="replay-of-a-guard-that-needs-a-coded-value",
    ),
    pytest.param(
        34,
        "seconds=0.582,calls=50,faults=clog+pause+reorder,fault_every=0.1,clients=4,watchers=1,"
        "think=0.005,keys=20,reads=0.2,large=0,compactions=0,loss=0.2,duplicate=0.1,"
        "segment_bytes=16384,rounds_max=128,suspect_after=0.1",
        id="chunk-made-before-the-library-knew-the-turns-batches",
    ),
]


@pytest.mark.parametrize(("seed", "settings"), PINNED)
def test_pinned(seed: int, settings: str) -> None:
    result = run_one(changed(Options(seed), settings))
    assert isinstance(result, Outcomes), result.report()

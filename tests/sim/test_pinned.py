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
    pytest.param(
        11,
        "seconds=6,calls=300,faults=duplicate+power_all+storm+slow_disk+sync_error+pause+rate+"
        "adversary,clients=6,holders=4,think=0.005,keys=5,reads=0.7,large=0.9,large_bytes=600,"
        "compactions=0.05,sync=0.0005,turn=0.0005,timer=0.02,loss=0.2,duplicate=0.1,"
        "segment_bytes=16384,rounds_max=32,suspect_after=0.1,lane_off_after=0.1,flush_seconds=0.02",
        id="index-went-beyond-a-replayed-change-of-the-configuration",
    ),
    pytest.param(
        21,
        "nodes=4,data=3,faults=wipe+damage,clients=2,watchers=1,ttl=2,think=0.1,keys=20,reads=0.7,"
        "large=0,compactions=0.05,delay=0.02,turn=0.002,loss=0.2,segment_bytes=16384,"
        "history_bytes=16384,rounds_max=128,lane_off_after=1,flush_seconds=0.3",
        id="a-state-taken-on-an-empty-log-was-never-complete",
    ),
    pytest.param(
        607353,
        "nodes=7,faults_max=3,data=1,seconds=4.2,calls=37,faults=clog+reset+power_all+slow_disk+"
        "adversary,fault_every=0.2,clients=8,watchers=1,think=0.005,keys=2,reads=0.7,large=0,"
        "large_bytes=20000,compactions=0.05,sync=0.0005,turn=0.002,loss=0.2,duplicate=0.5,"
        "segment_bytes=16384,history_bytes=0,rounds_max=8,suspect_after=0.1,flush_seconds=0.02",
        id="those-who-had-their-state-already-kept-others-from-theirs",
    ),
    pytest.param(
        711888,  # a false alarm of the checker
        "seconds=8,calls=500,messages=20000,faults=reorder+power_all+wipe,fault_every=0.2,"
        "clients=8,watchers=4,ttl=2,think=0.002,keys=20,reads=0.6,large=0.1,large_bytes=600,"
        "compactions=0.05,delay=0.005,sync=0.0001,loss=0.2,duplicate=0.1,segment_bytes=16384,"
        "history_bytes=16384,rounds_max=8,suspect_after=0.5,flush_seconds=0.02",
        id="nobody-was-left-to-say-that-a-batch-was-dead",
    ),
    pytest.param(
        721129,
        "faults=duplicate+one_way+rot+full,clients=6,watchers=4,think=0.03,keys=5,reads=0.2,"
        "large=0.8,large_bytes=600,compactions=0.05,sync=0.0001,timer=0.02,duplicate=0.01,"
        "segment_bytes=16384,history_bytes=16384,rounds_max=8,suspect_after=0.5,"
        "lane_off_after=0.3,flush_seconds=0.3",
        id="a-dead-batch-was-to-be-pruned-to-a-fragment-that-had-rotted",
    ),
    pytest.param(
        742072,  # a false alarm of the checker
        "seconds=2,fault_every=2,clients=2,holders=4,think=0.01,keys=2,reads=0.7,large=0.1,"
        "large_bytes=600,compactions=0.05,delay=0.02,turn=0.002,loss=0.2,duplicate=0.01,"
        "segment_bytes=16384,history_bytes=0,rounds_max=8,suspect_after=0.1,lane_off_after=0.3,"
        "flush_seconds=0.02",
        id="one-of-two-took-three-states-while-a-lease-was-to-end",
    ),
    pytest.param(
        751268,
        "nodes=5,data=4,seconds=6,faults=loss+duplicate+slow_disk,fault_every=1,clients=7,"
        "watchers=2,holders=4,think=0.01,keys=20,reads=0.2,large=0.4,compactions=0.05,"
        "delay=0.005,sync=0.0001,loss=0.2,duplicate=0.01,segment_bytes=16384,"
        "history_bytes=16384,rounds_max=128,lane_off_after=0.3,flush_seconds=0.02",
        id="a-fetch-looked-at-its-own-log-only-once",
    ),
    pytest.param(
        814999,
        "nodes=4,data=3,seconds=6,calls=300,faults=one_way+clog+rot,clients=4,holders=4,"
        "think=0.002,keys=20,reads=0.2,large=0.8,compactions=0.05,delay=0.02,turn=0.0005,"
        "loss=0.01,duplicate=0.01,segment_bytes=16384,rounds_max=8,suspect_after=0.5,"
        "lane_off_after=0.1,flush_seconds=0.02",
        id="a-rotten-fragment-of-a-null-batch-was-missed",
    ),
    pytest.param(
        833933,
        "seconds=8,faults=one_way+storm+sync_error+wipe,fault_every=2,watchers=1,think=0.002,"
        "keys=20,reads=0.2,large=0.1,compactions=0,delay=0.005,turn=0.002,timer=0.02,loss=0.01,"
        "duplicate=0.5,segment_bytes=16384,rounds_max=8",
        id="slots-far-beyond-the-window-were-opened-at-a-restart",
    ),
]


@pytest.mark.parametrize(("seed", "settings"), PINNED)
def test_pinned(seed: int, settings: str) -> None:
    result = run_one(changed(Options(seed), settings))
    assert isinstance(result, Outcomes), result.report()

"""How a value is fetched when those who hold its fragments come and go."""

from __future__ import annotations

import pytest

from racos.errors import RequestTimedOut
from racos.mvcc.command import CodedValue, Put, Range
from racos.node.library import Library
from tests.node.cluster import Cluster

DATA = bytes(range(250)) * 8


def cluster_with_a_value() -> tuple[Cluster, CodedValue]:
    """Node 2 is gone: the value takes the fragments of both others."""
    cluster = Cluster(3, 1, 2)
    cluster.do(0, Put(b"k", DATA))
    cluster.run(1.0)
    cluster.crash(2)
    (kv,) = cluster.driver(0).store.range(Range(b"k")).kvs
    assert isinstance(kv.value, CodedValue)
    driver = cluster.driver(0)
    driver.values.cache.bytes_max = 0
    driver.values.cache._entries.clear()
    return cluster, kv.value


def test_an_own_fragment_that_comes_while_others_are_asked_is_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Late Pay, or healed meanwhile: with f nodes gone it is one of the k that there are."""
    cluster, value = cluster_with_a_value()
    read: list[bytes | Exception] = []
    with monkeypatch.context() as before_it_came:
        before_it_came.setattr(Library, "places", lambda *_: {})
        cluster.driver(0).values.load(value, read.append)
    cluster.run(0.2)
    assert not read
    cluster.run(0.2)
    assert read == [DATA]


def test_who_joins_a_fetch_has_a_deadline_of_its_own() -> None:
    cluster, value = cluster_with_a_value()
    cluster.split(0, 1)
    values = cluster.driver(0).values
    early: list[bytes | Exception] = []
    late: list[bytes | Exception] = []
    values.load(value, early.append)
    cluster.run(3.0)
    values.load(value, late.append)
    cluster.run(2.1)
    assert [type(each) for each in early] == [RequestTimedOut]
    assert not late
    cluster.heal()
    cluster.run(0.5)
    assert late == [DATA]
    assert len(early) == 1


def test_a_fetch_that_nobody_waits_for_any_more_ends() -> None:
    cluster, value = cluster_with_a_value()
    cluster.split(0, 1)
    values = cluster.driver(0).values
    outcomes: list[bytes | Exception] = []
    for _ in range(3):
        values.load(value, outcomes.append)
        cluster.run(1.0)
    cluster.run(5.0)
    assert [type(each) for each in outcomes] == [RequestTimedOut] * 3
    assert not values._fetches
    assert not values.foreground

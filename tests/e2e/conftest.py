"""One real cluster of three and one stock etcd, started once for the whole session."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cluster.stock import EtcdCluster
from cluster.supervisor import LocalCluster
from tests.compat.endpoints import channel
from tests.e2e.etcdctl import Both, Side


@pytest.fixture(scope="session")
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster(3) as running:
        yield running


@pytest.fixture(scope="session")
def stock() -> Iterator[EtcdCluster]:
    with EtcdCluster(1, flags=("--unsafe-no-fsync", "--log-level=error")) as running:
        yield running


@pytest.fixture(scope="session")
def sides(cluster: LocalCluster, stock: EtcdCluster) -> Iterator[tuple[Side, Side]]:
    with channel(stock.endpoints()[0]) as theirs, channel(cluster.endpoints()[0]) as own:
        yield Side("etcd", stock.endpoints(), theirs), Side("racos", cluster.endpoints(), own)


@pytest.fixture
def both(sides: tuple[Side, Side]) -> Both:
    """etcdctl on both, each without a key, revisions counted from here."""
    return Both(*sides)

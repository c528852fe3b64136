from __future__ import annotations

from collections.abc import Iterator

import pytest

from bench.systems import cluster_of
from cluster.supervisor import Supervisor


@pytest.fixture(scope="module")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Supervisor]:
    """One stock etcd node, shared by the tests of a module."""
    with cluster_of("etcd", 1, tmp_path_factory.mktemp("etcd")) as cluster:
        yield cluster

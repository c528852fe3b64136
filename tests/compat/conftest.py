"""The two servers, once per module; a scenario gets a clean pair.

`our_address` is the seam: each of its parameters is one more server held to the same answers.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cluster.supervisor import LocalCluster
from tests.compat.endpoints import PATIENCE_S, channel, memory_server, real_etcd
from tests.compat.pair import Pair, Server


@pytest.fixture(scope="package")
def etcd_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with real_etcd(tmp_path_factory.mktemp("etcd") / "data") as address:
        yield address


@pytest.fixture(scope="package", params=["memory", "cluster"])
def our_address(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The services alone over the memory backend; and one node of a real cluster of three."""
    if request.param == "memory":
        with memory_server() as address:
            yield address
    else:
        with LocalCluster(3, data_dir=tmp_path_factory.mktemp("racos")) as nodes:
            nodes.start_all()
            nodes.wait_ready(PATIENCE_S)
            yield nodes.endpoints()[0].removeprefix("http://")


@pytest.fixture(scope="package")
def servers(etcd_address: str, our_address: str) -> Iterator[tuple[Server, Server]]:
    with channel(etcd_address) as theirs, channel(our_address) as own:
        yield Server("etcd", theirs), Server("ours", own)


@pytest.fixture
def pair(servers: tuple[Server, Server]) -> Pair:
    return Pair(*servers)

"""The two servers, once per module; a scenario gets a clean pair.

`our_address` is the seam: another fixture of that name can serve the suite from a real cluster.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.compat.endpoints import channel, memory_server, real_etcd
from tests.compat.pair import Pair, Server


@pytest.fixture(scope="package")
def etcd_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with real_etcd(tmp_path_factory.mktemp("etcd") / "data") as address:
        yield address


@pytest.fixture(scope="package")
def our_address() -> Iterator[str]:
    with memory_server() as address:
        yield address


@pytest.fixture(scope="package")
def servers(etcd_address: str, our_address: str) -> Iterator[tuple[Server, Server]]:
    with channel(etcd_address) as theirs, channel(our_address) as own:
        yield Server("etcd", theirs), Server("ours", own)


@pytest.fixture
def pair(servers: tuple[Server, Server]) -> Pair:
    return Pair(*servers)

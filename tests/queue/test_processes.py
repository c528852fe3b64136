"""`racos serve --engine queue`: real processes."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster.supervisor import LocalCluster
from tests.compat.endpoints import channel
from tests.e2e.calls import Client
from tests.e2e.serving import refusal, serve

pytestmark = [pytest.mark.process, pytest.mark.slow]

LARGE = 20_000  # bytes, above the inline limit


def test_three_nodes_serve_survive_a_kill_and_keep_their_data(tmp_path: Path) -> None:
    with LocalCluster(3, data_dir=tmp_path / "c", flags=("--engine=queue",)) as cluster:
        put_through(cluster, "n1", b"small", b"1")
        put_through(cluster, "n2", b"large", b"2" * LARGE)
        cluster.kill("n3")
        put_through(cluster, "n1", b"meanwhile", b"3")
        cluster.start("n3")
        cluster.wait_ready()
        assert read_from(cluster, "n3") == [b"2" * LARGE, b"3", b"1"]
        spec, directory = cluster.spec, cluster.data_path("n1")
        cluster.stop_all()
        # The other engine does not take its directory.
        flags = [flag for flag in spec.node_flags(spec.nodes[0], directory) if "engine" not in flag]
        told = refusal(serve([*flags, "--log-level=warn"]))
        assert "cluster" in told


def put_through(cluster: LocalCluster, name: str, key: bytes, value: bytes) -> None:
    with channel(cluster.endpoint(name)) as opened:
        Client(opened).put(key=key, value=value)


def read_from(cluster: LocalCluster, name: str) -> list[bytes]:
    with channel(cluster.endpoint(name)) as opened:
        found = Client(opened).range(key=b"a", range_end=b"z")
    return [kv.value for kv in found.kvs]

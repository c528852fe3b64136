"""`racos cluster` and `racos-etcd` with the real server, as a person uses them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.etcd_cli import ETCD_VERSION
from cluster.find import find_program
from cluster.spec import free_ports
from cluster.supervisor import LocalCluster
from tests.cluster.standin import free_base_port

pytestmark = [pytest.mark.process, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
TIMEOUT = 60.0  # seconds for any one command
ENVIRON = {name: text for name, text in os.environ.items() if not name.startswith("ETCD")} | {
    "ETCDCTL_API": "3"
}


def racos(*words: str, code: int = 0) -> str:
    """stdout of a racos command that ends with `code`; of a failing one its stderr."""
    done = subprocess.run(
        [sys.executable, "-m", "cluster.cli", *words],
        cwd=ROOT,
        env=ENVIRON,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr if code else done.stdout


def etcdctl(endpoint: str, *words: str) -> str:
    return subprocess.run(
        [find_program("etcdctl"), f"--endpoints={endpoint}", *words],
        env=ENVIRON,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=True,
    ).stdout


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A running cluster of three, made by `racos cluster up`."""
    directory = tmp_path_factory.mktemp("racos") / "cluster"
    port = str(free_base_port(3))
    shown = racos("cluster", "up", "--detach", "--data-dir", str(directory), "--client-port", port)
    assert shown.startswith(f"export ETCDCTL_ENDPOINTS=127.0.0.1:{port},")
    yield directory
    LocalCluster.open(directory).stop_all()


def test_every_node_takes_writes_and_answers(data_dir: Path) -> None:
    endpoints = LocalCluster.open(data_dir).endpoints()
    assert racos("cluster", "status", "--data-dir", str(data_dir)).count("yes") == 3
    for writer in endpoints:
        assert etcdctl(writer, "put", "who", writer) == "OK\n"
        for reader in endpoints:
            assert etcdctl(reader, "get", "who") == f"who\n{writer}\n"


def test_the_demonstration_runs(data_dir: Path) -> None:
    shown = racos("cluster", "demo", "--data-dir", str(data_dir))
    assert "1048576 bytes, sha256 " in shown
    assert "the watch: PUT hello-" in shown
    assert "export ETCDCTL_ENDPOINTS=" in shown


def test_a_killed_node_changes_nothing_and_comes_back(data_dir: Path) -> None:
    first, second, third = LocalCluster.open(data_dir).endpoints()
    assert "n3 killed" in racos("cluster", "kill", "n3", "--data-dir", str(data_dir))
    assert etcdctl(first, "put", "while", "n3 was away") == "OK\n"
    assert etcdctl(second, "get", "while") == "while\nn3 was away\n"
    assert "n3 started" in racos("cluster", "start", "n3", "--data-dir", str(data_dir))
    assert etcdctl(third, "get", "while") == "while\nn3 was away\n"


def test_a_paused_node_goes_on(data_dir: Path) -> None:
    first, second, _ = LocalCluster.open(data_dir).endpoints()
    racos("cluster", "pause", "n2", "--data-dir", str(data_dir))
    assert etcdctl(first, "put", "asleep", "n2") == "OK\n"
    racos("cluster", "resume", "n2", "--data-dir", str(data_dir))
    assert etcdctl(second, "get", "asleep") == "asleep\nn2\n"


def test_data_is_there_after_down_and_up(data_dir: Path) -> None:
    cluster = LocalCluster.open(data_dir)
    etcdctl(cluster.endpoints()[0], "put", "lasting", "yes")
    assert "3 nodes stopped" in racos("cluster", "down", "--data-dir", str(data_dir))
    port = str(cluster.spec.nodes[0].client_port)
    racos("cluster", "up", "--detach", "--data-dir", str(data_dir), "--client-port", port)
    for endpoint in cluster.endpoints():
        assert etcdctl(endpoint, "get", "lasting") == "lasting\nyes\n"


def test_a_second_server_on_the_same_addresses_is_refused(data_dir: Path, tmp_path: Path) -> None:
    node = LocalCluster.open(data_dir).spec.nodes[0]
    url = f"http://{node.endpoint}"
    told = racos(
        "serve",
        f"--data-dir={tmp_path / 'other'}",
        f"--listen-client-urls={url}",
        f"--advertise-client-urls={url}",
        f"--listen-peer-urls={node.peer_url}",
        f"--initial-advertise-peer-urls={node.peer_url}",
        code=1,
    )
    assert str(node.client_port) in told or str(node.peer_port) in told


def test_a_data_directory_of_another_cluster_is_refused(data_dir: Path) -> None:
    cluster = LocalCluster.open(data_dir)
    cluster.kill("n1")
    node = cluster.spec.nodes[0]
    flags = cluster.spec.node_flags(node, cluster.data_path("n1"))
    told = racos("serve", *flags, "--initial-cluster-token=another", code=1)
    assert told.strip()
    cluster.start("n1")
    cluster.wait_ready()


def test_racos_etcd_tells_when_it_is_ready_and_stops_in_order(tmp_path: Path) -> None:
    client, peer = free_ports(2)
    command = [
        *(sys.executable, "-m", "cluster.etcd_cli", f"--data-dir={tmp_path / 'data'}"),
        f"--listen-client-urls=http://127.0.0.1:{client}",
        f"--advertise-client-urls=http://127.0.0.1:{client}",
        f"--listen-peer-urls=http://127.0.0.1:{peer}",
        f"--initial-advertise-peer-urls=http://127.0.0.1:{peer}",
    ]
    with subprocess.Popen(
        command, cwd=ROOT, env=ENVIRON, stderr=subprocess.PIPE, text=True
    ) as server:
        assert server.stderr is not None
        try:
            while "ready to serve client requests" not in (line := server.stderr.readline()):
                assert line, "the server ended without being ready"
            assert etcdctl(f"127.0.0.1:{client}", "put", "a", "b") == "OK\n"
            server.send_signal(signal.SIGTERM)
            assert server.wait(TIMEOUT) == 0
        finally:
            server.kill()


def test_both_versions_of_etcd_that_we_tell_are_one() -> None:
    from etcdshim.maintenance import VERSION

    assert VERSION == ETCD_VERSION

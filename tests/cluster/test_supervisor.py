"""Starting, killing, pausing and restarting nodes, and every way in which a start can fail."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.process import Process
from cluster.spec import Pid, boot_id, save
from cluster.supervisor import ClusterError, LocalCluster, State
from tests.cluster.standin import StandInCluster

pytestmark = pytest.mark.process


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[StandInCluster]:
    with StandInCluster(2, data_dir=tmp_path) as cluster:
        yield cluster


def wait_paused(cluster: StandInCluster, name: str) -> None:
    os.waitid(os.P_PID, cluster.pid(name), os.WSTOPPED)


def test_all_nodes_are_ready_inside_and_gone_after(tmp_path: Path) -> None:
    with StandInCluster(3, data_dir=tmp_path) as cluster:
        assert cluster.names == ("n1", "n2", "n3")
        assert all(cluster.is_ready(name) for name in cluster.names)
        assert len(set(cluster.pids())) == 3
        assert len(set(cluster.endpoints())) == 3
        assert cluster.endpoint("n2") == cluster.endpoints()[1]
        assert cluster.last_log_line("n3") == "n3 listens"
    assert cluster.pids() == []
    assert tmp_path.exists()


def test_temporary_data_is_removed() -> None:
    with StandInCluster(1) as cluster:
        assert cluster.directory.exists()
    assert not cluster.directory.exists()


def test_a_killed_node_can_be_started_again(cluster: StandInCluster) -> None:
    before = cluster.pid("n2")
    cluster.kill("n2")
    assert cluster.state("n2") is State.GONE
    assert cluster.pids() == [cluster.pid("n1")]
    assert not cluster.is_ready("n2")
    cluster.start("n2")
    cluster.wait_ready(names=["n2"])
    assert cluster.pid("n2") != before


def test_a_paused_node_goes_on(cluster: StandInCluster) -> None:
    cluster.pause("n1")
    wait_paused(cluster, "n1")
    assert cluster.state("n1") is State.PAUSED
    cluster.resume("n1")
    assert cluster.is_ready("n1")
    assert cluster.state("n1") is State.RUNNING


def test_a_paused_node_can_be_stopped(cluster: StandInCluster) -> None:
    cluster.pause("n1")
    wait_paused(cluster, "n1")
    assert cluster.stop("n1") == -signal.SIGTERM


def test_what_does_not_run_cannot_be_killed_and_what_runs_not_started(
    cluster: StandInCluster,
) -> None:
    with pytest.raises(ClusterError, match=r"n1 already runs \(pid \d+\)"):
        cluster.start("n1")
    cluster.kill("n1")
    for act in (cluster.kill, cluster.pause, cluster.resume, cluster.stop, cluster.pid):
        with pytest.raises(ClusterError, match="n1 does not run"):
            act("n1")


def test_an_unknown_node_is_told(cluster: StandInCluster) -> None:
    with pytest.raises(ClusterError, match="no node n3: the nodes are n1, n2"):
        cluster.kill("n3")


def test_a_node_that_ends_at_start_is_told_with_its_last_words(tmp_path: Path) -> None:
    cluster = StandInCluster(2, data_dir=tmp_path, flags=["--die=the disk is full"])
    with pytest.raises(ClusterError, match=r"n\d ended at start: the disk is full"), cluster:
        pass
    assert cluster.pids() == []


def test_a_node_that_never_serves_is_told_in_time(tmp_path: Path) -> None:
    cluster = StandInCluster(1, data_dir=tmp_path, flags=["--deaf"])
    try:
        cluster.start_all()
        with pytest.raises(ClusterError, match=r"n1 not ready after 0\.2 s"):
            cluster.wait_ready(0.2)
    finally:
        cluster.close()


@pytest.mark.slow
def test_a_busy_port_is_told_before_any_node_starts(tmp_path: Path) -> None:
    cluster = StandInCluster(2, data_dir=tmp_path)
    with (
        socket.create_server(("127.0.0.1", cluster.spec.nodes[1].peer_port)),
        pytest.raises(ClusterError, match=r"port \d+ of n2 is in use"),
    ):
        cluster.start_all()
    assert cluster.pids() == []


def test_another_supervisor_finds_the_nodes_again(tmp_path: Path) -> None:
    first = StandInCluster(2, data_dir=tmp_path, detached=True)
    try:
        first.start_all()
        first.wait_ready()
        second = StandInCluster.open(tmp_path)
        assert second.spec == first.spec
        assert second.pids() == first.pids()
        second.kill("n1")
        second.start("n1")
        third = StandInCluster.open(tmp_path)
        third.wait_ready()
        assert third.pids() == second.pids()
        assert third.pids() != first.pids()
    finally:
        StandInCluster.open(tmp_path).close()
    assert third.pids() == []


def test_a_node_restarted_by_another_supervisor_is_stopped_too(cluster: StandInCluster) -> None:
    other = StandInCluster.open(cluster.directory)
    other.kill("n1")
    other.start("n1")
    cluster.stop_all()
    assert other.pids() == []


def test_a_directory_with_a_cluster_is_not_overwritten(cluster: StandInCluster) -> None:
    with pytest.raises(ClusterError, match="holds a cluster: open it"):
        StandInCluster(2, data_dir=cluster.directory)


def test_the_file_of_another_boot_names_no_process(tmp_path: Path) -> None:
    cluster = StandInCluster(1, data_dir=tmp_path)
    own = Process(
        os.getpid(), int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    )
    assert own.state() is State.RUNNING
    save(tmp_path, cluster.spec, {"n1": Pid(own.pid, own.start_ticks, boot_id())})
    assert StandInCluster.open(tmp_path).pids() == [own.pid]
    save(tmp_path, cluster.spec, {"n1": Pid(own.pid, own.start_ticks, "another boot")})
    assert StandInCluster.open(tmp_path).pids() == []


def test_a_directory_of_another_system_is_refused(cluster: StandInCluster) -> None:
    with pytest.raises(ClusterError, match="holds a cluster of standin, not racos"):
        LocalCluster.open(cluster.directory)


def test_variables_of_etcd_do_not_reach_the_nodes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ETCD_NAME", "stray")
    with StandInCluster(1, data_dir=tmp_path) as cluster:
        environ = Path(f"/proc/{cluster.pid('n1')}/environ").read_bytes()
    assert b"ETCD_NAME" not in environ
    assert b"PYTHONPATH=" in environ

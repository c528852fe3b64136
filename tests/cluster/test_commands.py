"""`racos cluster` with stand-in nodes: what commands print, and their one line on a mistake."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.commands import run
from cluster.process import Process
from cluster.spec import STATE_FILE
from cluster.supervisor import LocalCluster, State
from tests.cluster.standin import free_base_port, standin_command

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[2]
WAIT = 10.0  # seconds, never reached when all is well


class Terminal:
    """Runs commands as one would type them, in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str], data_dir: Path, port: int) -> None:
        self._capsys = capsys
        self.data_dir = data_dir
        self.port = port

    def run(self, *words: str, code: int = 0) -> str:
        """Output of a command that ends with `code`; of a failing one what stderr says."""
        assert run(["cluster", *words, "--data-dir", str(self.data_dir)]) == code
        captured = self._capsys.readouterr()
        return captured.err if code else captured.out

    def refused(self, *words: str) -> str:
        """The single line of a refused command."""
        told = self.run(*words, code=1)
        assert told.startswith("racos: ")
        assert told.count("\n") == 1
        return told

    def up(self, *more: str) -> str:
        return self.run("up", "--detach", "--client-port", str(self.port), *more)


@pytest.fixture
def terminal(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Terminal]:
    monkeypatch.setattr(LocalCluster, "command", standin_command)
    terminal = Terminal(capsys, tmp_path / "cluster", free_base_port(3))
    yield terminal
    if (terminal.data_dir / STATE_FILE).exists():
        LocalCluster.open(terminal.data_dir).stop_all()


def test_a_cluster_comes_up_and_goes_down(terminal: Terminal) -> None:
    port = terminal.port
    shown = terminal.up()
    endpoints = f"127.0.0.1:{port},127.0.0.1:{port + 10},127.0.0.1:{port + 20}"
    assert shown == f"export ETCDCTL_ENDPOINTS={endpoints}\n"
    assert terminal.run("status").count("running") == 3
    assert "3 nodes stopped; their data stays" in terminal.run("down")
    assert terminal.run("status").count("stopped") == 3
    assert "0 nodes stopped" in terminal.run("down")
    assert terminal.up() == shown


def test_nodes_are_killed_started_paused_and_resumed(terminal: Terminal) -> None:
    terminal.up()
    assert terminal.run("kill", "n1", "n2").count("killed (pid ") == 2
    shown = terminal.run("status")
    assert (shown.count("stopped"), shown.count("running")) == (2, 1)
    assert "n2 started (pid " in terminal.run("start", "n2")
    assert "n2 paused" in terminal.run("pause", "n2")
    assert "n2 resumed" in terminal.run("resume", "n2")
    assert terminal.run("logs", "n2", "--lines", "1") == "n2 listens\n"
    assert terminal.refused("kill", "n1") == "racos: n1 does not run\n"
    assert "n2 already runs" in terminal.refused("start", "n2")
    assert "no node n4: the nodes are n1, n2, n3" in terminal.refused("pause", "n4")


def test_fragments_reach_the_nodes(terminal: Terminal) -> None:
    terminal.up("--data-fragments", "1")
    assert LocalCluster.open(terminal.data_dir).spec.flags == ("--data-fragments=1",)


def test_a_running_cluster_is_not_started_twice(terminal: Terminal) -> None:
    terminal.up()
    told = terminal.refused("up", "--detach", "--client-port", str(terminal.port))
    assert "already runs (3 of 3 nodes)" in told


def test_another_cluster_does_not_take_over_the_data(terminal: Terminal) -> None:
    terminal.up()
    terminal.run("down")
    told = terminal.refused("up", "--detach", "--nodes", "5", "--client-port", str(terminal.port))
    assert "holds a cluster of 3 nodes" in told
    told = terminal.refused("up", "--detach", "--client-port", str(terminal.port + 1))
    assert "holds a cluster of 3 nodes" in told


def test_a_directory_with_other_files_is_left_alone(terminal: Terminal, tmp_path: Path) -> None:
    terminal.data_dir = tmp_path / "papers"
    terminal.data_dir.mkdir()
    (terminal.data_dir / "letter").write_text("dear")
    told = terminal.refused("up", "--detach", "--client-port", str(terminal.port))
    assert "is not empty and holds no cluster" in told
    assert [path.name for path in terminal.data_dir.iterdir()] == ["letter"]


@pytest.mark.parametrize("command", ["status", "down", "demo"])
def test_a_directory_without_a_cluster_is_told(terminal: Terminal, command: str) -> None:
    assert "no cluster in" in terminal.refused(command)
    assert not terminal.data_dir.exists()


@pytest.mark.slow
def test_a_busy_port_is_told_and_nothing_is_left(terminal: Terminal) -> None:
    with socket.create_server(("127.0.0.1", terminal.port)):
        told = terminal.refused("up", "--detach", "--client-port", str(terminal.port))
    assert f"port {terminal.port} of n1 is in use" in told
    assert not terminal.data_dir.exists()


def test_a_node_that_ends_at_start_stops_the_others(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        LocalCluster,
        "command",
        lambda cluster, node: [
            *standin_command(cluster, node),
            *(["--die=damaged log"] if node.name == "n2" else []),
        ],
    )
    told = terminal.run("up", "--detach", "--client-port", str(terminal.port), code=1)
    assert told.endswith("racos: n2 ended at start: damaged log\n")
    assert LocalCluster.open(terminal.data_dir).pids() == []


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--nodes", "0"], "0 nodes: from 1 to 9"),
        (["--nodes", "10"], "10 nodes: from 1 to 9"),
        (["--client-port", "70000"], "ports 70000 to 70021: there are 1 to 65535"),
    ],
)
def test_impossible_clusters_are_refused(terminal: Terminal, words: list[str], text: str) -> None:
    assert text in terminal.refused("up", "--detach", *words)
    assert not terminal.data_dir.exists()


@pytest.mark.parametrize("words", [["up", "--bogus"], ["kill"], ["nosuch"]])
def test_wrong_usage_ends_with_2(terminal: Terminal, words: list[str]) -> None:
    assert "Error: " in terminal.run(*words, code=2)


FOREGROUND = """
import sys
from cluster.supervisor import LocalCluster
from tests.cluster.standin import standin_command
LocalCluster.command = standin_command
from cluster.cli import main
sys.exit(main())
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_foreground_cluster_tells_of_ends_and_stops_when_interrupted(
    tmp_path: Path, number: signal.Signals
) -> None:
    data_dir = tmp_path / "cluster"
    command = [sys.executable, "-c", FOREGROUND, "cluster", "up", "--nodes", "2"]
    command += ["--data-dir", str(data_dir), "--client-port", str(free_base_port(3))]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as foreground:
        assert foreground.stdout is not None
        assert foreground.stderr is not None
        assert foreground.stdout.readline().startswith("export ETCDCTL_ENDPOINTS=")
        cluster = LocalCluster.open(data_dir)
        left = Process(cluster.pid("n1"), cluster._processes["n1"].start_ticks)
        cluster.kill("n2")
        while foreground.stderr.readline() != "n2 ended: n2 listens\n":
            assert foreground.poll() is None
        foreground.send_signal(number)
        assert foreground.wait(WAIT) == 0
    assert left.state() is State.GONE

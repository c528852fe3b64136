"""`racos cluster` misused: one clear line, an exit code, and nothing done."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cluster.commands import run
from cluster.spec import STATE_FILE
from cluster.supervisor import LocalCluster, State
from tests.e2e.serving import CLEAN, PATIENCE, ROOT, contents

pytestmark = [pytest.mark.process, pytest.mark.slow]

Told = Callable[..., str]


@pytest.fixture
def told(capfd: pytest.CaptureFixture[str]) -> Told:
    """Gives the last line on stderr of a command that is refused."""

    def run_refused(*words: str) -> str:
        assert run(words) != 0
        captured = capfd.readouterr()
        assert captured.out == ""
        return captured.err.strip().splitlines()[-1]

    return run_refused


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    with LocalCluster(1, data_dir=tmp_path_factory.mktemp("one") / "cluster") as one:
        yield one


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("kill n9", "racos: no node n9: the nodes are n1"),
        ("kill n1 n9", "racos: no node n9: the nodes are n1"),
        ("pause n1 n9", "racos: no node n9: the nodes are n1"),
        ("start n1", "racos: n1 already runs (pid"),
        ("logs n9", "racos: no node n9: the nodes are n1"),
        ("up", "already runs (1 of 1 nodes)"),
        ("kill", "Error: Missing argument 'NAME...'."),
        ("bogus", "Error: No such command 'bogus'."),
        ("status --bogus", "Error: No such option: --bogus"),
        ("logs n1 --lines none", "Error: Invalid value for '--lines'"),
    ],
)
def test_on_a_cluster_that_runs(told: Told, running: LocalCluster, words: str, line: str) -> None:
    verb, *rest = words.split()
    assert line in told("cluster", verb, "--data-dir", str(running.directory), *rest)
    assert running.state("n1") is State.RUNNING


@pytest.mark.parametrize("words", ["status", "kill n1", "start n1", "logs n1", "down", "demo"])
def test_where_there_is_no_cluster(told: Told, tmp_path: Path, words: str) -> None:
    line = told("cluster", *words.split(), "--data-dir", str(tmp_path / "none"))
    assert line.startswith(f"racos: no cluster in {tmp_path / 'none'}: start one with")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("--nodes 0", "racos: 0 nodes: from 1 to 9 are supported"),
        ("--nodes 10", "racos: 10 nodes: from 1 to 9 are supported"),
        ("--nodes many", "Error: Invalid value for '--nodes'"),
        ("--client-port 70000", "racos: ports 70000 to"),
    ],
)
def test_a_cluster_that_cannot_be(told: Told, tmp_path: Path, words: str, line: str) -> None:
    assert line in told("cluster", "up", "--data-dir", str(tmp_path / "new"), *words.split())
    assert list(tmp_path.iterdir()) == []


def test_a_directory_with_something_else_in_it(told: Told, tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    line = told("cluster", "up", "--data-dir", str(tmp_path))
    assert line == f"racos: {tmp_path} is not empty and holds no cluster: choose another"
    assert contents(tmp_path) == {"letter.txt": b"dear"}


def test_a_directory_that_cannot_be_made(told: Told) -> None:
    line = told("cluster", "up", "--data-dir", "/proc/racos", "--client-port", "0", "--detach")
    assert line == "racos: /proc/racos: No such file or directory"


def test_a_damaged_state_file(told: Told, tmp_path: Path) -> None:
    (tmp_path / STATE_FILE).write_text('{"format": 1}')
    for verb in ("status", "up", "down"):
        assert f"{STATE_FILE} is damaged" in told("cluster", verb, "--data-dir", str(tmp_path))
    assert contents(tmp_path) == {STATE_FILE: b'{"format": 1}'}


def test_a_busy_port_starts_no_node(told: Told, running: LocalCluster, tmp_path: Path) -> None:
    port = running.spec.nodes[0].client_port
    line = told(
        *("cluster", "up", "--detach", "--nodes", "1"),
        *("--data-dir", str(tmp_path / "new"), "--client-port", str(port)),
    )
    assert f"racos: port {port} of n1 is in use on 127.0.0.1" in line
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_command_in_a_process() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "cluster.cli", "bogus"],
        cwd=ROOT,
        env=CLEAN,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == "Error: No such command 'bogus'."

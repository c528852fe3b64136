"""What a node's command line answers before there is a node."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from cluster import cli, etcd_cli
from cluster.etcd_cli import ETCD_VERSION
from racos import __version__

ROOT = Path(__file__).parents[2]


@pytest.fixture
def type_in(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The monkeypatch, with an environment that holds nothing of etcd."""
    for name in ("ETCD_NAME", "ETCD_DATA_DIR"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def test_versions(type_in: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    type_in.setattr(sys, "argv", ["racos", "serve", "--version"])
    assert cli.main() == 0
    assert capsys.readouterr().out == f"racos {__version__}\n"
    type_in.setattr(sys, "argv", ["racos-etcd", "--version"])
    assert etcd_cli.main() == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"etcd Version: {ETCD_VERSION}"
    assert [line.partition(":")[0] for line in lines] == [
        "etcd Version",
        "Git SHA",
        "Go Version",
        "Go OS/Arch",
    ]


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_goes_to_stdout(
    type_in: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], flag: str
) -> None:
    type_in.setattr(sys, "argv", ["racos", "serve", flag])
    assert cli.main() == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("usage: racos serve [flags]\n")
    assert captured.err == ""


@pytest.mark.parametrize(
    "flags", [["--bogus"], ["--name=a", "stray"], ["--cert-file=a.crt"], ["--max-txn-ops", "x"]]
)
def test_a_wrong_flag_is_one_line_and_exit_code_1(
    type_in: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], flags: list[str]
) -> None:
    type_in.setattr(sys, "argv", ["racos-etcd", *flags])
    assert etcd_cli.main() == 1
    captured = capsys.readouterr()
    assert captured.err.startswith("racos-etcd: ")
    assert captured.err.count("\n") == 1
    assert captured.out == ""


@pytest.mark.process
def test_start_without_assertions_is_refused() -> None:
    done = subprocess.run(
        [sys.executable, "-O", "-m", "cluster.cli", "serve", "--version"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("racos serve: python -O removes the checks")


@pytest.mark.process
def test_a_node_starts_without_the_other_commands() -> None:
    code = (
        "import sys; sys.argv = ['racos', 'serve', '--version']; from cluster.cli import main; "
        "main(); assert not {'typer', 'rich', 'cluster.supervisor'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)

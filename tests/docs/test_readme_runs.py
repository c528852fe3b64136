"""Runs what the README tells people to type, on free ports, in something like a fresh clone."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from cluster.find import find_program
from cluster.spec import free_ports
from cluster.supervisor import LocalCluster
from tests.cluster.standin import free_base_port

pytestmark = [pytest.mark.process, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
BLOCKS: list[str] = re.findall(r"```sh\n(.*?)```", README, flags=re.DOTALL)
TOUR = ("make up\n", "export PATH=", "racos cluster kill", "make down\n")
SERVE = "racos serve"
NOT_RUN = {"make bench\n": "takes minutes; tests/bench runs the same commands for a moment"}
TIMEOUT = 120.0  # seconds for the whole tour

# Neither etcd's variables nor those of a make that runs this test belong to a new user's shell.
CLEAN = {
    name: text
    for name, text in os.environ.items()
    if not name.startswith(("ETCD", "MAKE", "MFLAGS"))
}


def block(start: str) -> str:
    (found,) = [each for each in BLOCKS if each.startswith(start)]
    return found


def on_ports(text: str, ports: Mapping[int, int]) -> str:
    """The text with every one of these port numbers replaced."""
    return re.sub(r"\b\d{4}\b", lambda match: str(ports.get(int(match[0]), match[0])), text)


def test_every_block_is_run_or_listed_with_a_reason() -> None:
    starts = [*TOUR, SERVE, *NOT_RUN]
    assert [sum(each.startswith(start) for start in starts) for each in BLOCKS] == [1] * len(BLOCKS)
    assert len(starts) == len(BLOCKS)


@pytest.fixture
def clone(tmp_path: Path) -> Iterator[Path]:
    """What a clone has after its first `make up`: the Makefile, and programs in .venv/bin."""
    for name in ("Makefile", "setup.cfg", "pyproject.toml"):
        (tmp_path / name).symlink_to(ROOT / name)
    programs = tmp_path / ".venv" / "bin"
    programs.mkdir(parents=True)
    python = shlex.join([sys.executable, "-m", "cluster.cli"])
    for name, command in {
        "racos": f"PYTHONPATH={shlex.quote(str(ROOT))} exec {python}",
        "etcdctl": f"exec {shlex.quote(find_program('etcdctl'))}",
        "pip": "echo nothing must be installed here; false",
    }.items():
        program = programs / name
        program.write_text(f'#!/bin/sh\n{command} "$@"\n')
        program.chmod(0o755)
    (tmp_path / ".venv" / ".racos-etcd").touch()
    yield tmp_path
    if (tmp_path / "racos-cluster").exists():
        LocalCluster.open(tmp_path / "racos-cluster").stop_all()


def test_the_tour(clone: Path) -> None:
    base = free_base_port(3)
    script = on_ports(
        "".join(block(start) for start in TOUR), {2379 + 10 * i: base + 10 * i for i in range(3)}
    )
    script = script.replace("make up\n", f"make up PORT={base}\n")
    done = subprocess.run(
        ["sh", "-e", "-c", script],
        cwd=clone,
        env=CLEAN,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    shown = done.stdout
    assert "# Go on with etcdctl:" in shown  # the last step of the demonstration
    assert "OK\ngreeting\nhello\n+---" in shown
    assert "n3 killed" in shown
    assert "greeting\nstill here\n" in shown
    assert shown.endswith(f"3 nodes stopped; their data stays in {clone}/racos-cluster\n")


def test_the_members_of_a_cluster_started_by_hand(clone: Path) -> None:
    ports = free_ports(6)
    clients, peers = ports[:3], ports[3:]
    first = block(SERVE)
    told = {2380 + 10 * i: peers[i] for i in range(3)}
    with ExitStack() as stack:
        for number, client in enumerate(clients):
            # The README shows the first member; the others differ in their name and their ports.
            head, members = first.split("--initial-cluster ")
            head = head.replace("n1", f"n{number + 1}")
            head = on_ports(head, {2379: client, 2380: peers[number]})
            line = f"{head}--initial-cluster {on_ports(members, told)}"
            process = stack.enter_context(
                subprocess.Popen(
                    ["sh", "-c", f"exec .venv/bin/{line}"],
                    cwd=clone,
                    env=CLEAN,
                    stderr=subprocess.DEVNULL,
                )
            )
            stack.callback(process.kill)
        etcdctl = [find_program("etcdctl"), "--command-timeout=30s", "--dial-timeout=30s"]
        for client, words in zip(clients, (["put", "a", "b"], ["get", "a"]), strict=False):
            found = subprocess.run(
                [*etcdctl, f"--endpoints=127.0.0.1:{client}", *words],
                env=CLEAN,
                capture_output=True,
                text=True,
                timeout=TIMEOUT,
                check=False,
            )
            assert found.returncode == 0, found.stderr
        assert found.stdout == "a\nb\n"
    assert sorted(path.name for path in clone.glob("*.data")) == ["n1.data", "n2.data", "n3.data"]

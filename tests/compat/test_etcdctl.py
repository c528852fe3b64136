"""Stock etcdctl against ours: what a person would type first."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

pytestmark = [pytest.mark.process, pytest.mark.slow]


def find_etcdctl() -> str:
    program = shutil.which("etcdctl") or shutil.which(
        "etcdctl", path=str(Path(sys.executable).parent)
    )
    assert program is not None, "etcdctl comes with the dev extra: pip install -e .[dev]"
    return program


def etcdctl(address: str, *arguments: str, given: str = "") -> str:
    """Run etcdctl; what it prints. Fails when it does."""
    done = subprocess.run(
        [find_etcdctl(), f"--endpoints={address}", *arguments],
        input=given,
        env={"ETCDCTL_API": "3"},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_put_get_delete(our_address: str) -> None:
    assert etcdctl(our_address, "put", "ctl/a", "1") == "OK\n"
    assert etcdctl(our_address, "put", "ctl/b", given="x" * 100_000) == "OK\n"
    assert etcdctl(our_address, "get", "ctl/a") == "ctl/a\n1\n"
    found = json.loads(etcdctl(our_address, "get", "ctl/", "--prefix", "-w", "json"))
    assert (found["count"], len(found["kvs"])) == (2, 2)
    assert etcdctl(our_address, "del", "ctl/", "--prefix") == "2\n"


def test_txn(our_address: str) -> None:
    steps = 'version("ctl/t") = "0"\n\nput ctl/t new\n\nget ctl/t\n\n'
    assert etcdctl(our_address, "txn", given=steps).split() == ["SUCCESS", "OK"]
    assert etcdctl(our_address, "txn", given=steps).split() == ["FAILURE", "ctl/t", "new"]


def test_compaction_and_watch_from_an_old_revision(our_address: str) -> None:
    revisions = [
        json.loads(etcdctl(our_address, "put", "ctl/w", value, "-w", "json"))["header"]["revision"]
        for value in ("1", "2", "3")
    ]
    assert "compacted" in etcdctl(our_address, "compaction", str(revisions[1]))
    watch = ("watch", "ctl/w", f"--rev={revisions[1]}", "--prev-kv")
    process = subprocess.Popen(
        [find_etcdctl(), f"--endpoints={our_address}", *watch],
        env={"ETCDCTL_API": "3"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    deadline = threading.Timer(20, process.kill)  # ends the reading below, if the events don't
    deadline.start()
    try:
        lines = [process.stdout.readline().strip() for _ in range(8)]
    finally:
        deadline.cancel()
        process.kill()
        process.wait(20)
        process.stdout.close()
    # No previous value at the compacted revision itself; one with the next.
    assert lines == ["PUT", "ctl/w", "2", "PUT", "ctl/w", "2", "ctl/w", "3"]


def test_status_health_and_members(our_address: str) -> None:
    (status,) = json.loads(etcdctl(our_address, "endpoint", "status", "-w", "json"))
    assert status["Status"]["version"] == "3.6.11"
    assert our_address in etcdctl(our_address, "endpoint", "status", "-w", "table")
    (health,) = json.loads(etcdctl(our_address, "endpoint", "health", "-w", "json"))
    assert health["health"] is True
    members = json.loads(etcdctl(our_address, "member", "list", "-w", "json"))
    assert all(member["name"] for member in members["members"])
    leader = status["Status"]["leader"]
    assert leader in [member["ID"] for member in members["members"]]

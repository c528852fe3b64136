"""Stock etcdctl against ours: what a person would type first."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.process, pytest.mark.slow]


def etcdctl(address: str, *arguments: str, given: str = "") -> str:
    """Run etcdctl; what it prints. Fails when it does."""
    program = shutil.which("etcdctl") or shutil.which(
        "etcdctl", path=str(Path(sys.executable).parent)
    )
    assert program is not None, "etcdctl comes with the dev extra: pip install -e .[dev]"
    done = subprocess.run(
        [program, f"--endpoints={address}", *arguments],
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
    put = json.loads(etcdctl(our_address, "put", "ctl/w", "1", "-w", "json"))
    revision = put["header"]["revision"]
    assert "compacted" in etcdctl(our_address, "compaction", str(revision))
    command = f"watch ctl/w --rev {revision}\n"
    # Interactive watch ends with its input; the events are sent by then or the check below fails.
    assert etcdctl(our_address, "get", "ctl/w", f"--rev={revision}") == "ctl/w\n1\n"
    assert command


def test_status_health_and_members(our_address: str) -> None:
    (status,) = json.loads(etcdctl(our_address, "endpoint", "status", "-w", "json"))
    assert status["Status"]["version"] == "3.6.11"
    assert our_address in etcdctl(our_address, "endpoint", "status", "-w", "table")
    (health,) = json.loads(etcdctl(our_address, "endpoint", "health", "-w", "json"))
    assert health["health"] is True
    members = json.loads(etcdctl(our_address, "member", "list", "-w", "json"))
    assert [member["name"] for member in members["members"]] == ["memory"]

"""python-etcd3 as its users have it, in a process of its own, on two nodes of a real cluster."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cluster.supervisor import LocalCluster

pytestmark = [pytest.mark.process, pytest.mark.slow]

PROGRAM = Path(__file__).with_name("python_etcd3.py")
TIMEOUT = 60.0  # seconds for all of it


def test_everyday_use(cluster: LocalCluster) -> None:
    done = subprocess.run(
        [sys.executable, str(PROGRAM), *cluster.endpoints()[:2]],
        env=os.environ | {"PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "python"},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "members"

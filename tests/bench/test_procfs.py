from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench.procfs import Meter, Usage, usage
from bench.systems import filesystem_of


def test_usage_of_this_process_grows() -> None:
    before = usage(os.getpid())
    assert before is not None
    end = time.process_time() + 0.05
    while time.process_time() < end:
        pass
    after = usage(os.getpid())
    assert after is not None
    assert 0.02 <= (after - before).cpu_s < 1


def test_usage_of_nobody() -> None:
    assert usage(2**22 + 1) is None
    meter = Meter([2**22 + 1])
    meter.sample()
    assert meter.used() == Usage(0, 0)


@pytest.mark.process
def test_meter_counts_written_bytes_and_keeps_them_after_the_end(tmp_path: Path) -> None:
    script = (
        "import os, sys; sys.stdin.readline()\n"
        f"file = open({str(tmp_path / 'file')!r}, 'wb'); file.write(bytes(1 << 20))\n"
        "file.flush(); os.fsync(file.fileno()); print(flush=True); sys.stdin.readline()\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with child:
        assert child.stdin is not None
        assert child.stdout is not None
        meter = Meter([child.pid])
        child.stdin.write(b"\n")
        child.stdin.flush()
        assert child.stdout.readline() == b"\n"
        meter.sample()
    meter.sample()  # it is gone now
    if filesystem_of(tmp_path) == "tmpfs":
        assert meter.used().written_bytes >= 0
    else:
        assert 2**20 <= meter.used().written_bytes < 2**21


def test_filesystem() -> None:
    assert filesystem_of(Path("/proc/self")) == "proc"
    assert filesystem_of(Path("/")) != "unknown"

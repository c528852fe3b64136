"""`make micro` is what it is said to be, and every benchmark runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_every_benchmark_runs() -> None:
    # Once each, without a clock.
    options = ["-q", "-W", "error", "-o", "addopts=", "--benchmark-disable"]
    command = [sys.executable, "-m", "pytest", *options, "tests/micro/test_speed.py"]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout
    assert "skipped" not in done.stdout


def test_make_micro_runs_the_benchmarks_and_prints_the_budget() -> None:
    done = subprocess.run(
        ["make", "--dry-run", "micro"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "--benchmark-only" in done.stdout
    assert "python -m tests.micro" in done.stdout

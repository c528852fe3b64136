"""Processes are told apart by start time, signalled exactly, and may die with their parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.process import Process, State

pytestmark = pytest.mark.process

WAIT = 10.0  # seconds, never reached when all is well
SLEEPER = [
    sys.executable,
    "-I",
    "-S",
    "-c",
    "import signal; print('up', flush=True); signal.pause()",
]
ROOT = Path(__file__).parents[2]


def start(command: list[str], log: Path, *, leashed: bool = False) -> Process:
    return Process.start(command, log=log, environ=os.environ, leashed=leashed)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture
def sleeper(log: Path) -> Iterator[Process]:
    process = start(SLEEPER, log)
    yield process
    process.signal(signal.SIGKILL)
    assert process.wait(WAIT)


def test_a_running_process_can_be_killed(sleeper: Process) -> None:
    assert sleeper.state() is State.RUNNING
    assert not sleeper.wait(0)
    assert sleeper.signal(signal.SIGKILL)
    assert sleeper.wait(WAIT)
    assert sleeper.state() is State.GONE
    assert sleeper.exit_code == -signal.SIGKILL
    assert not sleeper.signal(signal.SIGTERM)


def test_a_stopped_process_is_paused(sleeper: Process) -> None:
    sleeper.signal(signal.SIGSTOP)
    os.waitid(os.P_PID, sleeper.pid, os.WSTOPPED)
    assert sleeper.state() is State.PAUSED
    sleeper.signal(signal.SIGCONT)
    os.waitid(os.P_PID, sleeper.pid, os.WCONTINUED)
    assert sleeper.state() is State.RUNNING


def test_a_pid_that_now_belongs_to_a_stranger_is_left_alone(sleeper: Process) -> None:
    earlier = Process(sleeper.pid, sleeper.start_ticks - 1)
    assert earlier.state() is State.GONE
    assert not earlier.signal(signal.SIGKILL)
    assert earlier.wait(0)
    assert sleeper.state() is State.RUNNING


# Starts a sleeper on behalf of the test; arguments: log, "leashed" or "free".
MIDDLEMAN = f"""
import os, signal, sys
from pathlib import Path
from cluster.process import Process
leashed = sys.argv[2] == "leashed"
process = Process.start({SLEEPER!r}, log=Path(sys.argv[1]), environ=os.environ, leashed=leashed)
print(process.pid, process.start_ticks, flush=True)
if leashed:
    signal.pause()
"""


def through_middleman(log: Path, how: str) -> tuple[subprocess.Popen[bytes], Process]:
    command = [sys.executable, "-c", MIDDLEMAN, str(log), how]
    parent = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
    assert parent.stdout is not None
    pid, ticks = map(int, parent.stdout.readline().split())
    return parent, Process(pid, ticks)


def test_a_process_of_another_parent_is_watched_too(log: Path) -> None:
    parent, orphan = through_middleman(log, "free")
    with parent:
        pass  # waits for its end
    assert orphan.state() is State.RUNNING
    assert orphan.signal(signal.SIGKILL)
    assert orphan.wait(WAIT)
    assert orphan.state() is State.GONE


def test_a_leashed_process_dies_with_its_parent(log: Path) -> None:
    # The log is a pipe here, to learn when the program itself runs and not its start any more.
    os.mkfifo(log)
    reader = os.open(log, os.O_RDWR)
    try:
        parent, child = through_middleman(log, "leashed")
        with parent:
            assert os.read(reader, 3) == b"up\n"
            assert child.state() is State.RUNNING
            parent.kill()
        try:
            assert child.wait(WAIT)
        finally:
            child.signal(signal.SIGKILL)
    finally:
        os.close(reader)


def test_output_is_appended_to_the_log(log: Path) -> None:
    for word in ("one", "two"):
        command = [sys.executable, "-I", "-S", "-c", f"print({word!r})"]
        process = start(command, log, leashed=True)
        assert process.wait(WAIT)
        assert process.exit_code == 0
    assert log.read_text() == "one\ntwo\n"


def test_a_missing_program_is_an_error(log: Path) -> None:
    with pytest.raises(FileNotFoundError):
        start(["/nowhere/etcd"], log)

"""One local process, named by pid and start time, so that a recycled pid is never taken for it."""

from __future__ import annotations

import os
import select
import signal
import sys
from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path

_LEASH = Path(__file__).with_name("leash.py")


class State(Enum):
    RUNNING = "running"
    PAUSED = "paused"
    GONE = "gone"


class Process:
    """A process that we started or were told of; not necessarily a child of this one."""

    __slots__ = ("exit_code", "pid", "start_ticks")

    def __init__(self, pid: int, start_ticks: int) -> None:
        self.pid = pid
        self.start_ticks = start_ticks  # clock ticks after boot, from /proc/PID/stat
        self.exit_code: int | None = None  # known after the end of a child; -N for signal N

    @classmethod
    def start(
        cls, command: Sequence[str], *, log: Path, environ: Mapping[str, str], leashed: bool
    ) -> Process:
        """Starts a program in its own session, output appended to `log`.

        Leashed: the kernel kills it when the thread that started it ends. Raises OSError.
        """
        words = list(command)
        if leashed:
            words = [sys.executable, "-I", "-S", str(_LEASH), str(os.getpid()), *command]
        pid = os.posix_spawn(
            words[0],
            words,
            environ,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
            setsid=True,  # Ctrl-C reaches the supervisor alone, which stops its nodes in order
            setsigdef=(signal.SIGPIPE,),
        )
        stat = _stat(pid)
        assert stat is not None, "a child stays in /proc until it is waited for"
        return cls(pid, stat[1])

    def state(self) -> State:
        stat = _stat(self.pid)
        if self.exit_code is not None or stat is None or stat[1] != self.start_ticks:
            return State.GONE
        letter = stat[0]
        if letter in "ZX":
            self._reap()
            return State.GONE
        return State.PAUSED if letter in "Tt" else State.RUNNING

    def signal(self, number: signal.Signals) -> bool:
        """Sends a signal; False if the process is gone."""
        descriptor = self._open()
        if descriptor is None:
            return False
        try:
            signal.pidfd_send_signal(descriptor, number)
        except ProcessLookupError:
            return False
        finally:
            os.close(descriptor)
        return True

    def wait(self, timeout: float) -> bool:
        """Waits at most `timeout` seconds until the process is gone; False if it is still there."""
        descriptor = self._open()
        if descriptor is None:
            return True
        try:
            poller = select.poll()
            poller.register(descriptor, select.POLLIN)
            ended = bool(poller.poll(max(0.0, timeout) * 1000))
        finally:
            os.close(descriptor)
        if ended:
            self._reap()
        return ended

    def _open(self) -> int | None:
        """A descriptor that stays with this very process; None if it is gone."""
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return None
        if (
            self.state() is State.GONE
        ):  # checked after opening: the pid cannot change hands any more
            os.close(descriptor)
            return None
        return descriptor

    def _reap(self) -> None:
        try:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
        except ChildProcessError:
            return  # somebody else's child, or reaped before
        if pid:
            self.exit_code = os.waitstatus_to_exitcode(status)


def _stat(pid: int) -> tuple[str, int] | None:
    """(state letter, start time in ticks) of a process; None if there is none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The program's name stands in brackets and may hold anything; the fields come after the last.
    letter, *rest = text.rpartition(")")[2].split()
    return letter, int(rest[18])

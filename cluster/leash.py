"""Runs a program that the kernel kills when its parent dies: `leash.py PARENT_PID PROGRAM ARGS..`.

A separate little program, because the setting must be made in the child before exec, and running
Python code between fork and exec of a threaded process is not safe. Imports nothing of ours.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    parent, program = int(sys.argv[1]), sys.argv[2:]
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0) != 0:
        raise SystemExit(f"prctl: {os.strerror(ctypes.get_errno())}")
    if os.getppid() != parent:  # it died before the setting was made
        raise SystemExit("the parent is gone")
    os.execv(program[0], program)


if __name__ == "__main__":
    main()

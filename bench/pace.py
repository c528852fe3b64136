"""An open loop's arrivals: when each operation is meant to be sent, whoever is still busy then.

A closed loop asks nothing while a server stalls, and so leaves out the latencies that its stall
would have caused ("coordinated omission"). Here a latency counts from the intended time.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import Final

TICK_S: Final = 0.001  # arrivals closer together than this come in groups, one group a tick
_CLOCK_MONOTONIC: Final = 1
_NONBLOCK: Final = os.O_NONBLOCK
_CLOSE_ON_EXEC: Final = os.O_CLOEXEC


class Arrivals:
    """Evenly spaced from `start` on, `rate` a second; several a tick where the rate asks for it."""

    def __init__(self, rate: float, start: float) -> None:
        if rate <= 0:
            raise ValueError("an open loop needs a rate above 0")
        self.tick_s = max(TICK_S, 1 / rate)
        self._group = rate * self.tick_s  # arrivals of a tick, 1 or more
        self._start = start
        self._next = 0

    def take(self, now: float) -> float:
        """When the next arrival was due, and it is taken; 0 when it is due later than now."""
        due = self._start + int(self._next / self._group) * self.tick_s
        if due > now:
            return 0.0
        self._next += 1
        return due

    def behind(self, now: float) -> int:
        """Arrivals that are due and not taken: everybody was busy."""
        due = (int((now - self._start) / self.tick_s) + 1) * self._group
        return max(0, int(due) - self._next)


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Interval(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("first", _Timespec))


class Ticker:
    """Calls back once a tick: a timerfd(2), because an event loop's own timers are 1 ms coarse."""

    def __init__(self, tick_s: float, start: float, tick: Callable[[], None]) -> None:
        """Raises OSError where the system has no such timers."""
        libc = ctypes.CDLL(None, use_errno=True)
        self._tick = tick
        self._file = libc.timerfd_create(_CLOCK_MONOTONIC, _NONBLOCK | _CLOSE_ON_EXEC)
        if self._file < 0:
            raise OSError(ctypes.get_errno(), "cannot make a timer")
        first = max(1e-6, start - monotonic())
        times = _Interval(_timespec(tick_s), _timespec(first))
        if libc.timerfd_settime(self._file, 0, ctypes.byref(times), None) < 0:
            os.close(self._file)
            raise OSError(ctypes.get_errno(), "cannot start a timer")
        asyncio.get_running_loop().add_reader(self._file, self._ring)

    def close(self) -> None:
        """No call after this."""
        if self._file >= 0:
            asyncio.get_running_loop().remove_reader(self._file)
            os.close(self._file)
            self._file = -1

    def _ring(self) -> None:
        with suppress(BlockingIOError):
            os.read(self._file, 8)  # how often it rang; what is due follows from the clock
            self._tick()


def _timespec(seconds: float) -> _Timespec:
    whole = int(seconds)
    return _Timespec(whole, int((seconds - whole) * 1e9))

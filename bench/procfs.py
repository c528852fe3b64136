"""What server processes use, read from /proc: CPU time, bytes written to disk, memory."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple


class Usage(NamedTuple):
    """Since the start of a process, or summed over several."""

    cpu_s: float  # user and system time of all threads; the kernel counts in ticks of 10 ms
    written_bytes: int  # caused to be sent to the storage layer

    def __add__(self, other: object) -> Usage:
        assert isinstance(other, Usage)
        return Usage(self.cpu_s + other.cpu_s, self.written_bytes + other.written_bytes)

    def __sub__(self, other: Usage) -> Usage:
        return Usage(self.cpu_s - other.cpu_s, self.written_bytes - other.written_bytes)


def usage(pid: int) -> Usage | None:
    """The usage of one process; None if it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        io = Path(f"/proc/{pid}/io").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The program's name may hold anything, brackets too: fields count from the last bracket.
    fields = stat.rpartition(")")[2].split()
    ticks = int(fields[11]) + int(fields[12])
    lines = dict(line.split(": ") for line in io.splitlines())
    return Usage(ticks / os.sysconf("SC_CLK_TCK"), int(lines["write_bytes"]))


def resident_bytes(pids: Sequence[int]) -> float | None:
    """Memory that a process has in use, the mean of some; None when none of them runs.

    Pages of files that it has mapped count, as they do in etcd's own metric.
    """
    page = os.sysconf("SC_PAGE_SIZE")
    found = []
    for pid in pids:
        with suppress(FileNotFoundError, ProcessLookupError):
            found.append(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * page)
    return sum(found) / len(found) if found else None


def disk_bytes(directory: Path) -> int:
    """What the files below a directory take on disk; files that vanish meanwhile count as 0."""
    total = 0
    for folder, _, names in os.walk(directory):
        for name in names:
            with suppress(FileNotFoundError):
                total += os.stat(os.path.join(folder, name)).st_blocks * 512
    return total


class Meter:
    """Usage of some processes since the meter was made; one that ends keeps its last reading."""

    def __init__(self, pids: Sequence[int]) -> None:
        self._start = {pid: seen for pid in pids if (seen := usage(pid)) is not None}
        self._last = dict(self._start)

    def sample(self) -> None:
        """Read all that still run."""
        for pid in self._start:
            seen = usage(pid)
            if seen is not None:
                self._last[pid] = seen

    def used(self) -> Usage:
        """The sum of what was used between start and last sample."""
        total = Usage(0.0, 0)
        for pid, start in self._start.items():
            total += self._last[pid] - start
        return total

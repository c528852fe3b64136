"""`racos serve` as a person starts it: real processes, what they print, how they end."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PATIENCE = 30.0  # seconds for a node to start or to end

CLEAN: Mapping[str, str] = {
    name: text for name, text in os.environ.items() if not name.startswith("ETCD")
}


class Ended(NamedTuple):
    code: int
    out: str
    err: str


def command(flags: Sequence[str], *, python: Sequence[str] = ()) -> list[str]:
    return [sys.executable, *python, "-m", "cluster.cli", "serve", *flags]


def serve(
    flags: Sequence[str], *, python: Sequence[str] = (), environ: Mapping[str, str] | None = None
) -> Ended:
    """Runs a node that is expected to end by itself."""
    done = subprocess.run(
        command(flags, python=python),
        cwd=ROOT,
        env={**CLEAN, **(environ or {})},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    return Ended(done.returncode, done.stdout, done.stderr)


@contextmanager
def serving(flags: Sequence[str]) -> Iterator[subprocess.Popen[str]]:
    """A node that is ready; killed at the end if it still runs."""
    with subprocess.Popen(
        command(flags), cwd=ROOT, env=CLEAN, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        try:
            told = []
            for line in process.stderr:
                told.append(line)
                if "ready to serve client requests" in line:
                    break
            else:
                raise AssertionError(f"ended without being ready: {told}")
            yield process
        finally:
            process.kill()


def refusal(ended: Ended) -> str:
    """The one line that a refused start tells, besides what it logs with a time before it."""
    assert ended.code not in (0, -9), ended
    assert "Traceback" not in ended.err + ended.out, ended
    lines = [line for line in ended.err.splitlines() if not line[:4].isdigit()]
    assert len(lines) == 1, ended
    assert lines[0].startswith("racos"), ended
    return lines[0]


def truth(data_dir: Path) -> dict[str, bytes | None]:
    """`contents` of a data directory but for the index, which follows from the rest: a start opens
    it, which changes its books, before the log is read to its end."""
    found = contents(data_dir)
    return {name: data for name, data in found.items() if not name.startswith("index")}


def contents(directory: Path) -> dict[str, bytes | None]:
    """Every path below a directory, with the bytes of files."""
    return {
        str(path.relative_to(directory)): path.read_bytes() if path.is_file() else None
        for path in sorted(directory.rglob("*"))
    }

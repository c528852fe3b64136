"""kill -9 while the index is written and flushed: what is left is the state after some step."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from racos.mvcc.shelf import KEYS_END
from racos.storage.index import Index
from tests.e2e.serving import ROOT

pytestmark = [pytest.mark.process, pytest.mark.slow]

# Each step says its number in every entry that it writes, and writes one entry of its own.
WRITER = """
import random, sys
from pathlib import Path
from racos.storage.index import Index

index = Index(Path(sys.argv[1]), member_id=1, cluster_id=1)
step = int(index.get(b"step") or b"0")
rng = random.Random(step)
while True:
    step += 1
    number = b"%d" % step
    for _ in range(20):
        index.put(b"k%05d" % rng.randrange(3000), number)
    index.put(b"large%05d" % rng.randrange(20), number * 400)
    index.put(b"s%09d" % step, number)
    index.put(b"step", number)
    index.commit(step)
    index.durable(step - 3)
    if not index.flushing and step % 50 == 0:
        index.flush()
    if step % 400 == 0:
        print(index.flushed_sequence, flush=True)
"""


def write_until_killed(directory: Path, reports: int) -> int:
    """The step up to which a flush had ended when the writer was killed."""
    command = [sys.executable, "-c", WRITER, str(directory)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(reports)]
        process.kill()
    return int(lines[-1])


def test_a_killed_writer_leaves_the_state_after_some_step(tmp_path: Path) -> None:
    for reports in (1, 2, 4):
        flushed = write_until_killed(tmp_path / "index", reports)
        index = Index(tmp_path / "index", member_id=1, cluster_id=1)
        last = int(index.get(b"step") or b"0")
        assert last >= flushed
        steps = [int(value) for _, value in index.scan(b"s0", b"s:")]
        assert steps == list(range(1, last + 1))
        for key, value in index.scan(b"", KEYS_END):
            text = value[: len(value) // 400] if key.startswith(b"large") else value
            assert int(text) <= last
        index.close()

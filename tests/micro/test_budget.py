"""What a put costs in calls, stage by stage: the limits of docs/budget.md.

Calls and not time, so that a busy machine says the same as a quiet one. A limit that is too low
after a change is either a mistake found, or to be raised here and in the document, knowingly.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from pathlib import Path

import pytest

from tests.micro.count import CallCount
from tests.micro.rig import Rig
from tests.micro.sample import Sampling
from tests.micro.stages import STAGES, stage_of

DOCUMENT = (Path(__file__).parents[2] / "docs" / "budget.md").read_text()
WARM = 10  # reads of `batch` puts before those that are counted
COUNTED = 10


def limits(batch: int) -> dict[str, int]:
    """From the document's table: Python calls per put at this batch size, by stage."""
    column = {1: 2, 30: 4}[batch]
    rows = [line.strip("|").split("|") for line in DOCUMENT.splitlines() if line.startswith("| ")]
    found = {row[0].strip(): row[column].strip() for row in rows if len(row) == 5}
    return {stage: int(found[stage]) for stage in STAGES}


def count(directory: Path, batch: int, value: bytes = b"v" * 256) -> CallCount:
    """The calls of puts that arrive `batch` at a time, keys of which every other is new."""

    def keys(number: int) -> list[bytes]:
        return [b"key-%d-%d" % (number // 2, each) for each in range(batch)]

    async def run() -> CallCount:
        rig = Rig(directory)
        for number in range(WARM):
            await rig.serve(rig.put(keys(number), value), batch)
        rig.settle()
        reads = [rig.put(keys(WARM + number), value) for number in range(COUNTED)]
        with CallCount() as calls:
            for data in reads:
                await rig.serve(data, batch)
        digests = {driver.store.state_digest() for driver in rig.drivers}
        rig.close()
        assert len(digests) == 1
        return calls

    return asyncio.run(run())


@pytest.mark.slow
@pytest.mark.parametrize("batch", [1, 30])
def test_a_put_makes_no_more_calls_than_its_budget_says(tmp_path: Path, batch: int) -> None:
    calls = count(tmp_path, batch)
    per_put = {stage: calls.python[stage] / COUNTED / batch for stage in STAGES}
    over = {
        stage: f"{per_put[stage]:.1f} calls, the limit is {limit}"
        for stage, limit in limits(batch).items()
        if per_put[stage] > limit
    }
    often = [entry for entry in calls.functions.most_common() if entry[0][0] in over]
    assert not over, "\n".join(
        f"{stage}: {name} {number / COUNTED / batch:.1f}" for (stage, name), number in often[:20]
    )
    # A limit far above what is used would not notice anything.
    assert {
        stage for stage, limit in limits(batch).items() if per_put[stage] < 0.6 * limit
    } == set()


@pytest.mark.slow
def test_the_same_puts_make_the_same_calls(tmp_path: Path) -> None:
    one, other = (count(tmp_path / name, 2) for name in ("one", "other"))
    assert one.python == other.python
    assert one.c == other.c


@pytest.mark.parametrize(
    ("module", "stage"),
    [
        ("racos.core.window", "agreement"),
        ("racos.node.batch", "batches, coding"),
        ("racos.node.driver", "driver"),
        ("racos.storage.memdisk", ""),
        ("racos.storage.log", "log"),
        ("etcdshim.http2.flow", "HTTP/2, gRPC"),
        ("etcdshim.kv", "services"),
        ("tests.micro.rig", ""),
        ("collections", None),
        ("racosmos", ""),
    ],
)
def test_every_module_has_one_stage(module: str, stage: str | None) -> None:
    assert stage_of(module) == stage


def test_calls_of_the_standard_library_count_for_the_caller() -> None:
    from racos.mvcc.command import Put

    put = Put(b"k", b"v")
    with CallCount() as calls:
        put._replace(value=b"w")
    assert calls.python == Counter()  # this test is none of the product's stages
    assert not calls.functions


def test_sampling_shares_out_the_time() -> None:
    sampling = Sampling()
    sampling.samples.update({"log": 3, "": 1})
    sampling.cpu_seconds = 0.004
    assert sampling.microseconds(10) == {"log": pytest.approx(300.0)}


def test_the_document_names_every_stage() -> None:
    tables = re.split(r"^\|---.*$", DOCUMENT, flags=re.MULTILINE)[1:3]
    for table in tables:
        rows = table.partition("\n\n")[0]
        assert re.findall(r"^\| ([^|]*?) \|", rows, flags=re.MULTILINE) == list(STAGES)

"""Suites: parts measured and kept one by one, and their table."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from bench import suite
from bench.cases import GROWTH, WORKLOADS, Case
from bench.drive import BenchError
from bench.result import Comparison, Measurement
from bench.suite import SUITES, Part, cases_of, read_parts
from bench.table import table_of
from tests.bench.test_cli import invoke
from tests.bench.test_report import MACHINE, WORKLOAD, comparison, measurement


def test_suites_hold_every_kind_of_workload() -> None:
    names = [part.name for parts in SUITES.values() for part in parts]
    assert len(set(names)) == len(names)
    found = {
        case.workload
        for parts in SUITES.values()
        for part in parts
        for case in cases_of(part, nodes=5)
    }
    assert found >= set(WORKLOADS) - {"mixed", "txn", "ycsb-c", "ycsb-d", "ycsb-f"}


def test_two_of_three_nodes_are_never_down() -> None:
    (part,) = (part for part in SUITES["full"] if part.name == "down")
    assert {case.down for case in cases_of(part, nodes=3)} == {1}
    assert {case.down for case in cases_of(part, nodes=5)} == {1, 2}
    assert cases_of(part, nodes=1) == ()


def test_results_survive_the_way_through_a_file() -> None:
    full = measurement("racos", 100, figures={"puts": 3.0}, down=("n2",), memory_items=7.0,
                       memory_empty=1.0, memory_ready=8.0)  # fmt: skip
    before = comparison(full, measurement("etcd", 50))
    after = Comparison.from_json(json.loads(json.dumps(before.to_json())))
    assert after.to_json() == before.to_json()
    assert after.measurements[0].case == full.case
    with pytest.raises(ValueError, match="schema 1"):
        Comparison.from_json({"schema": 1})


def of(text: str, racos: int, etcd: int, **changes: object) -> list[Measurement]:
    case = Case.parse(text)
    return [
        replace(measurement(name, count), case=case, **changes)  # type: ignore[arg-type]
        for name, count in (("racos", racos), ("etcd", etcd))
    ]


def rows_of(text: str, word: str) -> list[list[str]]:
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if word in line
    ]


def test_table_judges_what_is_wanted() -> None:
    parts = {"puts": comparison(*of("put:256:100", 260, 200), *of("put:64k:32", 300, 200))}
    text = table_of(parts)
    (small,) = rows_of(text, "256 B, 100 clients")
    assert small == ["puts", "put, 256 B, 100 clients", "130/s", "100/s", "1.3", "1.3-1.3",
                     ">= 1.2: yes", "10%"]  # fmt: skip
    large, disk = rows_of(text, "64 KiB, 32 clients")
    assert large[4:7] == ["1.5", "1.5-1.5", ">= 3: no"]
    assert disk[2:7] == ["0.03", "0.03", "1", "1-1", "<= 0.27: no"]
    assert "2 cores, a CPU" in text


def test_table_shows_growth_and_memory() -> None:
    memory = {"memory_empty": 0.0, "memory_ready": 4e8, "memory_items": 1e6}
    small, large = (f"{GROWTH[0]},keys={keys}" for keys in ("10k", "1m"))
    cheap = of(small, 100, 100)
    dear = [
        replace(each, server_cpu_s=2 * (each.server_cpu_s or 0))
        for each in of(large, 100, 100, **memory)
    ]
    text = table_of({"growth": comparison(*cheap, *dear)})
    (memory_row,) = rows_of(text, "per key")
    assert memory_row[2:7] == ["400 B", "400 B", "1", "-", "-"]
    (grown,) = rows_of(text, "beside 10,000 keys")
    assert grown[2:4] == ["2.00 times", "2.00 times"]
    assert grown[6] == "<= 1.2: no"


def test_table_shows_latencies_where_the_rate_is_given() -> None:
    rated = comparison(*of("put:256:9,rate=50", 100, 100, figures={"unsent": 0.5}))
    rows = rows_of(table_of({"open": rated}), "50/s offered")
    assert [row[1].rpartition(": ")[2] for row in rows] == ["median latency", "99th percentile"]
    assert rows[0][2:5] == ["5.02 ms", "5.02 ms", "1"]
    behind = comparison(*of("put:256:9,rate=50", 100, 100, figures={"unsent": 9.0}))
    (row,) = rows_of(table_of({"open": behind}), "unsent")
    assert row[2:4] == ["4.5/s", "4.5/s"]
    watched = comparison(*of("watch:256:9", 100, 100, figures={"puts": 4.0}))
    rows = rows_of(table_of({"watch": watched}), "9 watchers")
    assert [row[2] for row in rows] == ["50/s", "5.02 ms", "10.00 ms", "2.0/s"]


def test_table_without_etcd_and_without_parts() -> None:
    assert table_of({}) == ""
    (alone, _) = of("put:256:100", 260, 200)
    (row,) = rows_of(table_of({"puts": comparison(alone)}), "256 B")
    assert row[2:7] == ["130/s", "-", "-", "-", ">= 1.2"]


def test_results_of_another_size_are_not_mixed_in(tmp_path: Path) -> None:
    kept = Comparison(MACHINE, {**WORKLOAD, "nodes": 5}, [measurement("etcd", 5)])
    (tmp_path / "gets.json").write_text(json.dumps(kept.to_json()))
    refused = invoke("compare", "--suite", "full", "--out", str(tmp_path), "--nodes", "3")
    assert refused.exit_code == 1
    assert "gets of 5 nodes, not 3: choose another --out" in refused.stderr
    (tmp_path / "gets.json").write_text("{}")
    with pytest.raises(BenchError, match="no results of this version"):
        read_parts(tmp_path)


def test_suites_that_cannot_be(tmp_path: Path) -> None:
    assert invoke("compare", "--suite", "full").exit_code == 2
    refused = invoke("compare", "--suite", "full", "--out", str(tmp_path), "--rate", "5")
    assert refused.exit_code == 2
    assert "a suite has its own workloads" in " ".join(refused.stderr.split())
    refused = invoke("compare", "--suite", "half", "--out", str(tmp_path))
    assert "'half' is no suite" in refused.stderr
    refused = invoke("compare", "--suite", "full", "--out", str(tmp_path), "--part", "x")
    assert "'x' is no part of full" in refused.stderr


@pytest.mark.process
@pytest.mark.slow
def test_suite_is_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = (
        Part("one", ("put:64:2",), seconds=0.2, warm_up=0, repetitions=1, windows=2),
        Part("two", ("put:64:4",), seconds=0.2, warm_up=0, repetitions=1),
    )
    monkeypatch.setitem(suite.SUITES, "full", parts)
    common = ("compare", "--suite=full", "--only=etcd", "--nodes=1", "--out", str(tmp_path / "out"),
              "--data-dir", str(tmp_path / "data"))  # fmt: skip
    first = invoke(*common, "--part", "one")
    assert first.exit_code == 0, first.stderr
    assert "not measured yet: two" in first.stderr
    (kept,) = (tmp_path / "out").glob("*.json")
    data = json.loads(kept.read_text())
    assert [each["repetition"] for each in data["measurements"]] == [1, 2]
    written = kept.stat().st_mtime_ns
    second = invoke(*common)
    assert second.exit_code == 0, second.stderr
    assert kept.stat().st_mtime_ns == written
    table = (tmp_path / "out" / "table.md").read_text()
    assert len(rows_of(table, "| one |")) == 1
    assert len(rows_of(table, "| two |")) == 1
    assert table.strip() == second.stdout.strip()

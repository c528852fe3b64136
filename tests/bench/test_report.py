from __future__ import annotations

import json
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from bench.cases import Case, size_text
from bench.overview import print_overview
from bench.recorder import Histogram, Timeline
from bench.report import print_report, ratio
from bench.result import Comparison, Machine, Measurement, Summary

WORKLOAD = {
    "nodes": 3,
    "repetitions": 3,
    "seconds": 2.0,
    "warm_up": 1.0,
}
MACHINE = Machine(2, "a CPU", 2**30, "6.0", "3.11.0", "ext4", "abc123")


def measurement(system: str, operations: int, **changes: Any) -> Measurement:
    latency, timeline = Histogram(), Timeline(2.0)
    for number in range(operations):
        latency.record(0.001 * (1 + number % 10))
        timeline.record(2.0 * number / operations, 0.001)
    fields: dict[str, Any] = {
        "system": system,
        "version": "3.6.11",
        "case": Case("put", 1024, 4),
        "repetition": 1,
        "seconds": 2.0,
        "operations": operations,
        "errors": {},
        "latency": latency,
        "timeline": timeline,
        "client_cpu_s": operations * 10e-6,
        "server_cpu_s": operations * 90e-6,
        "disk_bytes": operations * 2048,
        "wire_bytes": operations * 3072,
    }
    return Measurement(**{**fields, **changes})


def comparison(*measurements: Measurement, **workload: Any) -> Comparison:
    return Comparison(MACHINE, {**WORKLOAD, **workload}, list(measurements))


def text_of(result: Comparison) -> str:
    stream = StringIO()
    print_report(result, Console(file=stream, width=160))
    return stream.getvalue()


def cells(text: str, label: str) -> list[str]:
    (line,) = [line for line in text.splitlines() if line.startswith(f"│ {label}")]
    return [cell.strip() for cell in line.strip("│").split("│")][1:]


def test_summary_of_repetitions() -> None:
    summary = Summary([measurement("racos", count) for count in (100, 400, 200)])
    assert summary.throughputs == [50, 200, 100]
    assert summary.throughput == 100
    assert summary.operations == summary.latency.total == 700
    assert summary.client_us == pytest.approx(10)
    assert summary.server_us == pytest.approx(90)
    assert summary.client_share == pytest.approx(0.1)
    assert summary.disk_ratio == pytest.approx(2)
    assert summary.wire_ratio == pytest.approx(3)


def test_summary_without_operations_or_usage() -> None:
    summary = Summary([measurement("racos", 0, server_cpu_s=None, disk_bytes=None)])
    assert (summary.client_us, summary.server_us, summary.client_share) == (None, None, None)
    assert summary.disk_ratio is None
    assert summary.longest_gap == 2.0


def test_table_shows_both_and_the_ratio() -> None:
    text = text_of(comparison(measurement("racos", 5000), measurement("etcd", 2000)))
    assert "put, 1 KiB, 4 clients, 3 nodes" in text
    assert cells(text, "throughput, ops/s") == ["2,500", "1,000", "2.50"]
    assert cells(text, "value bytes, MB/s") == ["2.6", "1.0", "2.50"]
    assert cells(text, "CPU of all servers, us/op") == ["90.0", "90.0", "1.00"]
    assert cells(text, "client's share of CPU") == ["10%", "10%", "1.00"]
    assert cells(text, "disk bytes per value byte") == ["2.00", "2.00", "1.00"]
    assert cells(text, "wire bytes per value byte") == ["3.00", "3.00", "1.00"]
    assert cells(text, "latency max, ms") == ["10.0", "10.0", "1.00"]
    assert cells(text, "repetitions, ops/s") == ["2,500", "1,000", ""]
    assert "2 cores, a CPU, ext4, Python 3.11.0, commit abc123" in text
    assert "longest gap" not in text


def test_data_in_memory_is_said() -> None:
    result = comparison(measurement("etcd", 10))
    assert "synced to disk" in text_of(result)
    in_memory = Comparison(replace(MACHINE, filesystem="tmpfs"), WORKLOAD, result.measurements)
    assert "a sync costs nothing" in text_of(in_memory)
    assert "synced to disk" not in text_of(in_memory)


def test_one_system_alone_has_no_ratio() -> None:
    text = text_of(comparison(measurement("etcd", 2000, server_cpu_s=None)))
    assert cells(text, "throughput, ops/s") == ["1,000"]
    assert "CPU of all servers" not in text
    assert "ratio" not in text


def lines_of(text: str, word: str) -> tuple[list[str], list[str]]:
    """The two lines of a workload in the overview, as words."""
    lines = text.splitlines()
    at = next(index for index, line in enumerate(lines) if word in line)
    return lines[at].split(), lines[at + 1].split()


def test_overview_has_a_row_for_each_workload() -> None:
    mixed = Case("ycsb-a", 1024, 4, "zipfian")
    result = comparison(
        *(measurement("racos", count, repetition=n) for n, count in enumerate((500, 900, 600))),
        *(measurement("etcd", count, repetition=n) for n, count in enumerate((250, 300, 400))),
        measurement("racos", 30, case=mixed),
        measurement("etcd", 40, case=mixed),
    )
    stream = StringIO()
    print_overview(result, Console(file=stream, width=80))
    text = stream.getvalue()
    assert "racos 3.6.11 against etcd 3.6.11, 3 nodes" in text
    ours, theirs = lines_of(text, "put ")
    figures = ["5.0", "10.0", "100", "10%", "2.0", "3.0"]
    assert ours == ["put", "racos", "300", *figures, "2.00", "1.50-3.00"]
    assert theirs == ["1", "KiB,", "4", "clients", "etcd", "150", *figures]
    ours, theirs = lines_of(text, "YCSB A, zipfian keys")
    assert ours[-2:] == ["0.75", "0.75-0.75"]
    assert ours[-4] == "4.0"  # only half of the operations write


def test_overview_of_one_system_has_no_ratio() -> None:
    stream = StringIO()
    lone = measurement("etcd", 300, server_cpu_s=None, disk_bytes=None, wire_bytes=None)
    print_overview(comparison(lone), Console(file=stream, width=80))
    ours, _ = lines_of(stream.getvalue(), "put ")
    assert ours == ["put", "etcd", "150", "5.0", "10.0", "-", "-", "-", "-"]


def test_fault_run_shows_gap_errors_and_victim() -> None:
    torn = measurement("etcd", 2000, errors={"cut off": 7}, killed="n2", killed_at_s=1.0)
    text = text_of(comparison(replace(torn, case=replace(torn.case, kill=1.0))))
    assert cells(text, "longest gap, ms") == ["1"]
    assert cells(text, "errors") == ["7"]
    assert "etcd: killed n2" in text
    assert "etcd: 7 x cut off" in text


def test_gets_have_no_disk_row() -> None:
    text = text_of(comparison(measurement("etcd", 10, case=Case("get", 256, 1))))
    assert "linearizable get, 256 B, 1 client, 3 nodes" in text
    assert "disk bytes" not in text
    case = Case("get-serializable", 256, 4)
    assert "serializable get" in text_of(comparison(measurement("etcd", 10, case=case)))


def test_ratio_needs_both() -> None:
    both = {name: Summary([measurement(name, 10)]) for name in ("racos", "etcd")}
    assert ratio(both, lambda each: each.throughput) == 1.0
    assert ratio(both, lambda _: 0.0) is None
    assert ratio({"racos": both["racos"]}, lambda each: each.throughput) is None


def test_json_holds_everything() -> None:
    result = comparison(measurement("racos", 50), measurement("etcd", 20))
    data = json.loads(json.dumps(result.to_json()))
    assert data["machine"]["filesystem"] == "ext4"
    assert [each["throughput_per_s"] for each in data["summaries"]] == [25, 10]
    first = data["measurements"][0]
    assert Histogram.from_json(first["latency"]).total == first["operations"] == 50
    assert sum(Timeline.from_json(first["timeline"]).counts) == 50


def test_machine_facts() -> None:
    machine = Machine.here("ext4")
    assert machine.cores >= 1
    assert machine.cpu
    assert machine.memory_bytes > 2**20


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (256, "256 B"), (1500, "1500 B"), (65536, "64 KiB"), (2**20, "1 MiB")],
)
def test_size_text(size: int, text: str) -> None:
    assert size_text(size) == text


@pytest.mark.slow
@pytest.mark.parametrize(("kill", "varied"), [(0.0, False), (0.0, True), (1.0, False)])
def test_plot_is_a_picture(tmp_path: Path, kill: float, varied: bool) -> None:
    from bench.plot import draw

    fault = {"killed": "n1", "killed_at_s": 1.0} if kill else {}
    measurements = [
        measurement(system, count, case=Case("put", size, 4, kill=kill), **fault)
        for system, count in (("racos", 300), ("etcd", 100))
        for size in (256, 65536)
    ]
    if varied:
        for name in ("ycsb-a", "txn", "page"):
            case = Case.parse(f"{name}:1k")
            measurements += [measurement(each, 50, case=case) for each in ("racos", "etcd")]
    empty = measurement("etcd", 0, case=Case("put", 2**20, 4))
    path = tmp_path / "plot.png"
    draw(comparison(*measurements, empty), path)
    assert path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_plot_of_many_workloads_on_one_system(tmp_path: Path) -> None:
    from bench.plot import draw

    cases = [Case.parse(name) for name in ("put", "get", "txn", "page", "mixed")]
    path = tmp_path / "plot.png"
    draw(comparison(*(measurement("etcd", 50, case=case) for case in cases)), path)
    assert path.read_bytes().startswith(b"\x89PNG")

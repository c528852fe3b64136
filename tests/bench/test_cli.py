"""The command itself, as a user runs it, against stock etcd."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from bench.cases import USUAL, Case
from bench.cli import app
from bench.compare import Plan
from bench.drive import BenchError
from bench.store import StorePlan
from cluster.supervisor import Supervisor

USUAL_CASES = tuple(Case.parse(text) for text in USUAL)

KILL = Case("put", 1, 4, kill=1.0)
DOWN = Case("put", 1, 4, down=1)


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "160"})


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"cases": ()}, "nothing to compare"),
        ({"processes": 5}, "one client for each process"),
        ({"seconds": 0.0}, "longer than 0 s"),
        ({"cases": (KILL,), "seconds": 1.0}, "within the 1 s"),
        ({"cases": (KILL,), "endpoints": ("127.0.0.1:1",)}, "leave --endpoints away"),
        ({"cases": (DOWN,), "endpoints": ("127.0.0.1:1",)}, "leave --endpoints away"),
        ({"cases": (DOWN,), "shared": True}, "cannot share its cluster"),
        ({"cases": (KILL,), "windows": 2}, "cannot share its cluster"),
        ({"cases": (DOWN,), "nodes": 2}, "leave no majority"),
        ({"cases": (Case("get-cold", 1, 4),), "nodes": 1}, "needs a second node"),
        ({"cases": (Case("get-cold", 1, 4),), "endpoints": ("a:1",)}, "needs a second node"),
    ],
)
def test_plans_that_cannot_be(options: dict[str, Any], text: str) -> None:
    fields: dict[str, Any] = {"cases": (Case("put", 1, 4),), **options}
    with pytest.raises(BenchError, match=text):
        Plan(**fields)


def test_each_client_has_keys_of_its_own() -> None:
    assert Case("put", 256, 48).key_count == 10_032
    assert Case("put", 2**20, 48).key_count == 96
    assert Case("put", 0, 48).key_count == 10_032
    assert Case("put", 256, 48, keys=100).key_count == 144
    for case in USUAL_CASES:
        assert case.key_count % case.clients == 0


def test_systems_take_turns_in_going_first() -> None:
    plan = Plan(cases=USUAL_CASES, systems=("racos", "etcd"))
    assert [plan.order(each) for each in (1, 2, 3)] == [
        ("racos", "etcd"),
        ("etcd", "racos"),
        ("racos", "etcd"),
    ]


def test_wrong_options_are_refused() -> None:
    assert invoke("put", "--only", "zookeeper").exit_code == 2
    assert invoke("put", "--size", "huge").exit_code == 2
    refused = invoke("put", "--kill-after", "9")
    assert refused.exit_code == 1
    assert refused.stderr.startswith("racos bench: the kill must lie within")


@pytest.mark.process
@pytest.mark.slow
def test_puts_against_endpoints(etcd: Supervisor) -> None:
    result = invoke(
        *("put", "--endpoints", ",".join(etcd.endpoints()), "--only", "etcd", "--clients", "4"),
        *("--seconds", "0.3", "--warm-up", "0.1", "--repetitions", "2", "--processes", "2"),
    )
    assert result.exit_code == 0, result.stderr
    assert "put, 256 B, 4 clients" in result.stdout
    assert "CPU of the client, us/op" in result.stdout
    assert "CPU of all servers" not in result.stdout


@pytest.mark.process
@pytest.mark.slow
def test_gets_on_a_cluster_of_its_own(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    result = invoke(
        *("get", "--only", "etcd", "--nodes", "1", "--size", "8", "--size", "64k"),
        *("--clients", "4", "--seconds", "0.4", "--warm-up", "0.1", "--repetitions", "1"),
        *("--processes", "2", "--serializable", "--data-dir", str(tmp_path / "data")),
        *("--json", str(report)),
    )
    assert result.exit_code == 0, result.stderr
    data = json.loads(report.read_text())
    assert [each["case"]["size"] for each in data["summaries"]] == [8, 65536]
    for each in data["measurements"]:
        assert each["operations"] > 0
        assert each["server_cpu_s"] > 0
        assert each["wire_bytes"] > 0
    assert list((tmp_path / "data").iterdir()) == []  # what the clusters wrote is gone


@pytest.mark.process
@pytest.mark.slow
def test_many_workloads_against_endpoints(etcd: Supervisor, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    cases = ("mixed:64:4", "ycsb-d:64:4", "ycsb-f:64:4:uniform", "txn:64:4", "page:64:2")
    result = invoke(
        *("compare", *(f"--workload={case}" for case in cases), "--keys", "600"),
        *("--endpoints", ",".join(etcd.endpoints()), "--only", "etcd", "--processes", "2"),
        *("--seconds", "0.3", "--warm-up", "0.1", "--repetitions", "1", "--json", str(report)),
    )
    assert result.exit_code == 0, result.stderr
    assert "YCSB F, uniform keys" in result.stdout
    summaries = json.loads(report.read_text())["summaries"]
    names = [each["case"]["workload"] for each in summaries]
    assert names == [case.partition(":")[0] for case in cases]
    assert all(each["throughput_per_s"] > 0 for each in summaries)


def test_wrong_workload_is_one_line() -> None:
    refused = invoke("compare", "--workload", "ycsb-z")
    assert refused.exit_code == 2
    assert "'ycsb-z' is no workload" in refused.stderr


@pytest.mark.process
@pytest.mark.slow
def test_killed_leader_is_survived_and_seen(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    result = invoke(
        *("put", "--only", "etcd", "--clients", "6", "--seconds", "4.5", "--warm-up", "0.2"),
        *("--repetitions", "1", "--kill-after", "0.5", "--data-dir", str(tmp_path / "data")),
        *("--json", str(report)),
    )
    assert result.exit_code == 0, result.stderr
    (measured,) = json.loads(report.read_text())["measurements"]
    assert measured["killed"] in ("n1", "n2", "n3")
    assert 0.5 <= measured["killed_at_s"] < 1
    (summary,) = json.loads(report.read_text())["summaries"]
    assert 0.3 < summary["longest_gap_s"] < 3.5  # an election
    assert summary["latency_ms"]["max"] > 300  # of the puts that had to wait for it
    assert summary["errors"]


@pytest.mark.process
@pytest.mark.slow
def test_dead_endpoint_is_one_line() -> None:
    result = invoke("put", "--endpoints", "127.0.0.1:1", "--seconds", "1")
    assert result.exit_code == 1
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("racos bench: endpoints: 127.0.0.1:1: cannot connect")


@pytest.mark.process
@pytest.mark.slow
def test_what_a_full_store_costs(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    result = invoke(
        *("store", "--systems", "racos", "--keys", "600", "--clients", "4", "--wait", "1"),
        *("--data-dir", str(tmp_path / "data"), "--json", str(report)),
    )
    assert result.exit_code == 0, result.stderr
    assert "600 keys of 256 B, 3 nodes" in result.stdout
    for line in ("racos: filling: ", "racos: with compactions: ", "racos: first answer "):
        assert line in result.stderr  # what is known before the end
    (measured,) = json.loads(report.read_text())["results"]
    for phase in ("filled", "overwritten", "compacting"):
        puttings = measured[phase]
        assert puttings["per_second"] > 0
        assert puttings["p99_ms"] > 0
        assert 0 < puttings["gap_ms"] < 5000
        assert puttings["refused"] == puttings["missing"] == 0
    assert measured["full_disk"] >= measured["filled_disk"] > 600 * 256
    assert measured["restart_s"] > 0
    assert measured["restarted_memory"] > 1 << 20


@pytest.mark.process
@pytest.mark.slow
def test_a_store_that_overwrites_too_slowly_is_still_measured(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    result = invoke(
        *("store", "--systems", "racos", "--keys", "400", "--clients", "4", "--rounds", "50"),
        *("--phase-seconds", "0.2", "--wait", "1", "--json", str(report)),
        *("--data-dir", str(tmp_path / "data")),
    )
    assert result.exit_code == 0, result.stderr
    (measured,) = json.loads(report.read_text())["results"]
    assert measured["filled"]["missing"] == 0
    for phase in ("overwritten", "compacting"):
        assert 0 < measured[phase]["missing"] < 400 * 50
        assert measured[phase]["per_second"] > 0
    assert measured["restart_s"] > 0


def test_a_page_of_large_values_has_fewer_keys() -> None:
    sizes = (256, 64 << 10, 1 << 20, 128 << 20)
    plans = [StorePlan(keys=64, size=size) for size in sizes]
    assert [plan.page_keys for plan in plans] == [500, 500, 64, 1]


def test_a_store_whose_last_values_nobody_knows_is_refused() -> None:
    refused = invoke("store", "--keys", "601", "--clients", "4")
    assert refused.exit_code == 1
    assert refused.stderr == "racos bench: --keys must be a multiple of the 4 clients\n"

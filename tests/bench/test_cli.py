"""The command itself, as a user runs it, against stock etcd."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from bench.cli import app, parse_size
from bench.compare import Plan
from bench.drive import BenchError
from cluster.supervisor import Supervisor


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "160"})


@pytest.mark.parametrize(
    ("text", "size"), [("0", 0), ("256", 256), ("64k", 65536), ("64 KiB", 65536), ("1M", 2**20)]
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "-1", "1.5k", "1g", "big"])
def test_no_sizes(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="no size"):
        parse_size(text)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"operation": "delete"}, "unknown operation 'delete'"),
        ({"processes": 5}, "one client for each process"),
        ({"seconds": 0.0}, "longer than 0 s"),
        ({"kill_after": 9.0}, "within the 5 s"),
        ({"kill_after": 1.0, "endpoints": ("127.0.0.1:1",)}, "leave --endpoints away"),
    ],
)
def test_plans_that_cannot_be(options: dict[str, Any], text: str) -> None:
    fields: dict[str, Any] = {"operation": "put", "sizes": (1,), "clients": 4, **options}
    with pytest.raises(BenchError, match=text):
        Plan(**fields)


def test_each_client_has_keys_of_its_own() -> None:
    plan = Plan(operation="put", sizes=(1,), clients=48)
    assert plan.key_count(256) == 10_032
    assert plan.key_count(2**20) == 96
    assert plan.key_count(0) == 10_032


def test_wrong_options_are_refused() -> None:
    assert invoke("put", "--only", "zookeeper").exit_code == 2
    assert invoke("put", "--size", "huge").exit_code == 2
    refused = invoke("put", "--kill-after", "9")
    assert refused.exit_code == 1
    assert refused.stderr.startswith("racos bench: --kill-after must lie within")


@pytest.mark.process
@pytest.mark.slow
def test_puts_against_endpoints(etcd: Supervisor) -> None:
    result = invoke(
        *("put", "--endpoints", ",".join(etcd.endpoints()), "--only", "etcd", "--clients", "4"),
        *("--seconds", "0.3", "--warm-up", "0.1", "--repetitions", "2", "--processes", "2"),
    )
    assert result.exit_code == 0, result.stderr
    assert "put, 4 clients" in result.stdout
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
    assert [each["size"] for each in data["summaries"]] == [8, 65536]
    for each in data["measurements"]:
        assert each["operations"] > 0
        assert each["server_cpu_s"] > 0
    assert list((tmp_path / "data").iterdir()) == []  # what the clusters wrote is gone


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

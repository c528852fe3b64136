"""Who is measured when and on what: order of clusters, filling, nodes down, memory."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from bench.cases import Case
from bench.compare import Filled, Plan, Session, Turn, compare, specs_of
from bench.runner import Spec
from cluster.supervisor import Supervisor
from tests.bench.test_cli import invoke


def test_each_case_has_clusters_of_its_own() -> None:
    cases = (Case.parse("put"), Case.parse("get"))
    plan = Plan(cases=cases, repetitions=2)
    assert [(each.cases, each.repetition, each.system) for each in plan.sessions()] == [
        ((case,), repetition, system)
        for case in cases
        for repetition, system in ((1, "racos"), (1, "etcd"), (2, "etcd"), (2, "racos"))
    ]


def test_cases_may_share_a_cluster() -> None:
    cases = (Case.parse("put"), Case.parse("get"))
    plan = Plan(cases=cases, repetitions=1, shared=True)
    assert [(each.cases, each.system) for each in plan.sessions()] == [
        (cases, "racos"),
        (cases, "etcd"),
    ]


def test_a_store_is_filled_as_far_as_it_lacks() -> None:
    filled = Filled()
    fills = []
    for text in (
        "get:8:2,keys=10",
        "page:8:2,keys=10",
        "rewrite:8:2,keys=30",
        "count:8:2,keys=20",
        "put:8:2,keys=4",  # whatever the keys held
        "get:8:2,keys=10",
        "get:16:2,keys=10",  # values of another size
        "lease-keepalive::2",
        "get:16:2,keys=10",
    ):
        case = Case.parse(text)
        fills.append(filled.first_missing(case))
        filled.measured(case)
    assert fills == [0, None, 10, None, None, 0, 0, 0, None]


def specs(text: str, processes: int = 1, fill_from: int | None = 0) -> list[Spec]:
    case = Case.parse(text)
    plan = Plan(cases=(case,), processes=processes)
    turn = Turn(plan, Session((case,), 1, "etcd"), case, None, fill_from, None, 0)
    return specs_of(turn, ["a:1", "b:1", "c:1"])


def test_cold_reads_come_from_other_nodes_than_the_puts_went_to() -> None:
    (spec,) = specs("get-cold")
    assert (spec.fill_endpoints, spec.endpoints) == (["a:1"], ["b:1", "c:1"])
    (spec,) = specs("get")
    assert spec.fill_endpoints == spec.endpoints == ["a:1", "b:1", "c:1"]


def test_processes_share_the_clients_and_one_fills() -> None:
    found = specs("get:8:5", processes=3)
    assert [(each.first, each.clients) for each in found] == [(0, 1), (1, 2), (3, 2)]
    assert [each.fill_from for each in found] == [0, None, None]
    assert len({each.token for each in found}) == 1


@pytest.mark.process
@pytest.mark.slow
def test_nodes_are_down_before_the_load(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    result = invoke(
        *("compare", "--workload=put:64:4", "--workload=get-cold:1k:4,keys=40", "--only=etcd"),
        *("--down=1", "--seconds=0.3", "--warm-up=0.1", "--repetitions=1"),
        *("--data-dir", str(tmp_path / "data"), "--json", str(report)),
    )
    assert result.exit_code == 0, result.stderr
    data = json.loads(report.read_text())
    for each in data["measurements"]:
        (victim,) = each["down"]
        assert victim in ("n1", "n2", "n3")
        assert each["operations"] > 0
        assert each["errors"] == {}
    assert "64 B, 4 clients, 1 down" in result.stdout


@pytest.mark.process
@pytest.mark.slow
def test_a_store_grows_in_one_cluster(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    result = invoke(
        *("grow", "--level=600", "--level=25k", "--size=16", "--only=etcd", "--nodes=1"),
        *(
            "--workload=count:8:1",
            "--workload=rewrite:8:4",
            "--seconds=0.2",
            "--warm-up=0",
            "--data-dir",
            str(tmp_path),
            "--json",
            str(report),
        ),
    )
    assert result.exit_code == 0, result.stderr
    found = json.loads(report.read_text())["measurements"]
    told = [(each["case"]["workload"], each["case"]["keys"]) for each in found]
    assert told == [(name, keys) for keys in (600, 25_000) for name in ("count", "rewrite")]
    assert all(each["operations"] > 0 for each in found)
    memory = [each["memory_ready"] for each in found]
    assert 0 < found[0]["memory_empty"] < memory[0]
    assert memory[2] > memory[1] + 16 * 25_000
    assert found[2]["memory_items"] == 25_000


@pytest.mark.process
@pytest.mark.slow
def test_streams_and_mixes_of_two_processes(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    cases = ("watch:64:6", "lease-keepalive::4,keys=40", "kube:64:4,keys=80",
             "ycsb-e:64:4,keys=200", "put:64:8,rate=200")  # fmt: skip
    result = invoke(
        *("compare", *(f"--workload={case}" for case in cases), "--only=etcd", "--nodes=1"),
        *("--shared", "--processes=2", "--seconds=0.4", "--warm-up=0.2", "--repetitions=1"),
        *("--data-dir", str(tmp_path / "data"), "--json", str(report)),
    )
    assert result.exit_code == 0, result.stderr
    found = json.loads(report.read_text())["measurements"]
    assert [each["case"]["workload"] for each in found] == [
        case.partition(":")[0] for case in cases
    ]
    assert all(each["operations"] > 0 for each in found)
    watch, _, kube, _, rated = found
    assert 4 <= watch["operations"] / watch["figures"]["puts"] < 8  # six, but for the window's ends
    assert watch["memory_items"] == 6
    assert kube["figures"]["events"] > 0
    assert 30 < rated["operations"] < 120


def test_an_endpoint_cannot_be_killed() -> None:
    refused = invoke("put", "--down", "1", "--endpoints", "127.0.0.1:1")
    assert refused.exit_code == 1
    assert "leave --endpoints away" in refused.stderr


class Notes:
    """A display that keeps what it is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.ends = 0

    def begin(self, title: str, seconds: float) -> None:
        assert title
        assert seconds > 0

    def note(self, text: str) -> None:
        self.notes.append(text)

    def advance(self, seconds: float, rate: float) -> None:
        assert seconds >= 0
        assert rate >= 0

    def end(self, rate: float) -> None:
        assert rate > 0
        self.ends += 1


@pytest.mark.process
@pytest.mark.slow
def test_progress_of_a_long_filling_is_shown(etcd: Supervisor) -> None:
    plan = Plan(
        cases=(Case.parse("count:256:4,keys=60k"),),
        systems=("etcd",),
        endpoints=tuple(etcd.endpoints()),
        seconds=0.1,
        warm_up=0,
        repetitions=1,
    )
    notes = Notes()
    compare(plan, notes)
    assert any(re.fullmatch(r"putting the keys: \d+%", each) for each in notes.notes)
    assert notes.ends == 1

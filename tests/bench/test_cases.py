from __future__ import annotations

from typing import Any

import pytest

from bench.cases import USUAL, WORKLOADS, Case, parse_size
from bench.runner import Spec
from bench.worker import decode, encode
from bench.workload import Values


@pytest.mark.parametrize(
    ("text", "size"), [("0", 0), ("256", 256), ("64k", 65536), ("64 KiB", 65536), ("1M", 2**20)]
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "-1", "1.5k", "1g", "big"])
def test_no_sizes(text: str) -> None:
    with pytest.raises(ValueError, match="no size"):
        parse_size(text)


@pytest.mark.parametrize(
    ("text", "case"),
    [
        ("put", Case("put", 256, 100)),
        ("put:64k", Case("put", 65536, 100)),
        ("get::1", Case("get", 256, 1)),
        ("ycsb-a", Case("ycsb-a", 1024, 100, "zipfian")),
        ("ycsb-d:64k:32", Case("ycsb-d", 65536, 32, "latest")),
        ("ycsb-d:::uniform", Case("ycsb-d", 1024, 100, "uniform")),
        ("put,rate=2k", Case("put", 256, 100, rate=2000)),
        ("page:1k:4,keys=1m", Case("page", 1024, 4, keys=1_000_000)),
        ("put:64k:32,down=1,kill=0.5", Case("put", 65536, 32, down=1, kill=0.5)),
    ],
)
def test_cases_as_people_type_them(text: str, case: Case) -> None:
    assert Case.parse(text) == case


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no workload"),
        ("delete", "no workload: want NAME.* one of put, "),
        ("put:1:2:uniform:x", "no workload"),
        ("put:big", "no size"),
        ("put:1:many", "no number of clients"),
        ("put:1:0", "at least one client"),
        ("put:1:1:uniform", "takes no distribution"),
        ("ycsb-a:7", "values of at least 8 bytes"),
        ("ycsb-a:8:1:normal", "'normal' is none of uniform"),
        ("ycsb-f:8:1:latest", "changes or scans old keys"),
        ("ycsb-e:8:1:latest", "changes or scans old keys"),
        ("watch:7", "values of at least 8 bytes"),
        ("put,speed=1", "'speed=1' is no option"),
        ("put,keys=many", "'many' is no number"),
        ("put,kill=soon", "'soon' is no number of seconds"),
        ("put,kill=-1", "cannot be negative"),
        ("txn,kill=1", "does not try again"),
    ],
)
def test_cases_that_cannot_be(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Case.parse(text)


def test_every_workload_can_be_made_and_has_its_text() -> None:
    cases = [Case.parse(name) for name in WORKLOADS]
    assert len({case.full_text for case in cases}) == len(cases)
    for case in cases:
        made = case.workload_of(Values(case.size, seed=1), 1000, seed=1)
        assert made.request(0).method < len(made.paths)


def test_usual_cases_are_distinct() -> None:
    assert len({Case.parse(text) for text in USUAL}) == len(USUAL)


@pytest.mark.parametrize(
    ("text", "moved", "written"),
    [
        ("put:100", 100, 100),
        ("get:100", 100, 0),
        ("ycsb-b:100", 100, 5),
        ("ycsb-f:100", 150, 50),
        ("page:100", 50_000, 0),
        ("ycsb-e:100", 0.95 * 50.5 * 100 + 5, 5),
        ("watch:100:50", 100, 2),
        ("count:100", 0, 0),
    ],
)
def test_bytes_of_values_per_operation(text: str, moved: float, written: float) -> None:
    case: Any = Case.parse(text)
    assert case.moved_bytes == pytest.approx(moved)
    assert case.written_bytes == pytest.approx(written)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("put:256:1", "256 B, 1 client"),
        ("watch:256:5", "256 B, 5 watchers"),
        ("lease-keepalive::8,keys=100", "8 clients, 100 leases"),
        ("put:64k:32,rate=2k,keys=1m,down=1", "64 KiB, 32 clients, 2,000/s offered, "
         "1,000,000 keys, 1 down"),
        ("put:1:2,kill=0.5", "1 B, 2 clients, a node killed after 0.5 s"),
    ],
)  # fmt: skip
def test_a_case_tells_what_is_special(text: str, told: str) -> None:
    assert Case.parse(text).load_text == told


@pytest.mark.parametrize("case", [Case.parse(text) for text in USUAL], ids=str)
def test_cases_survive_the_way_to_a_worker(case: Case) -> None:
    spec = Spec(
        case=case,
        endpoints=["host:1"],
        clients=1,
        first=0,
        keys=case.key_count,
        connections=1,
        timeout=1.0,
        tolerant=False,
        fill_from=None,
        fill_endpoints=[],
        seed=1,
        token=5,
    )
    assert decode(encode(spec).decode()) == spec


def test_cold_gets_have_more_keys_than_caches_hold() -> None:
    case = Case.parse("get-cold")
    assert case.key_count * case.size >= 192 * 2**20
    assert case.fills_one_node

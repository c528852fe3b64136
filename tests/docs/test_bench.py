"""What docs/bench.md tells people to type is understood, and its table has every workload."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer.main

from bench.cases import GROWTH, WORKLOADS, Case
from bench.cli import app
from bench.draws import DISTRIBUTIONS, EXPONENT
from bench.fanout import WRITERS
from bench.kube import PAGE_LIMIT, RESOURCES, SHARES
from bench.mixes import RECIPES
from bench.pages import LIMIT
from bench.suite import SUITES

TEXT = (Path(__file__).parents[2] / "docs" / "bench.md").read_text()
LINES = [
    shlex.split(line)[2:]
    for block in re.findall(r"```sh\n(.*?)```", TEXT, flags=re.DOTALL)
    for line in block.splitlines()
]


@pytest.mark.parametrize("words", LINES, ids=" ".join)
def test_commands_are_understood(words: list[str]) -> None:
    group = typer.main.get_command(app)
    command = getattr(group, "commands")[words[0]]  # noqa: B009 (a group, says typer, of any type)
    parsed = command.make_context(words[0], words[1:]).params
    assert (parsed.get("suite") or "full") in SUITES
    for text in parsed.get("workload") or ():
        Case.parse(text)


def test_the_table_has_every_workload() -> None:
    workloads = TEXT.split("## Workloads")[1].split("## Suites")[0]
    told = re.findall(r"^\| `([a-z-]+)` \|", workloads, flags=re.MULTILINE)
    assert sorted(told) == sorted(WORKLOADS)


@pytest.mark.parametrize("name", RECIPES)
def test_shares_are_as_told(name: str) -> None:
    (row,) = re.findall(rf"^\| `{name}` \| (.*?) \|", TEXT, flags=re.MULTILINE)
    told = [int(share) for share in re.findall(r"(\d+) %", row)] or [100]
    assert told == [round(100 * share) for share in RECIPES[name] if share]


def test_distributions_and_limits_are_as_told() -> None:
    for name in DISTRIBUTIONS:
        assert f"`{name}`" in TEXT
    assert f"exponent {EXPONENT:g}" in TEXT
    assert f"| {LIMIT} keys of a range" in TEXT


def test_the_kubernetes_like_mix_is_as_told() -> None:
    leases, pods, configmaps, _ = RESOURCES
    assert f"{leases.share} % leases of nodes and {pods.share} % pods" in TEXT
    assert (pods.sizes, configmaps.sizes) == (4, 2)
    flowing = " ".join(TEXT.split())
    shares = [share for _, share in SHARES.values()]
    assert [int(each) for each in re.findall(r"(\d+) %", flowing.split("Of the operations")[1])][
        : len(shares)
    ] == shares
    assert f"in pages of {PAGE_LIMIT} at one revision" in flowing


def test_watchers_and_growth_are_as_told() -> None:
    assert f"`watch`: {WRITERS} writers in each process" in TEXT
    assert [text.partition(":")[0] for text in GROWTH] == ["get", "page", "count", "rewrite"]


def test_repetitions_of_the_parts_are_as_told() -> None:
    repetitions = {
        part.name: part.repetitions * part.windows for parts in SUITES.values() for part in parts
    }
    assert repetitions.pop("watchers") == 3
    assert set(repetitions.values()) == {5}
    assert [part.name for part in SUITES["full"] if part.windows > 1] == ["growth"]


def test_every_part_of_a_suite_is_told() -> None:
    told = dict(re.findall(r"^\| `([a-z]+)` \| ((?:`[a-z-]+`(?:, )?)+) \|", TEXT, re.MULTILINE))
    assert {name: re.findall(r"`([a-z-]+)`", parts) for name, parts in told.items()} == {
        name: [part.name for part in parts] for name, parts in SUITES.items()
    }

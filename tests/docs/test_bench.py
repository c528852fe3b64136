"""What docs/bench.md tells people to type is understood, and its table has every workload."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer.main

from bench.cases import WORKLOADS, Case
from bench.cli import app
from bench.draws import DISTRIBUTIONS, EXPONENT
from bench.mixes import RECIPES
from bench.pages import LIMIT

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
    for text in parsed.get("workload") or ():
        Case.parse(text)


def test_the_table_has_every_workload() -> None:
    told = re.findall(r"^\| `([a-z-]+)` \|", TEXT, flags=re.MULTILINE)
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

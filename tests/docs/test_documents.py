"""What the documents tell people to type exists."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest
import typer.main

from cluster.commands import app
from cluster.supervisor import LocalCluster
from racos import __version__
from racos.node.config import parse

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```sh\n(.*?)```", README, flags=re.DOTALL)
LINES = [
    line for block in BLOCKS for line in block.replace("\\\n", " ").splitlines() if line.strip()
]
TARGETS = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))


def _racos_lines() -> list[list[str]]:
    return [shlex.split(line)[1:] for line in LINES if line.startswith("racos ")]


def test_the_readme_has_commands_to_try() -> None:
    assert LINES[0] == "make up"
    assert _racos_lines()


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md"])
def test_make_targets_exist(document: str) -> None:
    text = (ROOT / document).read_text()
    named = set(re.findall(r"(?:`|^ *)make ([a-z]+)", text, flags=re.MULTILINE))
    assert named
    assert named <= TARGETS


def test_help_and_phony_name_every_target() -> None:
    makefile = (ROOT / "Makefile").read_text()
    (phony,) = re.findall(r"^\.PHONY: (.*)$", makefile, flags=re.MULTILINE)
    assert set(phony.split()) == TARGETS
    for target in TARGETS - {"help"}:
        assert f'"make {target} ' in makefile


def test_make_refuses_a_python_that_is_too_old(tmp_path: Path) -> None:
    old = tmp_path / "old-python"
    old.write_text("#!/bin/sh\nexit 1\n")  # what it answers when asked whether it is new enough
    old.chmod(0o755)
    venv = tmp_path / "venv"
    done = subprocess.run(
        ["make", "up", f"PYTHON={old}", f"VENV={venv}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert done.stderr.startswith("Racos needs Python 3.11 or newer: make PYTHON=")
    assert not venv.exists()


@pytest.mark.parametrize("words", _racos_lines(), ids=" ".join)
def test_racos_commands_of_the_readme_are_understood(words: list[str]) -> None:
    if words[0] == "serve":
        assert parse(words[1:], {}).warnings == ()
        return
    command = typer.main.get_command(app)
    context = command.make_context("racos", list(words), resilient_parsing=True)
    for name in words[:2]:
        subcommands = getattr(command, "commands", {})
        assert name in subcommands
        command = subcommands[name]
    context = command.make_context("racos", words[2:], parent=context)
    assert context.params


def test_the_endpoints_of_the_readme_are_those_of_make_up(tmp_path: Path) -> None:
    cluster = LocalCluster(3, data_dir=tmp_path, base_port=2379)
    assert f"ETCDCTL_ENDPOINTS={','.join(cluster.endpoints())}" in README


@pytest.mark.parametrize("document", sorted(path.name for path in ROOT.glob("*.md")))
def test_links_lead_somewhere(document: str) -> None:
    text = (ROOT / document).read_text()
    titles = re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
    for target in re.findall(r"\]\(([^)]+)\)", text):
        if target.startswith("#"):
            assert target[1:] in anchors
        elif "://" not in target:
            assert (ROOT / target.partition("#")[0]).exists()


def test_endpoints_are_given_one_way() -> None:
    # etcdctl refuses --endpoints where ETCDCTL_ENDPOINTS is exported, as the README tells one to.
    assert "export ETCDCTL_API=3 ETCDCTL_ENDPOINTS=" in README
    assert not [line for line in LINES if "--endpoints" in line]


def test_the_changelog_tells_of_this_version() -> None:
    assert f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_the_license_is_whole() -> None:
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text

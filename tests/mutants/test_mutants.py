"""Every seeded bug still applies, is explained and listed; three of them are hunted whole.

All of them: `python -m tests.mutants`.
"""

from __future__ import annotations

import re
from difflib import unified_diff
from pathlib import Path

import pytest

from tests.mutants.__main__ import Outcome, confirm, judge, main, row
from tests.mutants.mutant import ROOT, Mutant, load_all
from tests.mutants.suites import SUITES, SuiteError, verdict
from tests.mutants.workspace import DoesNotApply, Workspace

MUTANTS = load_all()
QUICK = {
    "unsure-without-a-zero": "plays",
    "torn-middle-cut": "storage",
    "compaction-drops-the-tombstone-at-r": "mvcc",
}
COIN = "racos/core/coin.py"


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return Workspace(tmp_path_factory.mktemp("mutants"))


def test_there_are_many() -> None:
    assert len(MUTANTS) >= 70


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_it_applies_and_compiles(workspace: Workspace, mutant: Mutant) -> None:
    before = [(workspace.folder / name).read_bytes() for name in mutant.files]
    with workspace.mutated(mutant):
        assert [(workspace.folder / name).read_bytes() for name in mutant.files] != before
    assert [(workspace.folder / name).read_bytes() for name in mutant.files] == before


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_it_says_what_it_breaks(mutant: Mutant) -> None:
    assert mutant.rule.endswith(".")
    assert set(mutant.suites) <= set(SUITES)
    document, _, heading = mutant.document.partition(": ")
    text = (ROOT / document).read_text()
    assert not heading or re.search(rf"^#+ {re.escape(heading)}$", text, re.MULTILINE)


def test_the_table_lists_each_of_them() -> None:
    text = (ROOT / "docs/mutants.md").read_text()
    table = text.partition("## The last run")[2].partition("\n## ")[0]
    listed = re.findall(r"^\| ([a-z0-9-]+) \| (.+?) \|", table, re.MULTILINE)
    assert listed[1:] == [(mutant.name, mutant.rule) for mutant in MUTANTS]
    assert "**nothing**" not in table


@pytest.mark.slow
@pytest.mark.parametrize(("name", "suite"), QUICK.items(), ids=str)
def test_it_is_caught(workspace: Workspace, name: str, suite: str) -> None:
    (mutant,) = load_all([name])
    outcome = judge(workspace, mutant, [suite], 100.0)
    assert outcome.caught_by is not None
    confirm(workspace, [outcome], 100.0)


def changed_coin(folder: Path, old: str, new: str) -> Mutant:
    """A mutant made of the tree's coin and what stands there if it reads `new` for `old`."""
    before = (ROOT / COIN).read_text()
    after = before.replace(old, new)
    lines = before.splitlines(keepends=True), after.splitlines(keepends=True)
    patch = folder / "changed-coin.patch"
    patch.write_text("".join(unified_diff(*lines, f"a/{COIN}", f"b/{COIN}")))
    return Mutant("changed-coin", patch, "", "", (), (COIN,))


@pytest.mark.slow
def test_a_patch_that_breaks_nothing_survives(workspace: Workspace, tmp_path: Path) -> None:
    mutant = changed_coin(tmp_path, "    message = ", "    assert phase >= 0\n    message = ")
    outcome = judge(workspace, mutant, ["plays"], 100.0)
    assert outcome.caught_by is None
    assert row(outcome).startswith("| changed-coin | **nothing** |  |")


def test_a_patch_of_another_tree_is_refused(workspace: Workspace, tmp_path: Path) -> None:
    mutant = changed_coin(tmp_path, "import", "imports")
    mutant.patch.write_text(mutant.patch.read_text().replace("blake2b", "blake2s"))
    with pytest.raises(DoesNotApply, match="does not apply"), workspace.mutated(mutant):
        pass


def test_a_patch_that_does_not_compile_is_refused(workspace: Workspace, tmp_path: Path) -> None:
    mutant = changed_coin(tmp_path, "import", "imports")
    with pytest.raises(DoesNotApply, match="invalid syntax"), workspace.mutated(mutant):
        pass
    assert (workspace.folder / COIN).read_text() == (ROOT / COIN).read_text()


def test_what_fails_without_a_bug_counts_for_nothing(workspace: Workspace) -> None:
    outcome = Outcome(MUTANTS[0], "tests/core/test_lanes.py::test_that_is_not_there", "tables", 1.0)
    with pytest.raises(SuiteError, match="fails without any bug"):
        confirm(workspace, [outcome], 100.0)


@pytest.mark.parametrize(
    ("code", "output", "caught_by"),
    [
        (0, "3 passed", None),
        (None, "", None),
        (
            1,
            "FAILED tests/a/test_b.py::test_c[x - y] - assert 1\n",
            "tests/a/test_b.py::test_c[x - y]",
        ),
        (1, "ERROR tests/a/test_b.py::test_c - OSError\n", "tests/a/test_b.py::test_c"),
        (1, "seed 7 (P-5)\n", "seed 7 (P-5)"),
    ],
)
def test_verdicts(code: int | None, output: str, caught_by: str | None) -> None:
    assert verdict("plays", code, output) == caught_by


@pytest.mark.parametrize("code", [1, 2, -9])
def test_a_suite_that_cannot_run_is_no_verdict(code: int) -> None:
    with pytest.raises(SuiteError, match="plays: exit code"):
        verdict("plays", code, "no module named x")


def test_a_wrong_name_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["no-such-bug"]) == 2
    assert "no such mutant: no-such-bug" in capsys.readouterr().err

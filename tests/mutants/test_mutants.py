"""Every seeded bug still applies, is explained and listed; three of them are hunted whole.

All of them: `python -m tests.mutants`.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.mutants.__main__ import Outcome, confirm, judge, main
from tests.mutants.mutant import ROOT, Mutant, load_all
from tests.mutants.suites import SUITES, SuiteError, verdict
from tests.mutants.workspace import DoesNotApply, Workspace

MUTANTS = load_all()
QUICK = {
    "unsure-without-a-zero": "plays",
    "torn-middle-cut": "storage",
    "compaction-drops-the-tombstone-at-r": "mvcc",
}
HARMLESS = """\
--- a/racos/core/coin.py
+++ b/racos/core/coin.py
@@ -1,1 +1,1 @@
-{line}
+{line}  # a comment
"""


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return Workspace(tmp_path_factory.mktemp("mutants"))


def test_there_are_many() -> None:
    assert len(MUTANTS) >= 40


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
    assert re.findall(r"^\| ([a-z0-9-]+) \|", text, re.MULTILINE) == [m.name for m in MUTANTS]
    assert "**nothing**" not in text


@pytest.mark.slow
@pytest.mark.parametrize(("name", "suite"), QUICK.items(), ids=str)
def test_it_is_caught(workspace: Workspace, name: str, suite: str) -> None:
    (mutant,) = load_all([name])
    outcome = judge(workspace, mutant, [suite], 100.0)
    assert outcome.caught_by is not None
    confirm(workspace, [outcome], 100.0)


@pytest.mark.slow
def test_a_patch_that_breaks_nothing_survives(workspace: Workspace, tmp_path: Path) -> None:
    patch = tmp_path / "harmless.patch"
    patch.write_text(harmless((ROOT / "racos/core/coin.py").read_text().splitlines()[0]))
    mutant = Mutant("harmless", patch, "", "", (), ("racos/core/coin.py",))
    assert judge(workspace, mutant, ["plays"], 100.0).caught_by is None


def harmless(line: str) -> str:
    """A patch that changes a docstring alone."""
    return HARMLESS.format(line=line).replace("@@ -1,1 +1,1 @@", "@@ -1 +1 @@")


def test_a_patch_of_another_tree_is_refused(workspace: Workspace, tmp_path: Path) -> None:
    patch = tmp_path / "stale.patch"
    patch.write_text(harmless("what that line was once"))
    mutant = Mutant("stale", patch, "", "", (), ("racos/core/coin.py",))
    with pytest.raises(DoesNotApply, match="stale"), workspace.mutated(mutant):
        pass


def test_a_patch_that_does_not_compile_is_refused(workspace: Workspace, tmp_path: Path) -> None:
    first = (ROOT / "racos/core/coin.py").read_text().splitlines()[0]
    patch = tmp_path / "nonsense.patch"
    patch.write_text(harmless(first).replace("  # a comment", '"""'))
    mutant = Mutant("nonsense", patch, "", "", (), ("racos/core/coin.py",))
    with pytest.raises(DoesNotApply, match="nonsense"), workspace.mutated(mutant):
        pass
    assert (workspace.folder / "racos/core/coin.py").read_text().splitlines()[0] == first


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

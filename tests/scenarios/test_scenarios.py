"""Every play goes as its text says.

RACOS_REWRITE=1 writes what happens now into the texts. Read the difference line by line and commit
only what you understand: the text is the specification here, the code is on trial.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.scenarios.script import Play

PLAYS = sorted(Path(__file__).parent.glob("*.txt"))
REWRITE = os.environ.get("RACOS_REWRITE") == "1"


@pytest.mark.parametrize("path", PLAYS, ids=lambda path: path.stem)
def test_the_play_goes_as_written(path: Path) -> None:
    text = path.read_text()
    play = Play()
    result = play.run(text)
    if REWRITE:
        path.write_text(result)
    else:
        assert result.splitlines() == text.splitlines()
    play.stage.check_coverage()


def test_each_play_begins_with_its_story() -> None:
    for path in PLAYS:
        assert path.read_text().startswith("# "), path.name
        story = path.read_text().partition("\n\n")[0]
        assert "rule" in story.lower(), f"{path.name} names no rule"


def test_a_play_is_compared_with_what_happens() -> None:
    text = "# Story.\n> cluster n=1 f=0 k=1\n> propose 0 a\n> sync\n"
    told = Play().run(text)
    assert "  0 applies r0.l0 a" in told.splitlines()
    assert Play().run(told.replace("applies r0.l0 a", "applies r0.l0 b")) == told

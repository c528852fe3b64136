"""Every play goes as its text says.

RACOS_REWRITE=1 writes what happens now into the texts, and draws their pictures anew. Read the
difference line by line and commit only what you understand: the text is the specification here, the
code is on trial.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.scenarios.picture import draw
from tests.scenarios.script import Play

PLAYS = sorted(Path(__file__).parent.glob("*.txt"))
PICTURES = sorted((Path(__file__).parents[2] / "docs" / "plays").glob("*.svg"))
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


@pytest.mark.parametrize("path", PICTURES, ids=lambda path: path.stem)
def test_the_picture_shows_the_play(path: Path) -> None:
    text = (Path(__file__).parent / f"{path.stem}.txt").read_text()
    picture = draw(path.stem, text)
    if REWRITE:
        path.write_text(picture)
    else:
        assert picture == path.read_text(), "RACOS_REWRITE=1 draws it anew"


def test_a_picture_shows_what_arrived_and_what_was_lost() -> None:
    text = "> cluster n=2 f=0 k=1\n> propose 0 a\n  0->1 PAY a\n  0->1 VOTE b\n"
    both = draw("both", f"{text}  1 gets from 0: PAY a\n  lost 0->1 VOTE b\n  1 synced\n")
    assert both.count("marker-end") == 1
    assert both.count("stroke-dasharray") == 1
    assert ">synced</text>" in both
    assert "stroke-dasharray" not in draw("neither", text)

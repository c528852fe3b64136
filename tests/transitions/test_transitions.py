"""Every transition of a slot is taken by some test, and the document about them is current."""

from __future__ import annotations

import re

import pytest

from racos.core.transitions import NAMES, TRANSITIONS
from tests.core.schedules import run_and_settle
from tests.transitions.collect import counted as counted_by_all
from tests.transitions.collect import exploration, play, plays, tables
from tests.transitions.document import EXAMPLES, PATH, diagram, row

# The owner chooses its width by who answers it; the exploration sends all widths there are.
NOT_EXPLORED = {"widened"}
VERDICTS = {"fast", "voted_one", "voted_zero", "waits_rest", "waits_cover"} | {
    name for name in NAMES if name.startswith(("votes_", "follows_", "coin_"))
}


def test_names_are_told_apart() -> None:
    assert len(set(NAMES)) == len(NAMES)
    assert all(transition.sources and transition.when for transition in TRANSITIONS)


@pytest.mark.slow
def test_each_is_taken_in_some_play() -> None:
    taken = {name for counts in plays().values() for name in counts if counts[name]}
    assert taken == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_the_play_named_for_it_takes_it(name: str) -> None:
    assert play(EXAMPLES[name])[name] > 0


def test_each_verdict_is_in_a_table() -> None:
    assert set(tables()) == VERDICTS


@pytest.mark.slow
def test_each_is_explored() -> None:
    assert set(exploration()) - NOT_EXPLORED == set(NAMES) - NOT_EXPLORED


def test_what_is_not_taken_is_not_counted() -> None:
    with counted_by_all() as counts:
        run_and_settle(1, 0, 1, seed=1, steps=40)
    assert counts["fast"] > 0
    assert not counts["voted_one"]
    assert set(counts) == set(NAMES)


def test_the_document_is_current() -> None:
    """`python -m tests.transitions` writes it anew; its counts are those of the run it names."""
    text = PATH.read_text()
    assert diagram() in text
    rows = [line for line in text.splitlines() if re.match(r"\| [a-z_0-9]+ \| [\d, ]+ \|", line)]
    assert [line[: len(row(each))] for line, each in zip(rows, TRANSITIONS, strict=True)] == [
        row(each) for each in TRANSITIONS
    ]

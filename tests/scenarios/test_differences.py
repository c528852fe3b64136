"""The plays that docs/differences.md names show what they say: without the rule, they end badly."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from racos.core import agreement
from racos.core.lanes import OwnLane
from tests.core import one_slot
from tests.scenarios.script import Play

HERE = Path(__file__).parent
PAGE = (HERE.parents[1] / "docs" / "differences.md").read_text()


def run(name: str, monkeypatch: pytest.MonkeyPatch | None = None) -> Play:
    """The play, to its end; with a rule broken only its commands count."""
    play = Play()
    text = (HERE / f"{name}.txt").read_text()
    if monkeypatch is None:
        assert play.run(text) == text
    else:
        play.run(text)
    return play


def test_without_cover_an_acknowledged_batch_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    run("three_of_five_hold").stage.check_coverage()
    monkeypatch.setattr(agreement, "vote", one_slot.vote_one_without_cover)
    with pytest.raises(AssertionError):
        run("three_of_five_hold", monkeypatch).stage.check_coverage()


def test_a_decision_can_be_named_and_had_without_f_of_its_holders() -> None:
    late = run("decided_without_batch").stage.nodes[3]
    assert [name for _, name in late.applied] == [b"one"]


def test_owners_that_do_not_pass_over_rounds_stall_everyone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(OwnLane, "skip_to", lambda _self, _round: None)
    play = Play()
    told = play.run("> cluster n=3 f=1 k=2\n> propose 2 one\n> settle 200ms\n")
    assert "decides r0.l2 = 1" in told
    assert "applies" not in told


def test_each_play_that_the_page_names_is_there() -> None:
    named = set(re.findall(r"play `(\w+)`", PAGE))
    assert {"three_of_five_hold", "samples_differ", "orphan"} <= named
    assert {name for name in named if not (HERE / f"{name}.txt").exists()} == set()


def test_what_five_owners_propose_at_once_is_applied_by_all_in_one_order() -> None:
    nodes = run("samples_differ").stage.nodes
    orders = {tuple(name for _, name in node.applied) for node in nodes}
    assert orders == {(b"a", b"b", b"c", b"d", b"e")}

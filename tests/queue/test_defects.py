"""The defects of the published algorithm are real: with one correction taken out again, the
schedule of its play (tests/scenarios/queue_*.txt) ends in what the correction prevents.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from racos.core.ballots import NONE
from racos.core.quorum import Quorum
from racos.queue import agreement
from racos.queue.fetches import Fetches
from racos.queue.pool import Pool
from racos.queue.slot import Slot, decision
from tests.scenarios.queue_stage import QueueStage
from tests.scenarios.script import Play

PLAYS = Path(__file__).parent.parent / "scenarios"

Decision = Callable[[Slot, Quorum], int | None]


def played(name: str, settle: str = "") -> QueueStage:
    """`settle`: for how long at the end, if not as in the play."""
    play = Play()
    text = (PLAYS / f"queue_{name}.txt").read_text()
    before, end, after = text.rpartition("> settle")
    play.run(f"{before}{end} {settle}" if settle else before + end + after)
    assert isinstance(play.stage, QueueStage)
    return play.stage


def applied(stage: QueueStage, lane: int) -> list[bytes]:
    return [name for _, name in stage.nodes[lane].applied]


def no_fetches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Published: what did not come is not asked for."""
    monkeypatch.setattr(Fetches, "tick", lambda _self, _now: None)


def test_a_majority_of_proposals_loses_an_acknowledged_write(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """D1: published, three of five proposals are enough whatever k is."""
    played("recoverability").check_coverage()

    def majority(quorum: Quorum, *, coded: bool) -> int:
        del coded
        return quorum.majority

    monkeypatch.setattr(agreement, "holders_needed", majority)
    stage = played("recoverability")
    assert applied(stage, 2) == [b"hole"]
    with pytest.raises(AssertionError):
        stage.check_coverage()


def private_best(slot: Slot, quorum: Quorum) -> int | None:
    """Published: 1 means what this replica heard most often, the first heard among equals."""
    name = decision(slot, quorum)
    if name is None or name == NONE:
        return name
    (best, _), *_ = slot.proposed().most_common(1)
    return best


def test_committing_what_one_heard_most_often_diverges(monkeypatch: pytest.MonkeyPatch) -> None:
    """D2: the world notices two batches in one slot."""
    monkeypatch.setattr(agreement, "decision", private_best)
    with pytest.raises(AssertionError):
        played("divergence")


def majority_or_nothing(slot: Slot, quorum: Quorum) -> int | None:
    """Rabia: a 1 means the batch of which a majority of proposals was found."""
    name = decision(slot, quorum)
    if name is None or name == NONE:
        return name
    best, count = slot.best()
    return best if count >= quorum.majority else None


def test_a_decision_that_names_nothing_stops_everyone(monkeypatch: pytest.MonkeyPatch) -> None:
    """P1: two replicas are down, which is allowed, and the other three wait for a name."""
    assert applied(played("nameless"), 2) == [b"first", b"x", b"y"]
    monkeypatch.setattr(agreement, "decision", majority_or_nothing)
    stage = played("nameless", settle="10ms")  # phase after phase, all alike
    for lane in (2, 3, 4):
        assert applied(stage, lane) == [b"first"]
        assert stage.nodes[lane].replica is not None


def test_an_empty_queue_that_says_nothing_stalls_a_slot(monkeypatch: pytest.MonkeyPatch) -> None:
    """D4."""
    assert applied(played("empty"), 1) == [b"lonely"]
    monkeypatch.setattr(agreement, "GRACE_SECONDS", float("inf"))
    no_fetches(monkeypatch)
    stage = played("empty")
    assert [applied(stage, lane) for lane in range(3)] == [[], [], []]


def oldest(pool: Pool, _last: object, _slot: int) -> int:
    """Published: the oldest, however often it failed."""
    held = [batch.name for batch in pool.batches.values() if batch.is_held(pool._me)]
    return min(held, default=NONE)


def test_an_orphan_at_the_head_of_one_queue_stops_everyone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """D5, in a cluster that needs k+f proposals: four replicas are up, and nothing passes."""
    assert applied(played("orphan"), 2) == [b"next", b"other"]
    monkeypatch.setattr(Pool, "head", oldest)
    stage = played("orphan")
    for lane in (1, 2, 3, 4):
        assert applied(stage, lane) == []
    assert stage.nodes[2].replica is not None


def test_a_replica_without_its_fragment_waits_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """D6: published, a decided batch that did not come here is not asked for; nor history."""
    assert applied(played("missing_fragment"), 3) == [b"whole"]
    no_fetches(monkeypatch)
    monkeypatch.setattr("racos.queue.replica.QueueReplica._maybe_ask", lambda _self: None)
    stage = played("missing_fragment")
    assert applied(stage, 3) == []
    assert applied(stage, 0) == [b"whole"]

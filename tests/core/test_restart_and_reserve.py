"""What outlives a restart for the read barrier, and when a further reservation counts."""

from __future__ import annotations

import pytest

from racos.core.messages import (
    AppliedRecord,
    Beat,
    Decide,
    Payload,
    PayRecord,
    Probe,
    ProbeReply,
    Record,
    ReserveRecord,
    Skip,
    State,
    StateRecord,
)
from racos.core.recovery import Recovered
from tests.core.test_replica import INLINE, hear, make

PAY = PayRecord(1, 1, Payload(b"batch"), 1, True)  # at position 4


@pytest.mark.parametrize(
    ("records", "highest"),
    [
        pytest.param([PAY], 4, id="stored"),
        pytest.param([PAY._replace(says_one=False)], -1, id="stored after a 0"),
        pytest.param([StateRecord(1, 1, 1, 3, 1)], 4, id="said in a later phase"),
        pytest.param([StateRecord(1, 1, 1, 0, 0)], -1, id="said 0"),
        pytest.param([PAY, AppliedRecord(0, 6, (4,))], 4, id="applied"),
    ],
)
def test_a_restarted_replica_answers_probes_with_what_it_said_before(
    records: list[Record], highest: int
) -> None:
    past = Recovered(3)
    for record in records:
        past.add(record)
    assert (2, ProbeReply(9, highest)) in hear(make(recovered=past), 2, Probe(9)).sends


def test_a_further_reservation_counts_only_with_its_own_sync() -> None:
    replica = make(window=8)
    assert replica.own.reserved_durable == 4
    replica.propose(INLINE)
    earlier = replica.take_effects()
    later = hear(replica, 1, Beat(4, 0))
    assert ReserveRecord(8) in later.records
    assert later.token > earlier.token
    replica.persisted(earlier.token)
    assert replica.own.reserved_durable == 4
    replica.persisted(later.token)
    assert replica.own.reserved_durable == 8


def test_an_owners_early_zero_is_followed_when_its_round_comes_within_the_window() -> None:
    """Nobody repeats it unasked, and asking settles a few rounds at a time."""
    replica = make(window=8)
    early = hear(replica, 1, State(1, 9, 12, 0, 0, 0))
    assert not [record for record in early.records if isinstance(record, StateRecord)]
    moved = hear(replica, 2, *(Decide(lane, 0, 1, 0) for lane in range(3)))
    said = [record for record in moved.records if isinstance(record, StateRecord)]
    assert StateRecord(1, 9, 10, 0, 0) in said  # the window now ends at round 10
    moved = hear(replica, 2, *(Decide(lane, 2, 5, 0) for lane in range(3)))
    assert StateRecord(1, 11, 12, 0, 0) in moved.records


def test_nothing_is_reserved_far_above_the_own_frontier() -> None:
    """However often a replica restarts, and whatever it hears of: a replica without memory relies
    on it (docs/protocol.md)."""
    past = Recovered(3)
    past.add(ReserveRecord(30))
    replica = make(window=8, recovered=past)
    hear(replica, 1, Beat(1000, 0))
    assert replica.own.reserved == 32
    past.add(ReserveRecord(32))
    again = make(window=8, recovered=past)
    assert not [r for r in hear(again, 1, Beat(1000, 0)).records if isinstance(r, ReserveRecord)]
    moved = hear(again, 2, *(Decide(lane, 0, 9, 0) for lane in range(3)))
    assert ReserveRecord(10 + 32) in moved.records


def test_a_batch_without_coded_values_is_never_rebuilt() -> None:
    """History brought it, this replica restarted before the log called it applied, and those who
    know are gone: it is here whole, so the others hear that instead."""
    past = Recovered(3)
    past.add(PayRecord(1, 0, Payload(b"batch"), 0, says_one=False))  # at position 1
    replica = make(recovered=past)
    hear(replica, 2, Skip(0, -1, 0), Skip(2, -1, 0))
    asked: list[tuple[int, int]] = []
    noted: list[Record] = []
    for step in range(400):
        replica.tick(0.01 * step)
        effects = replica.take_effects()
        replica.persisted(effects.token)
        asked += effects.rebuilds
        noted += effects.records
    assert asked == []
    assert [each.held for each in noted if isinstance(each, PayRecord)] == [1]

"""What a replay of the log becomes."""

from __future__ import annotations

from racos.core.messages import (
    AppliedRecord,
    Payload,
    PayRecord,
    ReserveRecord,
    StateRecord,
    VoteRecord,
)
from racos.core.quorum import Quorum
from racos.core.recovery import Recovered
from racos.core.replica import Replica
from racos.core.settings import Settings

BATCH = Payload(b"a", coded=True)


def test_promises_of_open_slots_are_found_again() -> None:
    past = Recovered(3)
    past.add(PayRecord(1, 2, BATCH, 0b010, True))
    past.add(PayRecord(1, 2, BATCH, 0b100, False))
    past.add(VoteRecord(1, 2, 2, 0, 2))
    past.add(StateRecord(1, 2, 2, 1, 1))
    said = past.slots[7]
    assert said.payload is BATCH
    assert said.held == 0b110
    assert said.states == {0: 1, 1: 1}
    assert said.votes == {0: 2}
    assert past.highest_one == 7


def test_a_batch_kept_without_a_promise_is_no_state() -> None:
    past = Recovered(3)
    past.add(StateRecord(0, 0, 2, 0, 0))
    past.add(PayRecord(0, 1, BATCH, 1, False))
    assert past.slots[3].states == {0: 0}
    assert past.highest_one == -1


def test_what_was_applied_is_told_once_in_order_and_closes_its_slots() -> None:
    past = Recovered(2)
    past.add(PayRecord(0, 0, BATCH, 1, True))
    past.add(PayRecord(1, 1, BATCH, 1, True))
    assert past.add(AppliedRecord(0, 2, (0,))) == [0]
    assert past.add(AppliedRecord(0, 2, (0,))) == []
    assert past.add(AppliedRecord(0, 4, (0, 3))) == [3]
    assert past.frontier == 4
    assert past.ones == {0, 3}
    assert past.slots == {}
    past.add(PayRecord(0, 0, BATCH, 2, False))
    assert past.slots == {}, "fragments that came after the slot was applied open nothing"


def test_the_highest_reservation_counts() -> None:
    past = Recovered(3)
    for upto in (4, 9, 7):
        past.add(ReserveRecord(upto))
    assert past.reserved == 9
    assert Recovered(3).reserved == -1


def test_behind_an_index_only_what_lies_above_is_open() -> None:
    past = Recovered(3, 6)
    assert past.add(AppliedRecord(0, 4, (1, 3))) == []
    past.add(PayRecord(2, 1, BATCH, 1, True))  # slot 5
    past.add(StateRecord(0, 1, 2, 0, 1))  # slots 3 and 6
    past.add(VoteRecord(1, 1, 2, 0, 0))  # slots 4 and 7
    assert sorted(past.slots) == [6, 7]
    assert past.add(AppliedRecord(4, 8, (5, 6))) == [6]
    assert (past.frontier, past.ones, past.highest_one) == (8, {6}, 6)
    assert Recovered(3, 6).highest_one == 5, "whatever was decided 1 below counts as said"


def test_a_batch_beyond_the_window_opens_its_slot_only_if_something_was_promised_there() -> None:
    """The end of a chunk of history was not durable, its batches were: they are asked for again."""
    past = Recovered(3)
    past.add(PayRecord(0, 4, BATCH, 1, False))
    past.add(PayRecord(0, 5, BATCH, 1, False))
    past.add(PayRecord(1, 5, BATCH, 1, True))
    replica = Replica(Settings(Quorum(3, 1, 2), 2, b"secret", rounds_max=4), 0.0, past)
    assert sorted(replica.window.slots) == [4 * 3, 5 * 3 + 1]

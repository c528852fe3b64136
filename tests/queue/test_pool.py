"""The queue: order, what is over, stamps."""

from __future__ import annotations

from racos.core.ballots import NONE
from racos.core.messages import Payload
from racos.queue.pool import (
    BATCHES_PER_LANE_MAX,
    HORIZON_STAMPS,
    TRIES_MAX,
    Batch,
    Pool,
    Settlement,
    Stamps,
    lot,
)

TOTAL = 3


def pool() -> Pool:
    return Pool(0, TOTAL, Settlement(TOTAL))


def held(queue: Pool, name: int, *, coded: bool = False) -> Batch:
    batch = queue.find_or_add(name, Payload(b"%d" % name, coded))
    assert batch is not None
    batch.recorded, batch.stored = True, 1
    return batch


def test_the_oldest_goes_first() -> None:
    queue = pool()
    for name in (7, 4, 5):
        held(queue, name)
    assert queue.head({}, 0) == 4


def test_a_batch_whose_fragment_is_not_here_is_not_vouched_for() -> None:
    queue = pool()
    held(queue, 3, coded=True).stored = 0
    assert queue.head({}, 0) == NONE
    queue.batches[3].stored = 1
    assert queue.head({}, 0) == 3


def test_after_a_null_slot_what_most_proposed_goes_first() -> None:
    queue = pool()
    held(queue, 3)
    held(queue, 4)
    assert queue.head({4: 2, 3: 1}, 0) == 4
    assert queue.head({4: 1, 3: 1}, 0) == 3


def test_what_failed_often_goes_behind_and_is_drawn_by_lot() -> None:
    queue = pool()
    old = held(queue, 3)
    held(queue, 4)
    for _ in range(TRIES_MAX + 2):
        queue.count_tries([3])
    assert old.tries == TRIES_MAX
    assert queue.head({3: 2}, 0) == 4
    assert not queue.is_hopeful(3)
    queue.count_tries([4] * TRIES_MAX)
    heads = [queue.head({}, slot) for slot in range(64)]
    assert heads == [3 if lot(slot, 3) < lot(slot, 4) else 4 for slot in range(64)]
    assert set(heads) == {3, 4}
    old.back(2)
    assert queue.head({}, 0) == 3  # another replica holds it, too: worth trying again
    queue.count_tries([3] * TRIES_MAX)
    old.back(2)
    assert not queue.is_hopeful(3)  # that was known


def test_what_was_applied_does_not_come_back() -> None:
    queue = pool()
    held(queue, 3)
    queue.settle(3)
    assert queue.find_or_add(3, Payload(b"late")) is None
    assert queue.head({}, 0) == NONE


def test_names_far_behind_the_applied_ones_are_dead_alike_on_all_replicas() -> None:
    left = pool()
    batch = held(left, 3 * TOTAL)
    left.settle((3 + HORIZON_STAMPS) * TOTAL)
    assert left.take_dead() == []
    left.settle((4 + HORIZON_STAMPS) * TOTAL + 1)
    assert left.take_dead() == [batch]
    assert left.find_or_add(3 * TOTAL, batch.payload) is None


def test_what_is_remembered_of_applied_names_is_bounded() -> None:
    settlement = Settlement(TOTAL)
    for stamp in range(10 * HORIZON_STAMPS):
        settlement.add(stamp * TOTAL)
        assert len(settlement._names) <= 2 * HORIZON_STAMPS + 1
    assert settlement.covers(0)
    assert settlement.covers((10 * HORIZON_STAMPS - 1) * TOTAL)
    assert not settlement.covers((10 * HORIZON_STAMPS - 1) * TOTAL + 1)


def test_the_queue_is_bounded_but_takes_what_is_decided() -> None:
    queue = pool()
    for name in range(BATCHES_PER_LANE_MAX * TOTAL):
        held(queue, name)
    assert not queue.has_room
    assert queue.find_or_add(10_000, Payload(b"")) is None
    assert queue.find_or_add(10_000, Payload(b""), decided=True) is not None


def test_stamps_are_above_all_seen_and_never_used_twice() -> None:
    stamps = Stamps(64, reserved=9)
    assert stamps.free(3) is None
    assert stamps.wanted_reservation(3) == 10 + 64
    assert stamps.wanted_reservation(3) is None
    assert stamps.free(3) is None  # written down, not durable
    stamps.reserved_durable = 74
    assert stamps.free(3) == 10  # what an earlier life reserved is never used again
    assert stamps.free(40) == 41
    assert stamps.free(74) is None
    assert stamps.wanted_reservation(74) == 75 + 64

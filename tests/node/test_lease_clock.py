"""One node's lease clock and keep-alives, with a table at hand and every port open to the test."""

from __future__ import annotations

from itertools import pairwise

import pytest

from racos.errors import RequestTimedOut, TooManyRequests
from racos.mvcc.command import (
    Command,
    LeaseExpire,
    LeaseGrant,
    LeaseRenew,
    LeaseRevoke,
)
from racos.mvcc.store import Store
from racos.node import leases as module
from racos.node.batcher import Reply
from racos.node.lease_clock import (
    COVER_SECONDS,
    EXPIRIES_AT_ONCE,
    EXPIRIES_IN_FLIGHT_MAX,
    LOOKS_PER_TICK,
    RETRY_SECONDS,
    RETRY_SECONDS_MAX,
    STALE_ENTRIES_MAX,
    steward,
)
from racos.node.leases import BarrierReply, Leases, Ports
from tests.node.cluster import Outcome

TICK = 0.005
REQUEST_SECONDS = 2.0


class World:
    """A store, its leases, and what they proposed; nothing is applied unless a test does it."""

    def __init__(self, me: int = 0, *, started: bool = True) -> None:
        self.now = 100.0
        self.store = Store()
        self.proposed: list[tuple[Command, Reply]] = []
        self.barriers: list[BarrierReply] = []
        self.leases = Leases(
            self.store.leases,
            me,
            Ports(
                lambda command, reply: self.proposed.append((command, reply)),
                self.barriers.append,
                lambda: self.now,
            ),
            seed=b"test",
            request_seconds=REQUEST_SECONDS,
        )
        if started:
            self.tick()

    def tick(self, seconds: float = 0.0, live: int = 1, has_quorum: bool = True) -> None:
        """Let time pass in ticks."""
        end = self.now + seconds
        self.leases.tick(self.now, live, has_quorum)
        while self.now < end - TICK / 2:
            self.now += TICK
            self.leases.tick(self.now, live, has_quorum)

    def grant(self, id_: int, ttl: int = 2) -> None:
        self.store.apply(LeaseGrant(id_, ttl))

    def keep_alive(self, id_: int) -> Outcome[int]:
        outcome: Outcome[int] = Outcome()
        self.leases.keep_alive(id_, outcome)
        self.leases.turn()
        return outcome

    def apply(self) -> list[Command]:
        """Apply what was proposed."""
        proposed, self.proposed = self.proposed, []
        for command, reply in proposed:
            result = self.store.apply(command)
            assert result is not None
            if not reply.done():
                reply.set_result(result)
        return [command for command, _ in proposed]

    def pass_barriers(self) -> None:
        barriers, self.barriers = self.barriers, []
        for barrier in barriers:
            barrier.set_result(None)

    def attempts(self) -> list[Command]:
        return [command for command, _ in self.proposed if isinstance(command, LeaseExpire)]


def test_nothing_is_proposed_before_the_ttl_and_the_cover_have_passed() -> None:
    world = World()
    world.grant(7)
    world.tick(2.0 + COVER_SECONDS - 2 * TICK)
    assert not world.proposed
    world.tick(4 * TICK)
    assert world.attempts() == [LeaseExpire(7, 1)]


def test_an_expiry_without_effect_is_tried_again_at_growing_intervals() -> None:
    world = World()
    world.grant(7)
    times = []
    for _ in range(6000):
        before = len(world.proposed)
        world.tick(TICK)
        if len(world.proposed) > before:
            times.append(world.now)
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert gaps[0] == pytest.approx(RETRY_SECONDS, abs=2 * TICK)
    assert gaps[1] == pytest.approx(2 * RETRY_SECONDS, abs=2 * TICK)
    assert gaps[-1] == pytest.approx(RETRY_SECONDS_MAX, abs=2 * TICK)


def test_a_renewal_after_many_attempts_does_not_wait_for_the_next_of_them() -> None:
    world = World()
    world.grant(7)
    world.tick(30.0)
    attempts = len(world.proposed)
    while len(world.proposed) == attempts:
        world.tick(TICK)
    world.store.apply(LeaseRenew((7,)))
    attempts = len(world.proposed)
    world.tick(2.0 + COVER_SECONDS + 2 * TICK)
    assert len(world.proposed) == attempts + 1


def test_only_the_steward_proposes_then_the_next_one() -> None:
    first, second = steward(7, 0b111, 0), steward(7, 0b111, 1)
    worlds = {lane: World(lane) for lane in (first, second)}
    for world in worlds.values():
        world.grant(7)
        world.tick(2.0 + COVER_SECONDS + 2 * TICK, live=0b111)
    assert [len(worlds[lane].proposed) for lane in (first, second)] == [1, 0]
    worlds[second].tick(RETRY_SECONDS + TICK, live=0b111)
    assert len(worlds[second].proposed) == 1


def test_a_renewal_of_any_node_moves_the_deadline_without_another_heap_entry() -> None:
    world = World()
    world.grant(7)
    for _ in range(20):
        world.tick(1.0)
        world.store.apply(LeaseRenew((7,)))
    assert not world.proposed
    assert len(world.leases.clock._heap) == 1


def test_a_lease_granted_anew_with_a_shorter_ttl_ends_by_the_shorter_one() -> None:
    world = World()
    world.grant(7, ttl=1000)
    world.store.apply(LeaseRevoke(7))
    world.grant(7, ttl=2)
    world.tick(2.0 + COVER_SECONDS + 2 * TICK)
    assert world.attempts() == [LeaseExpire(7, 2)]


def test_the_heap_does_not_grow_with_leases_that_came_and_went() -> None:
    world = World()
    for id_ in range(1, 5000):
        world.grant(id_, ttl=1000)
        world.store.apply(LeaseRevoke(id_))
    assert len(world.leases.clock._heap) <= STALE_ENTRIES_MAX + 1
    world.grant(9999)
    world.tick(2.0 + COVER_SECONDS + 2 * TICK)
    assert world.attempts() == [LeaseExpire(9999, 5000)]


def test_rate_and_number_of_expiries_are_bounded() -> None:
    world = World()
    for id_ in range(1, 2501):
        world.grant(id_)
    world.tick(2.0 + COVER_SECONDS - TICK)
    world.now += 3 * TICK
    world.tick()
    assert len(world.proposed) <= EXPIRIES_AT_ONCE
    world.tick(0.1)
    assert len(world.proposed) <= EXPIRIES_AT_ONCE + 110
    world.tick(4.0)
    assert len(world.proposed) == EXPIRIES_IN_FLIGHT_MAX == world.leases.clock.in_flight
    while len(world.store.leases):
        world.apply()
        world.tick(0.1)
    assert world.leases.clock.in_flight == 0


def test_one_tick_looks_at_a_bounded_number_of_deadlines() -> None:
    world = World()
    for id_ in range(3 * LOOKS_PER_TICK):
        world.grant(id_ + 1)
    world.tick(1.0)
    world.store.apply(LeaseRenew(tuple(range(1, 3 * LOOKS_PER_TICK + 1))))
    world.tick(1.0 + COVER_SECONDS - 2 * TICK)
    world.now += 4 * TICK
    left = []
    for _ in range(3):
        world.tick()
        left.append(sum(at <= world.now for at, _ in world.leases.clock._heap))
    assert left == [2 * LOOKS_PER_TICK, LOOKS_PER_TICK, 0]
    assert not world.proposed


def test_a_short_time_out_of_touch_changes_no_deadline_and_a_long_one_all() -> None:
    world = World()
    world.grant(7)
    world.tick(0.9, has_quorum=False)
    world.tick(TICK)
    assert world.leases.info(7) is not None
    assert world.leases.clock.remaining(7, world.now) == pytest.approx(1.1, abs=0.02)
    world.tick(50.0, has_quorum=False)
    assert not world.proposed
    world.tick(TICK)
    assert world.leases.clock.remaining(7, world.now) == pytest.approx(2.0, abs=0.02)


def test_what_was_replayed_at_start_has_its_ttl_from_the_first_contact_with_a_quorum() -> None:
    world = World(started=False)
    world.grant(7)
    world.now += 0.4
    world.tick(has_quorum=False)
    world.now += 0.4
    world.tick()
    assert world.leases.clock.remaining(7, world.now) == 2.0


def test_a_lease_whose_deadline_passed_without_a_quorum_can_be_renewed() -> None:
    world = World()
    world.grant(7)
    world.tick(9.0, has_quorum=False)
    world.keep_alive(7)
    assert world.apply() == [LeaseRenew((7,))]


def test_a_pause_of_this_process_counts_as_out_of_touch() -> None:
    world = World()
    world.grant(7)
    world.now += 50.0
    world.tick()
    assert not world.proposed
    assert world.leases.clock.remaining(7, world.now) == 2.0


def test_leases_are_listed_by_expiry() -> None:
    world = World()
    for id_, ttl in ((1, 30), (2, 10), (3, 20)):
        world.grant(id_, ttl)
    assert world.leases.clock.by_expiry() == [2, 3, 1]
    world.store.apply(LeaseRenew((2,)))
    world.store.apply(LeaseRevoke(3))
    assert world.leases.clock.by_expiry() == [2, 1]


def test_keep_alives_join_a_renewal_on_its_way_but_not_one_too_old_to_cover_them() -> None:
    world = World()
    world.grant(7)
    first, second = world.keep_alive(7), world.keep_alive(7)
    world.now += COVER_SECONDS + TICK
    third = world.keep_alive(7)
    assert world.apply() == [LeaseRenew((7,)), LeaseRenew((7,))]
    assert [each.get() for each in (first, second, third)] == [2, 2, 2]


def test_a_keep_alive_after_the_cover_renews_again() -> None:
    world = World()
    world.grant(7)
    world.keep_alive(7)
    world.apply()
    world.now += COVER_SECONDS - TICK
    covered = world.keep_alive(7)
    assert not world.proposed
    world.pass_barriers()
    assert covered.get() == 2
    world.now += 2 * TICK
    world.keep_alive(7)
    assert world.apply() == [LeaseRenew((7,))]


def test_the_cover_counts_from_the_proposal_since_others_may_have_applied_it_long_ago() -> None:
    world = World()
    world.grant(7)
    world.keep_alive(7)
    world.now += COVER_SECONDS - TICK
    world.apply()
    world.now += 2 * TICK
    world.keep_alive(7)
    assert world.apply() == [LeaseRenew((7,))]


def test_a_renewal_by_another_node_covers_nothing() -> None:
    """Others may have applied it long before this node did."""
    world = World()
    world.grant(7)
    world.store.apply(LeaseRenew((7,)))
    world.keep_alive(7)
    assert world.apply() == [LeaseRenew((7,))]


def test_a_lease_revoked_and_granted_anew_is_not_covered_by_its_past() -> None:
    world = World()
    world.grant(7)
    world.keep_alive(7)
    world.apply()
    behind_barrier = world.keep_alive(7)
    world.store.apply(LeaseRevoke(7))
    world.grant(7, ttl=9)
    world.pass_barriers()
    world.leases.turn()
    assert world.apply() == [LeaseRenew((7,))]
    assert behind_barrier.get() == 9


def test_a_lease_that_is_over_is_not_renewed_and_the_answer_waits_for_its_end() -> None:
    world = World()
    world.grant(7)
    world.tick(2.0 + COVER_SECONDS + TICK)
    late = world.keep_alive(7)
    assert not late.done()
    assert world.apply() == [LeaseExpire(7, 1)]
    assert late.get() == 0


def test_the_wait_for_the_end_of_a_lease_is_bounded() -> None:
    world = World()
    world.grant(7)
    world.tick(2.0 + COVER_SECONDS + TICK)
    late = world.keep_alive(7)
    world.tick(REQUEST_SECONDS - TICK)
    world.leases.sweep(world.now)
    assert not late.done()
    world.tick(2 * TICK)
    world.leases.sweep(world.now)
    with pytest.raises(RequestTimedOut):
        late.get()
    assert world.leases.waiting == 0


def test_a_lease_that_lives_again_is_renewed_for_those_who_waited_for_its_end() -> None:
    world = World()
    world.grant(7)
    world.tick(2.0 + COVER_SECONDS + TICK)
    late = world.keep_alive(7)
    world.proposed.clear()
    world.store.apply(LeaseRenew((7,)))
    world.leases.turn()
    assert world.apply() == [LeaseRenew((7,))]
    assert late.get() == 2


def test_those_who_waited_while_all_leases_are_armed_anew_get_their_renewal() -> None:
    world = World()
    world.grant(7)
    world.tick(2.0 + COVER_SECONDS + TICK)
    late = world.keep_alive(7)
    world.proposed.clear()
    world.now += 10.0
    world.tick()
    world.leases.turn()
    assert world.apply() == [LeaseRenew((7,))]
    assert late.get() == 2


def test_more_keep_alives_than_may_wait_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAITING_MAX", 2)
    world = World()
    world.grant(7)
    outcomes = [world.keep_alive(7) for _ in range(3)]
    with pytest.raises(TooManyRequests):
        outcomes[2].get()
    world.apply()
    assert [each.get() for each in outcomes[:2]] == [2, 2]
    assert world.leases.waiting == 0


def test_a_failed_renewal_fails_its_keep_alives_and_the_next_one_is_new() -> None:
    world = World()
    world.grant(7)
    failed = world.keep_alive(7)
    world.proposed.pop()[1].set_exception(RequestTimedOut())
    with pytest.raises(RequestTimedOut):
        failed.get()
    world.keep_alive(7)
    assert world.apply() == [LeaseRenew((7,))]

"""Leases of a whole cluster in virtual time: never early, soon after, whoever dies or sleeps."""

from __future__ import annotations

import pytest

from racos.core.quorum import bits
from racos.errors import RequestTimedOut, ServerStopped
from racos.mvcc.command import (
    LeaseExpire,
    LeaseGrant,
    LeaseRevoke,
    Put,
    Range,
)
from racos.node.lease_clock import COVER_SECONDS, steward
from tests.node.cluster import Cluster, Outcome

pytestmark = pytest.mark.slow

SHAPES = [(1, 0, 1), (3, 1, 2), (5, 2, 3)]
LATE_MAX = 2.0  # seconds after its TTL by which a lease must have gone


def keep_alive(cluster: Cluster, lane: int, id_: int) -> Outcome[int]:
    outcome: Outcome[int] = Outcome()
    cluster.driver(lane).leases.keep_alive(id_, outcome)
    return outcome


def kept(cluster: Cluster, lane: int, id_: int) -> int:
    """Keep a lease alive, and wait for the answer."""
    outcome = keep_alive(cluster, lane, id_)
    cluster.run(5.0, outcome.done)
    return outcome.get()


def has(cluster: Cluster, lane: int, id_: int) -> bool:
    return id_ in cluster.driver(lane).store.leases


def wait_end(cluster: Cluster, id_: int, seconds: float = 60.0) -> float:
    """Run until no living node has the lease; the time then."""
    cluster.run(seconds, lambda: not any(has(cluster, lane, id_) for lane in cluster.alive()))
    assert not any(has(cluster, lane, id_) for lane in cluster.alive())
    return cluster.now


def steward_of(cluster: Cluster, id_: int) -> int:
    return steward(id_, sum(1 << lane for lane in cluster.alive()), 0)


@pytest.mark.parametrize("shape", SHAPES)
def test_an_abandoned_lease_goes_with_its_keys_in_one_revision(
    shape: tuple[int, int, int],
) -> None:
    cluster = Cluster(*shape)
    cluster.do(0, LeaseGrant(7, 4))
    start = cluster.now
    for key in (b"b", b"a"):
        cluster.do(0, Put(key, lease=7))
    cluster.run(4.0 - (cluster.now - start))
    assert all(has(cluster, lane, 7) for lane in cluster.alive())
    assert wait_end(cluster, 7) - start <= 4.0 + LATE_MAX
    cluster.run(1.0)
    for lane in cluster.alive():
        store = cluster.driver(lane).store
        assert store.revision == 4
        ((_, events),) = store.history(4, 4)
        assert [(event.is_delete, event.kv.key) for event in events] == [(True, b"a"), (True, b"b")]


@pytest.mark.parametrize("shape", SHAPES)
def test_a_lease_lives_its_whole_ttl_after_the_last_keep_alive_through_any_node(
    shape: tuple[int, int, int],
) -> None:
    cluster = Cluster(*shape)
    cluster.do(0, LeaseGrant(7, 3))
    last = cluster.now
    for number in range(12):
        cluster.run(0.9)
        last = cluster.now
        assert kept(cluster, number % shape[0], 7) == 3
    cluster.run(last + 3.0 - cluster.now)
    assert all(has(cluster, lane, 7) for lane in cluster.alive())
    assert wait_end(cluster, 7) <= last + 3.0 + LATE_MAX


def test_a_covered_keep_alive_costs_no_command_and_still_has_its_whole_ttl() -> None:
    cluster = Cluster(3, 1, 2)
    cluster.do(0, LeaseGrant(7, 2))
    assert kept(cluster, 0, 7) == 2
    cluster.run(COVER_SECONDS - 0.05)
    before, last = cluster.driver(0).applier.commands, cluster.now
    assert kept(cluster, 0, 7) == 2
    assert cluster.driver(0).applier.commands == before
    cluster.run(last + 2.0 - cluster.now)
    assert all(has(cluster, lane, 7) for lane in cluster.alive())
    assert wait_end(cluster, 7) <= last + 2.0 + LATE_MAX


def test_keep_alives_of_many_leases_join_in_one_command() -> None:
    cluster = Cluster(3, 1, 2)
    grants = [cluster.submit(0, LeaseGrant(number, 60)) for number in range(1, 2501)]
    cluster.run(2.0, lambda: all(grant.done() for grant in grants))
    before = cluster.driver(0).applier.commands
    asked = [keep_alive(cluster, 0, number) for number in range(1, 2501) for _ in range(2)]
    cluster.run(2.0, lambda: all(each.done() for each in asked))
    assert {each.get() for each in asked} == {60}
    assert cluster.driver(0).applier.commands - before == 3
    assert cluster.driver(0).leases.waiting == 0


def test_missing_and_revoked_leases_answer_zero() -> None:
    cluster = Cluster(3, 1, 2)
    assert kept(cluster, 1, 7) == 0
    cluster.do(0, LeaseGrant(7, 60))
    assert kept(cluster, 1, 7) == 60
    cluster.do(2, LeaseRevoke(7))
    assert kept(cluster, 1, 7) == 0


def test_a_lease_granted_elsewhere_and_not_yet_applied_here_is_not_missing() -> None:
    cluster = Cluster(3, 1, 2)
    cluster.split(0, 2)
    cluster.split(1, 2)
    cluster.do(0, LeaseGrant(7, 60))
    outcome = keep_alive(cluster, 2, 7)
    cluster.heal()
    cluster.run(5.0, outcome.done)
    assert outcome.get() == 60


def test_a_covered_keep_alive_does_not_overlook_a_revocation_elsewhere() -> None:
    cluster = Cluster(3, 1, 2)
    cluster.do(0, LeaseGrant(7, 60))
    assert kept(cluster, 0, 7) == 60
    cluster.split(0, 1)
    cluster.split(0, 2)
    outcome = cluster.submit(1, LeaseRevoke(7))
    cluster.run(0.4, outcome.done)
    asked = keep_alive(cluster, 0, 7)
    cluster.heal()
    cluster.run(5.0, asked.done)
    assert asked.get() == 0


@pytest.mark.parametrize("gone", ["killed", "cut off"])
def test_the_steward_is_gone_and_another_ends_the_lease(gone: str) -> None:
    cluster = Cluster(3, 1, 2)
    cluster.do(0, LeaseGrant(7, 3))
    start = cluster.now
    lane = steward_of(cluster, 7)
    cluster.run(2.9)
    if gone == "killed":
        cluster.crash(lane)
    else:
        cluster.split(lane, (lane + 1) % 3)
        cluster.split(lane, (lane + 2) % 3)
    others = [other for other in range(3) if other != lane]
    cluster.run(20.0, lambda: not any(has(cluster, other, 7) for other in others))
    assert start + 3.0 <= cluster.now <= start + 3.0 + LATE_MAX


def test_the_contacted_node_dies_and_the_keep_alives_go_on_through_another() -> None:
    cluster = Cluster(3, 1, 2)
    for id_ in range(1, 30):
        cluster.do(0, LeaseGrant(id_, 3))
    for round_ in range(8):
        contact = 0 if round_ < 3 else 1
        if round_ == 3:
            cluster.crash(0)
        answers = [keep_alive(cluster, contact, id_) for id_ in range(1, 30)]
        cluster.run(0.9)
        assert [answer.get() for answer in answers] == [3] * 29
        if round_ == 5:
            cluster.start(0)
    last = cluster.now - 0.9
    for id_ in range(1, 30):
        wait_end(cluster, id_)
    assert last + 3.0 <= cluster.now <= last + 3.0 + LATE_MAX


def test_a_node_that_slept_does_not_end_what_others_kept_alive() -> None:
    """Its own turn comes first when it wakes, before any message of the time it slept."""
    cluster = Cluster(3, 1, 2)
    ids = range(1, 20)
    for id_ in ids:
        cluster.do(0, LeaseGrant(id_, 3))
    sleeper = cluster.drivers[2]
    cluster.pause(2)
    for _ in range(6):
        answers = [keep_alive(cluster, 0, id_) for id_ in ids]
        cluster.run(1.0)
        assert {answer.get() for answer in answers} == {3}
    cluster.resume(2)
    assert cluster.drivers[2] is sleeper
    cluster.driver(2).turn()
    cluster.run(1.0)
    assert all(has(cluster, lane, id_) for id_ in ids for lane in range(3))


def test_time_without_a_quorum_ends_nothing_and_afterwards_the_ttl_starts_anew() -> None:
    cluster = Cluster(3, 1, 2)
    cluster.do(0, LeaseGrant(7, 3))
    cluster.crash(1)
    cluster.crash(2)
    cluster.run(20.0)
    assert has(cluster, 0, 7)
    outcome = keep_alive(cluster, 0, 7)
    cluster.run(3.0, outcome.done)
    with pytest.raises(RequestTimedOut):
        outcome.get()
    cluster.start(1)
    healed = cluster.now
    cluster.run(2.9)
    assert has(cluster, 0, 7)
    assert has(cluster, 1, 7)
    assert wait_end(cluster, 7) <= healed + 3.0 + LATE_MAX + 1.0


def test_after_the_power_loss_of_all_leases_have_their_ttl_again() -> None:
    cluster = Cluster(3, 1, 2)
    cluster.do(0, LeaseGrant(7, 3))
    cluster.do(0, Put(b"k", lease=7))
    cluster.run(2.5)
    for lane in range(3):
        cluster.crash(lane)
    cluster.now += 100.0
    start = cluster.now
    for lane in range(3):
        cluster.start(lane)
    cluster.run(2.9)
    assert all(has(cluster, lane, 7) for lane in range(3))
    assert wait_end(cluster, 7) <= start + 3.0 + LATE_MAX
    assert cluster.driver(0).store.range(Range(b"k")).count == 0
    assert kept(cluster, 0, 7) == 0


def test_an_expiry_that_comes_after_a_renewal_does_nothing() -> None:
    cluster = Cluster(3, 1, 2)
    cluster.do(0, LeaseGrant(7, 60))
    lease = cluster.driver(0).store.leases.get(7)
    assert lease is not None
    seen = lease.renewal
    assert kept(cluster, 1, 7) == 60
    cluster.do(2, LeaseExpire(7, seen))
    assert all(has(cluster, lane, 7) for lane in range(3))


def test_thousands_that_end_together_go_at_a_bounded_rate() -> None:
    cluster = Cluster(3, 1, 2)
    grants = [cluster.submit(0, LeaseGrant(number, 3)) for number in range(1, 3001)]
    cluster.run(1.0, lambda: all(grant.done() for grant in grants))
    cluster.run(4.9 - cluster.now)
    assert not len(cluster.driver(0).store.leases)
    assert cluster.driver(0).leases.clock.in_flight == 0


def test_a_stopping_node_answers_every_keep_alive() -> None:
    cluster = Cluster(3, 1, 2)
    cluster.do(0, LeaseGrant(7, 60))
    asked = [keep_alive(cluster, 0, 7), keep_alive(cluster, 0, 8)]
    cluster.driver(0).stop(ServerStopped())
    for outcome in asked:
        with pytest.raises(ServerStopped):
            outcome.get()
    assert cluster.driver(0).leases.waiting == 0


def test_drawn_ids_are_positive_and_differ_between_nodes() -> None:
    cluster = Cluster(3, 1, 2)
    drawn = [cluster.driver(lane).leases.new_id() for lane in range(3) for _ in range(50)]
    assert len(set(drawn)) == 150
    assert all(0 < id_ < 2**63 for id_ in drawn)


@pytest.mark.parametrize("live", [0b1, 0b101, 0b111, 0b11011])
def test_every_live_lane_gets_its_turn_as_steward(live: int) -> None:
    for id_ in (1, -1, 2**63 - 1, 123456789):
        turns = {steward(id_, live, attempt) for attempt in range(live.bit_count())}
        assert turns == set(bits(live))
    firsts = {steward(id_, live, 0) for id_ in range(1, 200)}
    assert firsts == set(bits(live))

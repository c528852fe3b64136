"""The checker of leases must fail on each history that breaks a promise, and on no other."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from racos.mvcc.command import (
    Command,
    LeaseEndResult,
    LeaseExpire,
    LeaseGrant,
    LeaseGrantResult,
    LeaseRenew,
    LeaseRevoke,
    Put,
    Range,
)
from racos.mvcc.store import Store
from racos.node.lease_clock import COVER_SECONDS
from racos.sim.checks.final import Final
from racos.sim.checks.leases import LATE_SECONDS, Leases, Rates
from racos.sim.history import Answer, Call, KeepAlive, Outcome
from racos.sim.model import Model, Refused
from racos.sim.violation import Violation

LEASE = 1
TTL = 2
OVER = TTL + COVER_SECONDS
EVEN = Rates()


class Story:
    """What clients did, and the decided order with its times."""

    def __init__(self, *order: tuple[float, Command]) -> None:
        self.calls: list[Call] = []
        self.order = order

    def told(
        self, request: Command | Range | KeepAlive, called: float, returned: float, answer: Answer
    ) -> Call:
        call = Call(len(self.calls), 0, 0, called, request, returned, Outcome.OK, answer)
        self.calls.append(call)
        return call

    def granted(self, called: float, returned: float) -> None:
        self.told(LeaseGrant(LEASE, TTL), called, returned, LeaseGrantResult(1, LEASE, TTL))

    def judge(self, rates: Rates = EVEN, *, calm: bool = False) -> None:
        model = Model()
        for _, command in self.order:
            model.apply(command)
        times = [time for time, _ in self.order]
        Leases(self.calls, model.leases.lives, times, rates).check(calm=calm)


def expired_at(end: float, *before: tuple[float, Command], renewal: int = 1) -> Story:
    return Story((0.2, LeaseGrant(LEASE, TTL)), *before, (end, LeaseExpire(LEASE, renewal)))


def test_a_lease_that_lasts_its_ttl_from_each_acknowledged_request_is_accepted() -> None:
    story = expired_at(3.0 + OVER, (3.0, LeaseRenew((LEASE,))), renewal=2)
    story.granted(0.1, 0.3)
    # Covered by the renewal: asked for after it was proposed.
    story.told(KeepAlive(LEASE), 3.0 + COVER_SECONDS, 3.6, TTL)
    story.told(KeepAlive(LEASE), 3.1 + OVER, 3.2 + OVER, 0)
    story.judge(calm=True)


def test_an_end_before_the_ttl_after_the_grant_is_told() -> None:
    story = expired_at(0.05 + OVER)
    story.granted(0.1, 0.3)
    with pytest.raises(Violation, match="too early"):
        story.judge()
    story.judge(Rates(1.0, 1.1))  # a clock that was fast explains it


def test_an_end_before_the_ttl_after_a_keep_alive_is_told_however_late_its_answer() -> None:
    story = expired_at(2.9)
    story.told(KeepAlive(LEASE), 1.0, 9.0, TTL)
    with pytest.raises(Violation, match="too early"):
        story.judge()


def test_rates_excuse_no_more_than_they_explain() -> None:
    story = expired_at(1.6)
    story.told(KeepAlive(LEASE), 1.0, 1.1, TTL)
    with pytest.raises(Violation, match="too early"):
        story.judge(Rates(0.8, 1.3))
    story.judge(Rates(0.5, 2.0))


def _revoked(*after: tuple[float, Command]) -> Story:
    story = Story((0.2, LeaseGrant(LEASE, TTL)), (0.4, LeaseRevoke(LEASE)), *after)
    story.told(LeaseRevoke(LEASE), 0.3, 0.5, LeaseEndResult(1, True))
    return story


def test_a_keep_alive_that_says_alive_after_a_revocation_is_told() -> None:
    story = _revoked()
    story.told(KeepAlive(LEASE), 0.45, 0.6, TTL)  # asked for before the end was known
    story.judge()
    story.told(KeepAlive(LEASE), 0.55, 0.6, TTL)
    with pytest.raises(Violation, match="told alive after its end"):
        story.judge()


def test_a_keep_alive_that_says_alive_after_its_keys_were_seen_gone_is_told() -> None:
    story = Story(
        (0.2, LeaseGrant(LEASE, TTL)),
        (0.3, Put(b"k", b"v", lease=LEASE)),
        (0.4, LeaseRevoke(LEASE)),
    )
    read = story.told(Range(b"k"), 0.45, 0.5, None)
    story.told(KeepAlive(LEASE), 0.6, 0.7, TTL)
    read.revision = 2
    story.judge()
    read.revision = 3
    with pytest.raises(Violation, match="told alive after its end"):
        story.judge()


def test_a_keep_alive_that_says_dead_of_a_living_lease_is_told() -> None:
    story = Story((0.2, LeaseGrant(LEASE, TTL)))
    story.told(KeepAlive(LEASE), 0.25, 0.6, 0)  # the grant was not acknowledged yet
    story.granted(0.1, 0.3)
    story.judge()
    story.told(KeepAlive(LEASE), 0.4, 0.6, 0)
    with pytest.raises(Violation, match="it lives"):
        story.judge()


def test_an_answer_about_a_lease_nobody_granted_is_told() -> None:
    story = Story()
    story.granted(0.1, 0.2)
    with pytest.raises(Violation, match="never granted"):
        story.judge()


def test_a_lease_that_was_revoked_and_ends_by_time_is_told() -> None:
    story = expired_at(9.0)
    story.told(LeaseRevoke(LEASE), 0.3, 0.5, LeaseEndResult(1, True))
    with pytest.raises(Violation, match="revoked, and ended by time"):
        story.judge()


def test_an_abandoned_lease_that_stays_is_told_where_nothing_went_wrong() -> None:
    story = expired_at(0.3 + OVER + LATE_SECONDS)
    story.judge()
    with pytest.raises(Violation, match="after its time was over"):
        story.judge(calm=True)


# -- the model, and states at the end --------------------------------------------------------------


def test_the_model_ends_a_lease_with_its_keys_in_one_revision() -> None:
    model = Model()
    for command in (
        LeaseGrant(5, 1),
        Put(b"b", b"1", lease=5),
        Put(b"a", b"2", lease=5),
        Put(b"b", b"3"),  # detached
        Put(b"c", b"4", lease=5),
    ):
        assert not isinstance(model.apply(command), Refused)
    assert model.apply(LeaseExpire(5, 2)) == LeaseEndResult(5, False)
    assert model.apply(LeaseExpire(5, 1)) == LeaseEndResult(6, True)
    assert [event.kv.key for event in model.events[6]] == [b"a", b"c"]
    assert model.apply(Put(b"d", b"5", lease=5)) == Refused("LeaseNotFound")
    assert model.apply(LeaseRevoke(5)) == Refused("LeaseNotFound")
    assert model.revision == 6


def _ended(commands: Sequence[Command], model_only: Sequence[Command] = ()) -> None:
    model, store = Model(), Store()
    for command in commands:
        model.apply(command)
        store.apply(command)
    for command in model_only:
        model.apply(command)
    Final(model, {}).check(0, store)


COMMANDS = (LeaseGrant(5, 1), Put(b"k", b"0~", lease=5), LeaseRenew((5,)))


@pytest.mark.parametrize(
    ("missing", "invariant"),
    [
        pytest.param(Put(b"j", b"1~"), "P-9", id="a revision"),
        pytest.param(LeaseGrant(6, 1), "P-12", id="a lease"),
        pytest.param(LeaseRenew((5,)), "P-12", id="a renewal"),
    ],
)
def test_a_replica_that_ends_without_something_is_told(missing: Command, invariant: str) -> None:
    _ended(COMMANDS)
    with pytest.raises(Violation, match=invariant):
        _ended(COMMANDS, [missing])


def test_a_replica_that_ends_with_other_values_is_told() -> None:
    model, store = Model(), Store()
    model.apply(Put(b"k", b"0~"))
    store.apply(Put(b"k", b"1~"))
    with pytest.raises(Violation, match="P-8"):
        Final(model, {}).check(0, store)

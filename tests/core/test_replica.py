"""The facade: what one replica does with single inputs, without a world around it."""

from __future__ import annotations

import pytest

from racos.core.effects import Chunk, Effects
from racos.core.messages import (
    Ask,
    Beat,
    Decide,
    Message,
    Pay,
    Payload,
    PayRecord,
    Probe,
    ProbeReply,
    ReserveRecord,
    Skip,
    State,
    StateRecord,
    Vote,
)
from racos.core.outbox import ALL
from racos.core.quorum import Quorum
from racos.core.recovery import Recovered
from racos.core.replica import PHASES_AHEAD_MAX, Replica, Settings

Q3 = Quorum(3, 1, 2)
INLINE = Payload(b"batch")


def make(lane: int = 0, recovered: Recovered | None = None, window: int = 8) -> Replica:
    """A replica whose first reservation is durable, its peers connected."""
    settings = Settings(Q3, lane, b"secret", incarnation=5, rounds_max=window)
    replica = Replica(settings, now=0.0, recovered=recovered)
    for peer in range(3):
        if peer != lane:
            replica.peer_up(peer)
    replica.persisted(replica.take_effects().token)
    replica.take_effects()
    return replica


def hear(replica: Replica, sender: int, *messages: Message) -> Effects:
    for message in messages:
        replica.receive(sender, message)
    return replica.take_effects()


def sync(replica: Replica, effects: Effects) -> Effects:
    replica.persisted(effects.token)
    return replica.take_effects()


def test_nothing_is_proposed_before_a_reservation_is_durable() -> None:
    replica = Replica(Settings(Q3, 0, b"secret"), now=0.0)
    assert replica.propose(INLINE) is None
    effects = replica.take_effects()
    assert effects.records == [ReserveRecord(64)]
    assert not replica.can_propose()
    replica.persisted(effects.token)
    assert replica.can_propose()
    assert replica.propose(INLINE) == 0


def test_the_batch_goes_out_before_its_sync_and_the_promise_after() -> None:
    replica = make()
    assert replica.propose(INLINE) == 0
    effects = replica.take_effects()
    assert [to for to, message in effects.sends if isinstance(message, Pay)] == [1, 2]
    assert not any(isinstance(message, State) for _, message in effects.sends)
    assert (ALL, State(0, 0, 0, 0, 1, 1)) in sync(replica, effects).sends


def test_batches_go_into_ascending_rounds_and_name_the_one_before() -> None:
    replica = make()
    positions = [replica.propose(INLINE) for _ in range(3)]
    assert positions == [0, 3, 6]
    pays = [message for to, message in replica.take_effects().sends if to == 1]
    assert [pay.previous for pay in pays if isinstance(pay, Pay)] == [-1, 0, 1]


def test_proposing_stops_at_the_reservation_and_at_the_window() -> None:
    replica = make(window=8)  # reserves half a window at a time
    while replica.propose(INLINE) is not None:
        effects = replica.take_effects()
        replica.persisted(effects.token)
    assert replica.window.frontier == 0
    assert replica.own.last == 8


def test_rounds_that_others_gave_up_do_not_use_up_the_reservation() -> None:
    replica = make(window=8)
    effects = hear(replica, 1, State(0, 0, 4, 0, 0, 0))
    sync(replica, effects)
    assert replica.own.reserved > 5
    assert replica.propose(INLINE) == 15


def test_a_batch_beyond_the_window_waits_for_it() -> None:
    replica = make(lane=1, window=4)
    early = hear(replica, 0, Pay(0, 5, 4, INLINE, 1))
    assert not any(isinstance(record, PayRecord) for record in early.records)
    hear(replica, 0, Skip(0, -1, 0), Skip(2, -1, 0))
    assert replica.window.within(5)
    assert replica.window.slots[15].recorded


def test_batches_beyond_the_window_are_kept_up_to_a_bound() -> None:
    replica = make(lane=1, window=4)
    bound = 3 * 4  # n * W
    hear(replica, 0, *(Pay(0, round_, round_ - 1, INLINE, 1) for round_ in range(5, 30)))
    effects = hear(replica, 0, Skip(0, -1, 4), Skip(2, -1, 40))
    applied = []
    for round_ in range(5, 30):
        sync(replica, effects)
        effects = hear(replica, 0, Decide(0, round_, round_, 1))
        applied += [position // 3 for position, _ in effects.applied]
    assert applied == list(range(5, 5 + bound))


def test_fragments_rebuilt_for_a_slot_that_is_decided_meanwhile_promise_nothing() -> None:
    replica = make(lane=1)
    hear(replica, 0, Decide(0, 0, 0, 0))
    replica.rebuilt(0, Payload(b"late", coded=True), 0b010)
    assert not any(isinstance(record, PayRecord) for record in replica.take_effects().records)


def test_whoever_speaks_of_a_decided_slot_is_told() -> None:
    replica = make()
    hear(replica, 1, Decide(1, 0, 0, 0))
    for message in (State(1, 0, 0, 0, 0, 0), Vote(1, 0, 0, 0, 0)):
        assert (2, Decide(1, 0, 0, 0)) in hear(replica, 2, message).sends


def test_phases_beyond_belief_are_ignored() -> None:
    replica = make()
    far = PHASES_AHEAD_MAX + 1
    hear(replica, 1, State(1, 0, 0, far, 1, 0), Vote(1, 0, 0, far, 1))
    assert len(replica.window.slots[1].phases) == 1


def test_rounds_beyond_belief_open_no_slots() -> None:
    replica = make(window=8)
    hear(replica, 1, State(1, 0, 10**9, 0, 0, 0), Vote(1, 5, 10**9, 0, 0))
    assert replica.window.slots == {}
    hear(replica, 1, Decide(1, 0, 10**9, 0))
    assert len(replica.window.slots) <= 9 * 8


def test_the_owners_zero_is_followed_and_that_of_others_is_not() -> None:
    replica = make(lane=2)
    followed = hear(replica, 0, State(0, 0, 0, 0, 0, 0))
    assert StateRecord(0, 0, 0, 0, 0) in followed.records
    ignored = hear(replica, 0, State(1, 0, 0, 0, 0, 0))
    assert not any(isinstance(record, StateRecord) for record in ignored.records)


def test_the_zero_of_others_is_followed_about_a_suspected_owner() -> None:
    replica = make(lane=2)
    replica.peer_down(1)
    followed = hear(replica, 0, State(1, 0, 0, 0, 0, 0))
    assert StateRecord(1, 0, 0, 0, 0) in followed.records


def test_a_holder_never_says_zero() -> None:
    replica = make(lane=2)
    hear(replica, 0, Pay(0, 0, -1, INLINE, 4))
    replica.peer_down(0)
    replica.tick(1.0)
    after = hear(replica, 1, State(0, 0, 0, 0, 0, 0))
    zeros = [record for record in after.records if isinstance(record, StateRecord)]
    assert all(record.first > 0 for record in zeros if record.lane == 0)


def test_a_null_batch_of_ones_own_is_given_back_once() -> None:
    replica = make()
    replica.propose(INLINE)
    effects = hear(replica, 1, Decide(0, 0, 0, 0), Decide(0, 0, 0, 0))
    assert effects.rejected == [(0, INLINE)]
    assert replica.take_effects().rejected == []


def test_a_probe_is_answered_with_the_highest_one_said_or_known() -> None:
    replica = make(lane=1)
    assert (2, ProbeReply(9, -1)) in hear(replica, 2, Probe(9)).sends
    effects = hear(replica, 0, Pay(0, 0, -1, INLINE, 2))
    sync(replica, effects)
    assert (2, ProbeReply(9, 0)) in hear(replica, 2, Probe(9)).sends
    hear(replica, 2, Decide(2, 1, 1, 1))
    assert (2, ProbeReply(9, 5)) in hear(replica, 2, Probe(9)).sends


def test_probe_numbers_tell_lives_apart() -> None:
    replica = make()
    replica.read(1)
    (probe,) = [
        message for _, message in replica.take_effects().sends if isinstance(message, Probe)
    ]
    assert probe.number >> 32 == 5


def test_a_restarted_replica_repeats_its_promises_to_whoever_connects() -> None:
    past = Recovered(3)
    past.add(ReserveRecord(3))
    past.add(PayRecord(1, 0, INLINE, 1, True))
    past.add(StateRecord(2, 0, 0, 0, 0))
    replica = make(recovered=past)
    replica.peer_up(2)
    said = [message for to, message in replica.take_effects().sends if to == 2]
    assert State(1, 0, 0, 0, 1, 1) in said
    assert State(2, 0, 0, 0, 0, 0) in said


def test_a_restarted_owner_gives_up_its_reservation_and_proposes_above() -> None:
    past = Recovered(3)
    past.add(ReserveRecord(3))
    replica = Replica(Settings(Q3, 0, b"secret", rounds_max=8), now=0.0, recovered=past)
    effects = replica.take_effects()
    assert StateRecord(0, 0, 3, 0, 0) in effects.records
    replica.persisted(effects.token)
    assert replica.propose(INLINE) == 12


@pytest.mark.parametrize(
    "chunk",
    [
        pytest.param(Chunk(3, 9, (), 9), id="begins above the frontier"),
        pytest.param(Chunk(0, 0, (), 0), id="empty"),
    ],
)
def test_a_chunk_that_does_not_fit_is_ignored(chunk: Chunk) -> None:
    replica = make()
    replica.install(1, chunk)
    assert replica.window.frontier == 0
    assert replica.window.slots == {}


def test_a_chunk_is_applied_in_order_and_more_is_asked_for() -> None:
    replica = make()
    replica.install(1, Chunk(0, 6, ((1, INLINE), (5, Payload(b"later"))), 20))
    effects = replica.take_effects()
    assert [(at, payload.descriptor) for at, payload in effects.applied] == [
        (1, b"batch"),
        (5, b"later"),
    ]
    assert (1, Ask(6)) in effects.sends


def test_a_pause_of_its_own_makes_nobody_suspect() -> None:
    replica = make()
    replica.tick(60.0)
    assert replica.peers.suspected(replica.now) == 0
    assert any(isinstance(message, Beat) for _, message in replica.take_effects().sends)


def test_one_that_is_stuck_asks_everyone_when_the_most_advanced_does_not_answer() -> None:
    settings = Settings(Quorum(3, 1, 2), 0, b"s")
    replica = Replica(settings, 0.0)
    replica.take_effects()
    replica.receive(1, Beat(5, 12))
    asked = []
    for step in range(1, 60):
        now = step * 0.01
        replica.tick(now)
        replica.receive(1, Beat(5, 12))
        sends = replica.take_effects().sends
        asked += [to for to, message in sends if isinstance(message, Ask)]
    assert asked[0] == 1
    assert asked[-1] == ALL

"""A replica without memory: how it finds out up to where it must keep silent, and that it does."""

from __future__ import annotations

import pytest

from racos.core.lanes import REACH_WINDOWS
from racos.core.messages import (
    AppliedRecord,
    Ask,
    Beat,
    Decide,
    Hold,
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
    VoteRecord,
    VowReply,
    VowRequest,
)
from racos.core.outbox import ALL
from racos.core.quorum import Quorum
from racos.core.recovery import Recovered
from racos.core.replica import Replica, Settings
from racos.core.vow import ASK_SECONDS, NOTHING, SPAN_WINDOWS, Memory, Vow
from tests.core.test_replica import INLINE, hear, make, sync

W = 8
NONCE = 77
LOST = Memory(NONCE, fresh=False, kept=False)
FRESH = Memory(NONCE, fresh=True, kept=False)
PROMISES = (State, Vote, Hold, Skip, Beat, ProbeReply, Pay, Probe)


def vow(memory: Memory, faults: int = 1) -> Vow:
    made = Vow(faults, W, memory)
    assert made.question(0.0) == VowRequest(NONCE, 1, NOTHING)
    return made


def upto(made: Vow) -> int | None:
    return made.upto


def knows(round_: int, number: int = 1) -> VowReply:
    return VowReply(NONCE, number, own=1, fresh=False, met=False, round=round_)


def is_fresh(number: int, own: int = 5, round_: int = -1, *, met: bool = False) -> VowReply:
    return VowReply(NONCE, number, own, fresh=round_ < 0, met=met, round=round_)


def test_who_has_its_memory_never_asks_and_withholds_nothing() -> None:
    made = Vow(1, W)
    assert not made.silent
    assert made.silent_upto == NOTHING
    assert made.question(0.0) is None


def test_f_plus_1_others_with_their_memory_settle_it_with_the_margin() -> None:
    made = vow(LOST, faults=2)
    made.heard(1, knows(40))
    made.heard(1, knows(41))
    made.heard(2, knows(90))
    assert upto(made) is None
    made.heard(3, knows(10))
    assert made.upto == 90 + SPAN_WINDOWS * W
    assert SPAN_WINDOWS > REACH_WINDOWS
    assert made.silent, "known is not kept"


def test_a_vow_that_was_known_is_known_after_a_restart() -> None:
    made = Vow(1, W, LOST._replace(upto=44))
    assert made.silent
    assert made.upto == 44
    assert made.question(0.0) == VowRequest(NONCE, 1, 44)
    made.heard(1, knows(100))
    made.heard(2, knows(100))
    assert made.kept() == LOST._replace(kept=True, upto=44)


def test_the_vow_does_not_change_once_it_is_known() -> None:
    made = vow(LOST)
    made.heard(1, knows(4))
    made.heard(2, knows(5))
    made.heard(2, knows(500))
    assert made.upto == 5 + SPAN_WINDOWS * W
    assert made.question(ASK_SECONDS) == VowRequest(NONCE, 2, made.upto)


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(knows(-1), id="has no memory"),
        pytest.param(knows(9)._replace(nonce=NONCE + 1), id="to an earlier life"),
        pytest.param(is_fresh(1), id="is as fresh"),
    ],
)
def test_an_answer_that_is_not_one_of_a_memory_does_not_count(reply: VowReply) -> None:
    made = vow(LOST)
    made.heard(1, knows(4))
    for _ in range(2):
        made.heard(2, reply)
    assert upto(made) is None


def test_a_cluster_is_new_if_f_others_are_fresh_before_and_after_one_question() -> None:
    made = vow(FRESH, faults=2)
    made.heard(1, is_fresh(1, 5))
    made.heard(2, is_fresh(1, 6))
    assert upto(made) is None
    assert made.question(0.0) == VowRequest(NONCE, 2, NOTHING), "asked again at once"
    made.heard(1, is_fresh(2, 5))
    assert upto(made) is None
    made.heard(2, is_fresh(2, 6))
    assert made.upto == NOTHING
    assert made.kept() == Memory(NONCE, False, True, NOTHING, (5, 6))


def test_fresh_at_different_moments_is_not_fresh_together() -> None:
    """One joined the cluster before the other lost its disk."""
    made = vow(FRESH, faults=2)
    made.heard(1, is_fresh(1, 5))
    made.question(0.0)
    made.heard(1, is_fresh(2, 5))
    made.heard(2, is_fresh(2, 6))
    made.question(0.0)
    made.heard(2, is_fresh(3, 6))
    assert upto(made) is None
    made.heard(1, knows(7, 3))
    made.question(1.0)
    made.heard(2, is_fresh(4, 6))
    assert upto(made) is None


def test_a_fresh_one_with_another_directory_begins_anew() -> None:
    made = vow(FRESH)
    made.heard(1, is_fresh(1, 5))
    made.question(0.0)
    made.heard(1, is_fresh(2, 6))
    assert upto(made) is None


def test_one_that_has_lost_something_never_takes_the_cluster_for_new() -> None:
    made = vow(LOST)
    for number in (1, 2, 3):
        made.heard(1, is_fresh(number))
        made.question(float(number))
    assert upto(made) is None


def test_a_memory_of_which_this_one_was_no_part_says_that_the_cluster_has_begun() -> None:
    made = vow(FRESH)
    made.heard(1, knows(9))
    made.heard(2, is_fresh(1))
    made.question(0.0)
    made.heard(2, is_fresh(2))
    assert upto(made) is None
    made.heard(2, knows(3, 2))
    assert made.upto == 9 + SPAN_WINDOWS * W


def test_who_saw_both_fresh_may_have_begun_already() -> None:
    made = vow(FRESH)
    made.heard(1, is_fresh(1, round_=9, met=True))
    assert made.upto == NOTHING


def test_one_that_saw_the_cluster_begin_does_not_outweigh_one_that_was_there_before() -> None:
    made = vow(FRESH)
    made.heard(1, knows(9))
    made.heard(2, is_fresh(1, round_=0, met=True))
    assert made.upto == 9 + SPAN_WINDOWS * W


def test_answers() -> None:
    request = VowRequest(4, 2, NOTHING)
    assert Vow(1, W).answer(request, lambda: 12) == VowReply(4, 2, 0, False, False, 12)
    assert Vow(1, W, LOST).answer(request, lambda: 12) == VowReply(4, 2, NONCE, False, False, -1)
    assert Vow(1, W, FRESH).answer(request, lambda: 12) == VowReply(4, 2, NONCE, True, False, -1)
    begun = Memory(NONCE, False, True, NOTHING, (4, 6))
    assert Vow(1, W, begun).answer(request, lambda: 0) == VowReply(4, 2, NONCE, False, True, 0)


# -- the replica ---------------------------------------------------------------------------------


def silent(memory: Memory = LOST, past: Recovered | None = None) -> Replica:
    settings = Settings(Quorum(3, 1, 2), 0, b"secret", incarnation=5, rounds_max=W)
    replica = Replica(settings, 0.0, past, memory)
    for peer in (1, 2):
        replica.peer_up(peer)
    return replica


def said(sends: list[tuple[int, Message]]) -> list[Message]:
    return [message for _, message in sends if isinstance(message, PROMISES)]


def null(lane: int, last: int) -> Decide:
    return Decide(lane, 0, last, 0)


def test_a_silent_replica_says_and_promises_nothing_whatever_it_hears() -> None:
    replica = silent()
    now = 0.0
    messages: list[Message] = [
        Pay(1, 0, -1, INLINE, 2),
        State(1, 0, 0, 0, 1, 2),
        State(2, 0, 0, 0, 0, 0),
        State(2, 1, 3, 0, 0, 0),
        Vote(1, 0, 0, 0, 1),
        Probe(1),
        Beat(5, 0),
    ]
    for sender in (1, 2):
        for message in messages:
            now += 0.3
            replica.tick(now)
            replica.read(7)
            effects = hear(replica, sender, message)
            assert not said(effects.sends)
            assert not effects.records
            assert not effects.reads
            assert effects.wish is None
            replica.persisted(effects.token)
    assert not replica.can_propose()
    assert replica.propose(INLINE) is None


def test_it_follows_what_the_others_decide_and_writes_that_down() -> None:
    replica = silent()
    effects = hear(replica, 1, Pay(1, 0, -1, INLINE, 2), Vote(1, 0, 0, 0, 1))
    assert not effects.applied
    effects = hear(replica, 2, Vote(1, 0, 0, 0, 1), null(0, 0), null(2, 0))
    assert [position for position, _ in effects.applied] == [1]
    assert effects.records == [
        PayRecord(1, 0, effects.applied[0][1], 2, says_one=False),
        AppliedRecord(0, 3, (1,)),
    ]
    assert not said(effects.sends)


def test_it_asks_for_history_and_for_the_vow() -> None:
    replica = silent()
    hear(replica, 1, Beat(5, 9))
    asked = []
    for step in range(1, 60):
        replica.tick(0.01 * step)
        asked += [message for _, message in replica.take_effects().sends]
    assert Ask(0) in asked
    assert [each for each in asked if isinstance(each, VowRequest)] == [
        VowRequest(NONCE, number, NOTHING) for number in (1, 2, 3)
    ]


def test_when_the_vow_is_kept_it_says_what_it_holds_above_and_nothing_below() -> None:
    replica = silent()
    upto = 2
    late = Pay(1, upto + 1, upto, INLINE, 2)
    hear(replica, 1, *(null(lane, upto) for lane in range(3)), late)
    assert replica.window.round == upto + 1
    replica.speak(LOST._replace(kept=True, upto=upto))
    effects = replica.take_effects()
    assert PayRecord(1, upto + 1, INLINE, 2, says_one=True) in effects.records
    assert (ALL, Beat(upto + 1, 3 * (upto + 1))) in effects.sends
    assert (ALL, State(1, upto + 1, upto + 1, 0, 1, 2)) in sync(replica, effects).sends


def test_its_links_say_nothing_about_the_rounds_of_its_earlier_life() -> None:
    upto = 5
    replica = silent(LOST._replace(kept=True, upto=upto), behind(upto + 1))
    effects = hear(replica, 1, Beat(upto + 2, 0))
    effects = sync(replica, effects)
    skips = [message for _, message in effects.sends if isinstance(message, Skip)]
    assert [skip.previous for skip in skips] == [upto]
    assert replica.own.next > upto


def behind(round_: int) -> Recovered:
    past = Recovered(3)
    past.add(AppliedRecord(0, 3 * round_, ()))
    return past


def test_it_never_speaks_of_rounds_of_the_vow_after_a_restart_either() -> None:
    replica = silent(LOST._replace(kept=True, upto=5), behind(3))
    effects = hear(replica, 1, Pay(1, 4, 3, INLINE, 2), Pay(1, 6, 5, INLINE, 2))
    promised = [r for r in effects.records if isinstance(r, PayRecord | StateRecord | VoteRecord)]
    assert promised == [PayRecord(1, 6, INLINE, 2, says_one=True)]


def test_the_others_take_it_for_dead_until_its_next_beat() -> None:
    replica = make()
    hear(replica, 1, Beat(3, 9, whole=9))
    assert not replica.peers.suspected(replica.now) & 2
    hear(replica, 1, VowRequest(NONCE, 1, NOTHING), Ask(0))
    assert replica.peers.suspected(replica.now) & 2
    assert replica.peers.wholes[1] == replica.peers.frontiers[1] == 0
    hear(replica, 1, Beat(3, 9))
    assert not replica.peers.suspected(replica.now) & 2


def answer(replica: Replica) -> int:
    effects = hear(replica, 2, VowRequest(NONCE, 1, NOTHING))
    replies = [message for _, message in effects.sends if isinstance(message, VowReply)]
    return replies[0].round


@pytest.mark.parametrize(
    ("record", "round_"),
    [
        pytest.param(StateRecord(1, 50, 53, 0, 0), 53, id="said 0 about rounds without a batch"),
        pytest.param(VoteRecord(1, 50, 50, 1, 2), 50, id="voted"),
        pytest.param(PayRecord(1, 51, Payload(b"batch"), 1, True), 51, id="stored"),
        pytest.param(ReserveRecord(55), 55, id="reserved"),
        pytest.param(AppliedRecord(0, 180, ()), 60, id="applied"),
    ],
)
def test_the_answer_is_as_high_as_anything_in_the_log(
    record: StateRecord | VoteRecord | PayRecord | ReserveRecord | AppliedRecord, round_: int
) -> None:
    past = Recovered(3)
    past.add(record)
    assert answer(make(recovered=past, window=64)) >= round_


def test_the_answer_is_as_high_as_anything_seen() -> None:
    replica = make()
    hear(replica, 1, Beat(31, 0))
    assert answer(replica) >= 31


def test_the_rounds_of_the_vow_are_passed_in_steps_of_the_window() -> None:
    """Nobody may ever have seen a round far above the lowest open one (REACH_WINDOWS)."""
    replica = make()
    hear(replica, 2, VowRequest(NONCE, 1, 1000))
    for step in range(1, 30):
        replica.tick(0.01 * step)
        effects = replica.take_effects()
        assert replica.highest_round <= replica.window.round + W
        replica.persisted(effects.token)
        last = replica.highest_round
        hear(replica, 1, *(null(lane, last) for lane in (1, 2)))
    assert replica.highest_round > 30

"""Suspicion and slowness."""

from __future__ import annotations

from racos.core.messages import Beat
from racos.core.peers import (
    BEHIND_WINDOWS,
    PENALTY_SECONDS_MAX,
    PENALTY_SECONDS_MIN,
    SUSPICION_TIMES_MAX,
    Peers,
)


def test_silence_and_broken_connections_are_suspicious_until_heard_again() -> None:
    peers = Peers(3, 0, suspect_after=1.0, now=0.0)
    assert peers.suspected(1.0) == 0
    assert peers.suspected(1.1) == 0b110
    peers.heard(1, 1.0)
    assert peers.suspected(1.1) == 0b100
    peers.became_down(1)
    assert peers.suspected(1.1) == 0b110
    peers.heard(1, 1.1)
    assert peers.suspected(1.1) == 0b100


def test_one_never_suspects_oneself_and_forgives_after_a_pause_of_its_own() -> None:
    peers = Peers(3, 1, suspect_after=1.0, now=0.0)
    assert peers.suspected(100.0) == 0b101
    peers.forgive(100.0)
    assert peers.suspected(100.5) == 0


def test_a_broken_connection_is_not_forgiven() -> None:
    peers = Peers(3, 1, suspect_after=1.0, now=0.0)
    peers.became_down(2)
    peers.forgive(5.0)
    assert peers.suspected(5.0) == 0b100


def test_the_slow_are_absent_for_longer_each_time_and_never_suspected() -> None:
    peers = Peers(3, 0, suspect_after=1e9, now=0.0)
    now, penalty = 0.0, PENALTY_SECONDS_MIN
    for _ in range(8):
        peers.mark_slow(2, now)
        assert peers.absent(now + 0.99 * penalty) == 0b100
        assert peers.absent(now + 1.01 * penalty) == 0
        assert peers.suspected(now) == 0
        now, penalty = now + 1.01 * penalty, min(2 * penalty, PENALTY_SECONDS_MAX)
    assert penalty == PENALTY_SECONDS_MAX


def test_promises_in_time_shorten_the_penalty() -> None:
    peers = Peers(2, 0, suspect_after=1e9, now=0.0)
    for _ in range(10):
        peers.mark_slow(1, 0.0)
    for _ in range(10):
        peers.all_in_time()
    peers.mark_slow(1, 100.0)
    assert peers.absent(100.0 + 1.01 * PENALTY_SECONDS_MIN) == 0


def test_the_most_advanced_is_a_connected_other() -> None:
    peers = Peers(4, 0, suspect_after=1.0, now=0.0)
    peers.frontiers = [99, 5, 7, 7]
    assert peers.most_advanced() == 2
    peers.became_down(2)
    assert peers.most_advanced() == 3
    peers.became_down(3)
    peers.became_down(1)
    assert peers.most_advanced() is None


def test_uneven_beats_earn_patience_and_no_beats_lose_none_of_the_configured() -> None:
    peers = Peers(3, 0, suspect_after=0.25, now=0.0)
    now = 0.0
    for number in range(100):
        now += 0.04 + 0.3 * (number % 5 == 0)
        peers.heard(1, now)
        peers.beat(1, Beat(0, 0), now)
        peers.heard(2, now)
    assert 0.25 < peers.silence(1) <= SUSPICION_TIMES_MAX * 0.25
    assert peers.silence(2) == 0.25
    assert peers.suspected(now + 0.3) == 0b100
    assert peers.suspected(now + SUSPICION_TIMES_MAX * 0.25 + 0.01) == 0b110


def test_regular_beats_and_times_of_absence_do_not_change_the_silence() -> None:
    peers = Peers(2, 0, suspect_after=0.25, now=0.0)
    now = 0.0
    for number in range(100):
        now += 0.04
        if number % 10 == 9:
            peers.became_down(1)
            now += 0.9
        if number % 10 == 5:
            now += 60.0  # longer than anyone is waited for: it was away
        peers.heard(1, now)
        peers.beat(1, Beat(0, 0), now)
    assert peers.silence(1) == 0.25


def test_who_is_far_behind_is_not_waited_for_until_it_has_caught_up() -> None:
    peers = Peers(3, 0, suspect_after=1e9, now=0.0, rounds_max=10)
    reach = BEHIND_WINDOWS * 10 * 3
    peers.note_own_frontier(reach + 100)
    assert peers.idle(0.0) == 0, "nobody has said where it is"
    peers.beat(1, Beat(0, 100, 0), 0.0)
    peers.beat(2, Beat(0, 99, 0), 0.0)
    peers.note_own_frontier(reach + 100)
    assert peers.idle(0.0) == peers.absent(0.0) == 0b100
    assert peers.suspected(0.0) == 0, "it may still hold what we need, and it lives"
    peers.beat(2, Beat(0, 100, 0), 0.0)
    peers.note_own_frontier(reach + 100)
    assert peers.idle(0.0) == 0


def test_whole_everywhere_is_what_all_have_said_the_silent_ones_too() -> None:
    peers = Peers(3, 0, suspect_after=1.0, now=0.0)
    peers.note_own_whole(30)
    peers.beat(1, Beat(9, 40, 20), now=0.1)
    assert peers.whole_everywhere == 0
    peers.beat(2, Beat(9, 40, 25), now=0.1)
    assert peers.whole_everywhere == 20

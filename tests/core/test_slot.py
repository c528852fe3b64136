"""Verdict tables of one slot: what is said and held -> vote, state, decision (rules 3 to 6)."""

from __future__ import annotations

from itertools import product

import pytest

from racos.core.messages import UNSURE, Payload
from racos.core.quorum import Quorum, bits
from racos.core.slot import Need, Slot, decision, majority_or_unsure, next_state, vote

Q5 = Quorum(5, 2, 3)  # n-f = 3, majority 3
Q4 = Quorum(4, 1, 3)  # n-f = 3, majority 3
Q3 = Quorum(3, 1, 2)  # n-f = 2, majority 2
ME = 0
NONE, ALL3, ALL5 = 0, 0b111, 0b11111
WAIT, OVER = True, False


def make(
    quorum: Quorum,
    *,
    ones: int = 0,
    zeros: int = 0,
    vote_ones: int = 0,
    vote_zeros: int = 0,
    unsure: int = 0,
    covered: bool = False,
    phase: int = 0,
) -> Slot:
    slot = Slot(0, quorum.total)
    slot.payload = Payload(b"x", coded=True)
    slot.phase = phase
    state = slot.at(phase)
    state.ones, state.zeros = ones, zeros
    state.vote_ones, state.vote_zeros, state.unsure = vote_ones, vote_zeros, unsure
    for holder in range(quorum.total):
        if covered:
            slot.add_holder(holder, quorum.everyone)
        elif ones >> holder & 1:
            slot.add_holder(holder, 1)  # all the same fragment: never covers
    return slot


VOTES_IN_PHASE_0: list[tuple[str, Quorum, int, int, int, bool, bool, bool, int | Need]] = [
    # rule, quorum, ones, zeros, absent, wait_rest, covered, wait_cover -> verdict
    ("4: fewer than n-f states", Q5, 0b011, NONE, NONE, OVER, True, OVER, Need.MORE),
    ("4: n-f states without mine", Q5, 0b11110, NONE, NONE, OVER, True, OVER, Need.MORE),
    ("4: no 0, the rest may come", Q5, 0b111, NONE, NONE, WAIT, True, WAIT, Need.REST),
    ("4: no 0, the rest is absent", Q5, 0b111, NONE, 0b11000, WAIT, True, WAIT, 1),
    ("4: no 0, one of the rest is absent", Q5, 0b111, NONE, 0b10000, WAIT, True, WAIT, Need.REST),
    ("4: no 0, patience over, covered", Q5, 0b111, NONE, NONE, OVER, True, WAIT, 1),
    ("4: no 0, not covered", Q5, 0b111, NONE, NONE, OVER, False, WAIT, Need.COVER),
    ("4: no 0, never '?'", Q5, 0b111, NONE, NONE, OVER, False, OVER, Need.COVER),
    ("4: no 0, never '?', 4 of 5", Q5, 0b1111, NONE, NONE, OVER, False, OVER, Need.COVER),
    ("4: a 0, ones a majority, covered", Q5, 0b111, 0b1000, NONE, WAIT, True, WAIT, 1),
    ("4: a 0, not covered yet", Q5, 0b111, 0b1000, NONE, WAIT, False, WAIT, Need.COVER),
    ("4: a 0, cover given up", Q5, 0b111, 0b1000, NONE, WAIT, False, OVER, UNSURE),
    ("4: zeros a majority", Q5, 0b001, 0b1110, NONE, WAIT, True, WAIT, 0),
    ("4: zeros a majority, mine too", Q5, NONE, 0b111, NONE, WAIT, False, WAIT, 0),
    ("4: mixed, the rest may decide", Q5, 0b011, 0b100, NONE, WAIT, True, WAIT, Need.REST),
    ("4: mixed, the rest is absent", Q5, 0b011, 0b100, 0b11000, WAIT, True, WAIT, UNSURE),
    ("4: mixed, patience over", Q5, 0b011, 0b100, NONE, OVER, True, WAIT, UNSURE),
    ("4: two of four are no majority", Q4, 0b011, 0b1100, NONE, WAIT, True, WAIT, UNSURE),
    ("4: n=3, one of each", Q3, 0b001, 0b010, 0b100, WAIT, True, WAIT, UNSURE),
    ("4: n=3, two ones, a 0", Q3, 0b011, 0b100, NONE, WAIT, True, WAIT, 1),
    ("4: n=3, two zeros", Q3, 0b001, 0b110, NONE, WAIT, True, WAIT, 0),
]


@pytest.mark.parametrize("case", VOTES_IN_PHASE_0, ids=lambda case: case[0])
def test_vote_in_phase_0(
    case: tuple[str, Quorum, int, int, int, bool, bool, bool, int | Need],
) -> None:
    _, quorum, ones, zeros, absent, wait_rest, covered, wait_cover, verdict = case
    slot = make(quorum, ones=ones, zeros=zeros, covered=covered)
    found = vote(slot, quorum, ME, absent=absent, wait_rest=wait_rest, wait_cover=wait_cover)
    assert found == verdict


LATER_VOTES: list[tuple[int, int, int | Need]] = [
    (0b00111, NONE, 1),
    (0b00111, 0b11000, 1),
    (0b00001, 0b00110, UNSURE),
    (0b00011, 0b01100, UNSURE),
    (0b00001, 0b01110, 0),
    (0b00011, NONE, Need.MORE),
    (0b01110, NONE, Need.MORE),  # without mine
]


@pytest.mark.parametrize(("ones", "zeros", "verdict"), LATER_VOTES)
def test_vote_in_later_phases_is_the_majority(ones: int, zeros: int, verdict: int | Need) -> None:
    """Rule 5; cover and patience play no part: a 1 here descends from a covered one."""
    for wait in (WAIT, OVER):
        slot = make(Q5, ones=ones, zeros=zeros, phase=1)
        assert vote(slot, Q5, ME, absent=0, wait_rest=wait, wait_cover=wait) == verdict


NEXT: list[tuple[str, int, int, int, int, bool, bool, int | Need]] = [
    # rule, vote_ones, vote_zeros, unsure, coin, covered, wait_cover -> verdict
    ("6: fewer than n-f votes", 0b001, NONE, 0b010, 0, True, OVER, Need.MORE),
    ("6: n-f votes without mine", NONE, NONE, 0b11110, 0, True, OVER, Need.MORE),
    ("6: any 1 among them", 0b010, NONE, 0b101, 0, False, OVER, 1),
    ("6: any 0 among them", NONE, 0b010, 0b101, 1, True, OVER, 0),
    ("6: all '?', coin 0", NONE, NONE, 0b111, 0, True, WAIT, 0),
    ("6: all '?', coin 1, covered", NONE, NONE, 0b111, 1, True, OVER, 1),
    ("6: all '?', coin 1, not covered", NONE, NONE, 0b111, 1, False, WAIT, Need.COVER),
    ("6: all '?', coin 1, cover given up", NONE, NONE, 0b111, 1, False, OVER, 0),
]


@pytest.mark.parametrize("case", NEXT, ids=lambda case: case[0])
@pytest.mark.parametrize("phase", [0, 3])
def test_next_state(
    case: tuple[str, int, int, int, int, bool, bool, int | Need], phase: int
) -> None:
    _, vote_ones, vote_zeros, unsure, coin, covered, wait_cover, verdict = case
    slot = make(
        Q5, vote_ones=vote_ones, vote_zeros=vote_zeros, unsure=unsure, covered=covered, phase=phase
    )
    assert next_state(slot, Q5, ME, coin, wait_cover=wait_cover) == verdict


DECISIONS: list[tuple[str, Quorum, dict[str, int], int | None]] = [
    ("3: all n said 1", Q5, {"ones": ALL5, "covered": True}, 1),
    ("3: all but one", Q5, {"ones": 0b11110, "covered": True}, None),
    ("3: all n, not covered", Q5, {"ones": ALL5}, None),
    ("6: f+1 votes 1", Q5, {"vote_ones": 0b10110}, 1),
    ("6: f votes 1", Q5, {"vote_ones": 0b10100}, None),
    ("6: f+1 votes 0", Q5, {"vote_zeros": 0b111}, 0),
    ("6: f votes 0", Q5, {"vote_zeros": 0b110}, None),
    ("6: only '?'", Q5, {"unsure": ALL5}, None),
    ("6: n=3, two votes", Q3, {"vote_ones": 0b110}, 1),
    ("3: n=3, all said 1", Q3, {"ones": ALL3, "covered": True}, 1),
    ("6: f+1 votes in a later phase", Q5, {"vote_zeros": 0b111, "phase": 2}, 0),
    ("3: ones of a later phase are no fast decision", Q5, {"ones": ALL5, "phase": 1}, None),
]


@pytest.mark.parametrize("case", DECISIONS, ids=lambda case: case[0])
def test_decision(case: tuple[str, Quorum, dict[str, int], int | None]) -> None:
    _, quorum, said, verdict = case
    assert decision(make(quorum, **said), quorum) == verdict  # type: ignore[arg-type]


@pytest.mark.parametrize("quorum", [Q3, Q4, Q5], ids=["3", "4", "5"])
def test_no_sample_votes_otherwise_after_a_fast_decision(quorum: Quorum) -> None:
    """Safety (c): if all n said 1, whoever votes votes 1, whatever it waited for."""
    for seen in range(quorum.everyone + 1):
        for wait_rest, wait_cover, covered in product((WAIT, OVER), repeat=3):
            slot = make(quorum, ones=seen, covered=covered)
            verdict = vote(slot, quorum, ME, absent=0, wait_rest=wait_rest, wait_cover=wait_cover)
            assert verdict == 1 or isinstance(verdict, Need), (seen, verdict)


@pytest.mark.parametrize("quorum", [Q3, Q4, Q5], ids=["3", "4", "5"])
def test_two_votes_of_one_phase_never_contradict(quorum: Quorum) -> None:
    """Safety (a): for every split of states and every two samples of it."""
    for ones in range(quorum.everyone + 1):
        cast: set[int] = set()
        for sample in range(quorum.everyone + 1):
            if sample.bit_count() < quorum.answers:
                continue
            slot = make(quorum, ones=ones & sample, zeros=sample & ~ones, phase=1)
            cast.add(majority_or_unsure(slot.at(1), quorum))
        assert not {0, 1} <= cast, list(bits(ones))


def test_no_vote_1_and_no_coin_1_without_cover() -> None:
    """Safety (d), over every distribution of states and votes in phase 0 of n=3."""
    for kinds in product((None, 0, 1), repeat=3):
        ones = sum(1 << index for index, kind in enumerate(kinds) if kind == 1)
        zeros = sum(1 << index for index, kind in enumerate(kinds) if kind == 0)
        for wait in (WAIT, OVER):
            slot = make(Q3, ones=ones, zeros=zeros)
            assert vote(slot, Q3, ME, absent=0, wait_rest=OVER, wait_cover=wait) != 1
            slot = make(Q3, unsure=ALL3, ones=ones)
            assert next_state(slot, Q3, ME, 1, wait_cover=wait) != 1


def test_an_unknown_batch_counts_as_coded() -> None:
    """A replica that has only heard of holders must not take a batch for an inline one."""
    slot = Slot(0, 3)
    slot.add_holder(1, 0b010)
    slot.add_holder(2, 0b010)
    assert not slot.covered(Q3)
    slot.payload = Payload(b"inline")
    assert slot.covered(Q3)

"""Space comes back, and nothing that is needed goes with it: one replica's log and index."""

from __future__ import annotations

import random

import pytest

from racos.core.messages import (
    AppliedRecord,
    PayRecord,
    ReserveRecord,
    StateRecord,
    VoteRecord,
)
from racos.node.cleaner import Space
from racos.node.library import GRACE_SECONDS
from tests.node.site import ME, SEGMENT, SPACE, TOTAL, Site

PAST_GRACE = GRACE_SECONDS + 1.0


def filled(count: int = 60, seed: int = 0) -> Site:
    """A site whose batches, one version each, fill several segments."""
    site = Site(seed)
    for position in range(count):
        site.write(position)
        site.sync()
    site.check()
    assert len(site.log.segments) > 4
    return site


def test_nothing_goes_while_everything_is_referred_to() -> None:
    site = filled()
    before = site.log.segments
    site.clean(PAST_GRACE)
    assert site.log.segments[: len(before)] == before
    site.check()


def test_segments_of_dead_batches_go_and_the_log_starts_again() -> None:
    site = filled()
    first = site.log.segments[:4]
    for position in range(55):
        site.drop(position)
    site.clean(PAST_GRACE)
    assert not set(first) & set(site.log.segments)
    assert len(site.log.segments) <= 3
    assert site.keeper.statistics().removed_segments >= 4
    site.check()
    site.crash()
    site.check()
    for position in range(60, 70):
        site.write(position)
    site.sync()
    site.check()


def test_dead_batches_are_served_during_the_grace_and_not_for_ever() -> None:
    site = filled()
    place = site.keeper.library.settled(0)
    assert place is not None
    site.drop(0)
    assert site.keeper.library.settled(0) is None
    assert site.keeper.library.fragments(0, 0, -1) != {}
    site.clean(GRACE_SECONDS - 1)
    assert site.keeper.library.fragments(0, 0, -1) != {}
    site.clean(2.0)
    assert site.keeper.library.fragments(0, 0, -1) == {}
    assert site.keeper.library.dead == [0]


def test_a_segment_with_little_left_is_rewritten_at_the_rate_and_goes() -> None:
    site = filled()
    library = site.keeper.library
    for position in range(50):
        if position % 5:
            site.drop(position)
    site.space = site.keeper.cleaner.limits = SPACE._replace(bytes_per_second=1000)
    site.clean(PAST_GRACE + 3)
    copied = site.keeper.statistics().copied_bytes
    assert 0 < copied <= 1000 * (PAST_GRACE + 3)
    site.check()
    site.keeper.cleaner.limits = SPACE
    site.clean(5.0)
    figures = site.keeper.statistics()
    assert figures.rewritten_segments >= 4
    assert figures.copied_bytes <= 20 * 300
    entry = library.settled(0)
    assert entry is not None
    assert entry.descriptor.segment > 6
    assert 1 not in site.log.segments
    site.check()
    site.crash()
    site.check()


def test_a_segment_that_is_half_needed_is_left_alone() -> None:
    site = filled()
    for position in range(50):
        if position % 10 == 0:
            site.drop(position)
    before = site.log.segments
    site.clean(PAST_GRACE)
    assert set(before) <= set(site.log.segments)
    assert site.keeper.statistics().copied_bytes == 0


def test_history_is_kept_for_one_that_is_behind_up_to_a_limit() -> None:
    site = filled()
    for position in range(60):
        site.drop(position)
    site.clean(PAST_GRACE, everywhere=50)
    floor = site.keeper.library.past.floor
    assert floor == 50
    assert site.keeper.library.chunk(50, 60).batches[0][0] == 50
    site = filled(120)
    for position in range(120):
        site.drop(position)
    site.clean(PAST_GRACE, everywhere=0)
    floor = site.keeper.library.past.floor
    assert 60 < floor < 120, "more than the limit is not kept"
    assert [p for p, _ in site.keeper.library.chunk(floor, 120).batches] == list(range(floor, 120))
    with pytest.raises(AssertionError, match="may be forgotten"):
        site.keeper.library.chunk(floor - 1, 120)


@pytest.mark.parametrize("what", ["state", "vote", "batch", "hold"])
def test_a_segment_with_a_promise_about_an_open_slot_stays(what: str) -> None:
    site = Site()
    open_ = 999
    round_, lane = divmod(open_, TOTAL)
    if what == "state":
        site.log_record(StateRecord(lane, round_ - 5, round_, 0, 0))
    elif what == "vote":
        site.log_record(VoteRecord(lane, round_, round_, 1, 2))
    else:
        site.propose(open_, 1 << ME)
    for position in range(60):
        site.write(position)
        site.sync()
        if position >= 2:
            site.drop(position - 1)
    site.clean(PAST_GRACE)
    assert site.log.segments[0] == 1
    found = site.crash()
    kinds = {"state": StateRecord, "vote": VoteRecord}.get(what, PayRecord)
    assert any(isinstance(record, kinds) for record in found[:3])


def test_the_reservation_is_written_again_before_its_segment_goes() -> None:
    site = filled()
    for position in range(55):
        site.drop(position)
    site.clean(PAST_GRACE)
    assert 1 not in site.log.segments
    for _ in range(3):
        found = site.crash()
        upto = [record.upto for record in found if isinstance(record, ReserveRecord)]
        assert max(upto) == 100
        site.clean(1.0)


def test_nothing_goes_before_the_index_is_durable() -> None:
    site = filled()
    for position in range(55):
        site.drop(position)
    site.sync()
    flush, site.shelf.flush = site.shelf.flush, lambda: None  # type: ignore[method-assign]
    before = site.log.segments
    site.clean(PAST_GRACE)
    assert set(before) <= set(site.log.segments)
    site.shelf.flush = flush  # type: ignore[method-assign]
    site.clean(1.0)
    assert 1 not in site.log.segments


def test_damage_found_while_rewriting_is_named_and_not_copied() -> None:
    site = filled()
    entry = site.keeper.library.settled(5)
    assert entry is not None
    place = entry.fragments[ME][0]
    name = f"{place.segment:016x}.log"
    content = bytearray(site.disk.content(name))
    content[place.offset + 7] ^= 1
    site.disk.overwrite(name, bytes(content))
    for position in range(1, 50):
        if position != 5:
            site.drop(position)
    site.clean(PAST_GRACE)
    assert site.keeper.library.held(5) == 0
    assert site.keeper.library.damaged == [5]
    assert any(f"segment={place.segment} slot=5" in line for line in site.reports)
    assert place.segment in site.log.segments, "its descriptor is still there"
    assert site.keeper.library.held(0) == 1 << ME


def test_surplus_fragments_and_their_bytes_go() -> None:
    site = Site()
    for position in range(40):
        site.propose(position, 0b111)
        site.apply(position, {position: 1})
        site.sync()
    site.check()
    library = site.keeper.library
    for position in range(40):
        assert library.prune(position, ME) == 600
        assert library.held(position) == 1 << ME
    site.check()
    site.shelf.commit(site.log.last_sequence)
    site.clean(3.0)
    assert site.keeper.statistics().rewritten_segments > 3, "a third is left in each"
    site.check()


def test_batches_that_became_null_are_forgotten() -> None:
    site = Site()
    site.propose(0, 1 << ME)
    site.write(1)
    site.write(2)
    site.clean(0.1)
    assert site.keeper.library.known(0) is None


@pytest.mark.parametrize("seed", range(20))
def test_whatever_happens_what_is_referred_to_can_be_read(seed: int) -> None:
    source = random.Random(seed)
    site = Site(seed, Space(bytes_per_second=source.choice((500, 1 << 20)), history_bytes=SEGMENT))
    position = 0
    for _ in range(150):
        step = source.random()
        if step < 0.55:
            site.propose(
                position, source.choice((0b010, 0b011, 0b111)), coded=source.random() < 0.8
            )
            entry = site.keeper.library.known(position)
            assert entry is not None
            changes = {position: source.choice((0, 1, 2))} if entry.coded else {}
            if site.references and source.random() < 0.3:
                changes[source.choice(sorted(site.references))] = 1
            site.apply(position, {p: change for p, change in changes.items() if change})
            position += source.choice((1, 1, 2))
        elif step < 0.8 and site.references:
            site.drop(source.choice(sorted(site.references)))
        elif step < 0.95:
            site.clean(source.choice((0.05, 0.5, 20.0)), everywhere=source.randint(0, position))
        elif site.references and source.random() < 0.5:
            site.keeper.library.prune(source.choice(sorted(site.references)), ME)
        else:
            site.crash()
            position = max(position, site.frontier)
        site.check()
    site.clean(PAST_GRACE + 60)
    size = site.log.size_bytes
    live = site.keeper.statistics().live_bytes
    assert size < 2.5 * live + 5 * SEGMENT, (size, live)


def test_after_a_start_history_begins_where_the_replay_saw_all_batches() -> None:
    site = filled()
    for position in range(60):
        site.drop(position)
    site.clean(PAST_GRACE)
    found = site.crash()
    past = site.keeper.library.past
    applied = [one for record in found if isinstance(record, AppliedRecord) for one in record.ones]
    assert past.ones == [position for position in applied if position >= past.floor]
    assert past.floor <= site.frontier == past.end
    assert len(past.ones) > 3
    assert [p for p, _ in site.keeper.library.chunk(past.floor, past.end).batches] == past.ones

"""State transfer between two replicas: their logs, indexes and keepers, without a cluster."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import pytest

from racos.core.messages import Payload, PayRecord, StateRecord
from racos.mvcc.shelf import MemoryShelf
from racos.node import transfer, wire
from racos.node.retention import read_start
from racos.node.transfer import ANSWER_SECONDS, AVOID_SECONDS, GIVE_UP_SECONDS, IDLE_SECONDS
from racos.node.wire import Behind, StateChunk, StateRequest
from tests.node.site import ME, TOTAL, Site, fragment

STEP = 0.05


class Pair:
    """Site 0 sends, site 1 is behind. What they say goes through the real frames."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, chunk_bytes: int = 150) -> None:
        monkeypatch.setattr(transfer, "CHUNK_BYTES", chunk_bytes)
        self.ahead, self.behind = Site(1), Site(2)
        self.said: list[StateRequest] = []
        self.chunks: list[StateChunk] = []
        self.lost: Callable[[object], bool] = lambda _message: False
        self.behind.keeper.receiver._stage = MemoryShelf
        self.behind.keeper.receiver._send = self._ask
        self.now = 0.0

    @property
    def staged(self) -> MemoryShelf | None:
        found = self.behind.keeper.receiver.staged
        assert found is None or isinstance(found, MemoryShelf)
        return found

    def active(self) -> bool:
        """Whether the one that is behind takes a state; asked anew each time."""
        return self.behind.keeper.receiver.active

    def _ask(self, _peer: int, request: StateRequest) -> None:
        self.said.append(request)

    def deliver(self) -> None:
        """Questions and answers that are under way."""
        said, self.said = self.said, []
        for request in said:
            if not self.lost(request):
                chunk = self.ahead.keeper.sender.answer(1, passed(request), self.ahead.frontier)
                if chunk is not None and not self.lost(chunk):
                    self.chunks.append(chunk)
                    self.behind.keeper.receiver.take(0, passed(chunk))

    def run(self, seconds: float = 3.0) -> bool:
        """Until the state is installed."""
        end = self.now + seconds
        while self.now < end and self.staged is None:
            self.now += STEP
            floor = Behind(self.ahead.frontier)
            self.behind.keeper.receiver.behind(0, floor, self.behind.frontier)
            self.deliver()
            for site in (self.ahead, self.behind):
                site.keeper.sender.tick(self.now)
                site.keeper.receiver.tick(self.now, site.frontier)
                site.sync()
        return self.staged is not None

    def restart(self) -> None:
        """The replica begins anew on what was installed."""
        assert self.staged is not None
        self.behind.shelf = self.staged
        self.behind.crash()


Passed = TypeVar("Passed", StateRequest, StateChunk)


def passed(message: Passed) -> Passed:
    """The message after its way through a frame."""
    header, blobs = wire.encode([message])
    (found,) = wire.decode(header, blobs, TOTAL)
    assert isinstance(found, type(message))
    return found


def pair(monkeypatch: pytest.MonkeyPatch) -> Pair:
    two = Pair(monkeypatch)
    for position in range(40):
        two.ahead.write(position)
        if position < 20:
            two.behind.write(position)
        if position >= 3 and position % 3:
            two.ahead.drop(position - 3)
    for site in (two.ahead, two.behind):
        site.sync()
        site.shelf.flush()
    return two


def test_the_state_arrives_and_only_missing_fragments_are_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    two = pair(monkeypatch)
    assert two.run()
    assert len(two.chunks) > 1
    two.restart()
    behind, ahead = two.behind, two.ahead
    assert behind.frontier == ahead.frontier == 40
    assert behind.references == ahead.references
    behind.check(whole=False)
    library = behind.keeper.library
    for position in behind.references:
        assert (library.held(position) != 0) == (position < 20)
        assert library.descriptor(position) == b"descriptor %d" % position
    assert library.past.floor == 40, "no history was taken over"
    # What is healed is found there.
    for position in [each for each in behind.references if each >= 20]:
        round_, lane = divmod(position, TOTAL)
        payload = ahead_payload(position)
        behind.keeper.append(PayRecord(lane, round_, payload, 1 << ME, False))
    behind.sync()
    behind.check()
    for position in range(40, 60):
        behind.write(position)
    behind.sync()
    behind.shelf.commit(behind.log.last_sequence)
    behind.crash()
    behind.check()


def ahead_payload(position: int) -> Payload:
    return Payload(b"descriptor %d" % position, True, {ME: [fragment(position, ME)]})


@pytest.mark.parametrize("after", [0, 1, 2, 3])
def test_a_crash_before_the_installation_leaves_the_old_state(
    monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    two = pair(monkeypatch)
    before = dict(two.behind.references)
    two.lost = lambda message: isinstance(message, StateChunk) and len(two.chunks) >= after
    two.run(1.0)
    assert two.staged is None
    two.behind.crash()
    assert two.behind.frontier == 20
    assert two.behind.references == before
    two.behind.check()


def test_promises_above_the_jump_are_still_found_and_those_below_do_not_matter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    two = pair(monkeypatch)
    two.behind.log_record(StateRecord(0, 7, 7, 0, 0))  # slot 21: the others decided it
    two.behind.log_record(StateRecord(1, 15, 15, 0, 1))  # slot 46
    two.behind.sync()
    assert two.run()
    assert two.staged is not None
    assert read_start(two.staged) <= two.behind.log.last_segment
    two.behind.shelf = two.staged
    found = two.behind.crash()
    assert StateRecord(1, 15, 15, 0, 1) in found


def test_lost_questions_and_answers_are_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    two = pair(monkeypatch)
    count = 0

    def lost(_message: object) -> bool:
        nonlocal count
        count += 1
        return count % 3 == 0

    two.lost = lost
    assert two.run(20 * ANSWER_SECONDS)
    two.restart()
    assert two.behind.references == two.ahead.references


def test_a_sender_that_dies_is_given_up_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    two = pair(monkeypatch)
    two.lost = lambda _message: len(two.chunks) >= 1
    two.run(1.0)
    assert two.active()
    two.run(GIVE_UP_SECONDS)
    assert not two.active()
    assert "state.abandoned from_lane=0: no answer" in two.behind.reports
    two.lost = lambda _message: False
    assert not two.run(AVOID_SECONDS - 2 * STEP - GIVE_UP_SECONDS)
    assert two.run(GIVE_UP_SECONDS + 5)
    assert two.chunks[-1].number == two.chunks[0].number + 1


def test_a_sender_that_forgot_its_snapshot_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    two = pair(monkeypatch)
    two.lost = lambda _message: len(two.chunks) >= 1
    two.run(1.0)
    two.ahead.keeper.sender.tick(two.now + IDLE_SECONDS)
    assert not two.ahead.keeper.sender.active
    two.lost = lambda _message: False
    two.run(2.0)
    assert "state.abandoned from_lane=0: it has forgotten what it sent" in two.behind.reports


def test_parts_that_were_not_asked_for_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    two = pair(monkeypatch)
    two.lost = lambda _message: len(two.chunks) >= 1
    two.run(0.5)
    receiver = two.behind.keeper.receiver
    taking = receiver._taking
    assert taking is not None
    after = taking.after
    assert after
    receiver.take(0, two.chunks[0])  # twice
    receiver.take(2, StateChunk(taking.number, 40, ((b"z", b""),), True))  # of another
    receiver.take(0, StateChunk(taking.number - 1, 40, ((b"z", b""),), True))  # of another attempt
    assert taking.after == after
    assert not taking.complete


def test_the_sender_keeps_its_segments_while_it_sends(monkeypatch: pytest.MonkeyPatch) -> None:
    two = pair(monkeypatch)
    two.lost = lambda _message: len(two.chunks) >= 1
    two.run(1.0)
    for position in list(two.ahead.references):
        two.ahead.drop(position)
    before = two.ahead.log.segments
    two.ahead.now = two.now
    two.ahead.clean(IDLE_SECONDS - 2.0)
    assert before == two.ahead.log.segments[: len(before)]
    two.ahead.clean(30.0)
    assert before[0] not in two.ahead.log.segments


def test_one_that_is_not_behind_takes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    two = Pair(monkeypatch)
    two.ahead.write(0)
    two.behind.write(0)
    assert not two.run(1.0)
    assert not two.active()


def test_a_frontier_that_moves_by_itself_ends_the_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    two = pair(monkeypatch)
    two.lost = lambda _message: len(two.chunks) >= 2
    two.run(1.0)
    two.behind.keeper.receiver.tick(two.now, 40)
    assert not two.active()


def test_only_so_many_are_served_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    two = pair(monkeypatch)
    sender = two.ahead.keeper.sender
    for peer in range(transfer.SESSIONS_MAX):
        assert sender.answer(peer, StateRequest(1, b""), 40) is not None
    assert sender.answer(99, StateRequest(1, b""), 40) is None
    sender.close()
    assert not sender.active


def test_who_has_been_sent_everything_makes_place(monkeypatch: pytest.MonkeyPatch) -> None:
    two = pair(monkeypatch)
    sender = two.ahead.keeper.sender
    monkeypatch.setattr(transfer, "CHUNK_BYTES", 1 << 20)
    whole = sender.answer(0, StateRequest(1, b""), 40)
    assert whole is not None
    assert whole.last
    assert sender.answer(0, StateRequest(1, b""), 40) == whole  # it may have been lost
    for peer in range(1, transfer.SESSIONS_MAX + 3):
        assert sender.answer(peer, StateRequest(1, b""), 40) is not None
    sender.close()


def test_no_state_is_given_while_a_batch_is_not_applied(monkeypatch: pytest.MonkeyPatch) -> None:
    # Some of it may be in the index's open step.
    two = pair(monkeypatch)
    ahead = two.ahead
    ahead.propose(40, 1 << ME)
    ahead.keeper.library.note_applied(40)
    ahead.shelf.put(b"half", b"of it")
    sender = ahead.keeper.sender
    assert sender.answer(1, StateRequest(1, b""), 41) is None
    ahead.apply_decided(40, {40: 1})
    chunk = sender.answer(1, StateRequest(1, b""), 41)
    assert chunk is not None
    assert chunk.frontier == 41

"""Every checker must fail on a history that is wrong in the way it watches for."""

from __future__ import annotations

import pytest

from racos.core.coin import coin
from racos.core.config import Change, Config
from racos.core.messages import (
    UNSURE,
    AppliedRecord,
    Decide,
    Hold,
    Message,
    Pay,
    Payload,
    PayRecord,
    State,
    StateRecord,
    Vote,
    VoteRecord,
)
from racos.core.quorum import Quorum
from racos.erasure.verify import digest
from racos.mvcc.command import (
    CodedValue,
    Command,
    Compact,
    Event,
    KeyValue,
    Put,
    PutResult,
    Range,
    RangeResult,
)
from racos.node import changes, records
from racos.sim.checks.agreement import Agreement
from racos.sim.checks.durability import Durability
from racos.sim.checks.lanes import Lanes
from racos.sim.checks.linear import Linear
from racos.sim.checks.watch import Stream, Watches
from racos.sim.history import Call, Outcome, name_delete, name_put, name_txn, number_of
from racos.sim.model import Model, Refused
from racos.sim.violation import Violation
from racos.storage.log import Place, Replayed

BATCH = Payload(b"batch")


# -- epochs ------------------------------------------------------------------------------------

OFF = Payload(changes.encode(Change(2, False, 0)))
OFF_FROM = Config(1, 4 + 8 + 1, 0b100)  # decided in r4, W is 8


def switched_off() -> Lanes:
    check = Lanes(3, 1, 8)
    check.received(2, State(2, 0, 12, 0, 0, 0))
    check.applied([(4 * 3, OFF)])
    check.applied([(4 * 3, OFF)])
    return check


@pytest.mark.parametrize(
    "message",
    [State(2, 12, 13, 0, 0, 0), Vote(2, 13, 13, 0, 0), Pay(2, 13, 1, BATCH, 0), Hold(2, 14, 1, 1)],
    ids=lambda message: type(message).__name__,
)
def test_whoever_speaks_of_a_lane_that_is_off_is_told(message: Message) -> None:
    check = switched_off()
    assert check.configs[-1] == OFF_FROM
    check.received(1, State(1, 12, 13, 0, 0, 0))
    with pytest.raises(Violation, match=r"epochs: n1 speaks of r1\d\.l2, which is off"):
        check.received(1, message)


def test_whoever_spoke_of_it_before_is_told() -> None:
    check = Lanes(3, 1, 8)
    check.received(1, State(2, 13, 13, 0, 0, 0))
    with pytest.raises(Violation, match=r"somebody spoke of r13\.l2 already"):
        check.applied([(4 * 3, OFF)])


def test_a_replica_that_believes_in_other_epochs_is_told() -> None:
    check = switched_off()
    check.look(0, [Config(), OFF_FROM])
    with pytest.raises(Violation, match="epochs: n0 believes in"):
        check.look(0, [OFF_FROM._replace(first=14)])


# -- agreement ---------------------------------------------------------------------------------


def test_two_decisions_for_one_slot_are_told() -> None:
    check = Agreement(3)
    check.wrote(0, [AppliedRecord(0, 2, ())], [])
    with pytest.raises(Violation, match="P-1"):
        check.received(1, Decide(1, 0, 0, 1))


def test_two_replicas_that_apply_differently_are_told() -> None:
    check = Agreement(3)
    check.wrote(0, [PayRecord(0, 0, BATCH, 0, True), AppliedRecord(0, 1, (0,))], [(0, BATCH)])
    with pytest.raises(Violation, match="P-1"):
        check.wrote(1, [AppliedRecord(0, 3, ())], [])


def test_a_batch_nobody_proposed_is_told() -> None:
    check = Agreement(3)
    with pytest.raises(Violation, match="P-2"):
        check.wrote(1, [AppliedRecord(0, 1, (0,))], [(0, BATCH)])


def test_an_owner_that_fills_a_slot_twice_is_told() -> None:
    check = Agreement(3)
    check.received(0, Pay(0, 4, 3, BATCH, 0))
    with pytest.raises(Violation, match="second batch"):
        check.wrote(0, [PayRecord(0, 4, Payload(b"other"), 0, True)], [])


def test_a_phase_entered_with_one_without_vote_or_coin_is_told() -> None:
    secret = b"secret"
    heads = {position: coin(secret, position, 0) for position in range(40)}
    one, zero = (next(p for p, bit in heads.items() if bit == wanted) for wanted in (1, 0))
    check = Agreement(1, secret)
    check.received(0, State(0, one, one, 1, 1, 0))
    check.received(0, State(0, zero, zero, 1, 0, 0))
    check.wrote(0, [VoteRecord(0, zero, zero, 1, 1)], [])
    check.received(0, State(0, zero, zero, 2, 1, 0))  # there was a vote for 1
    with pytest.raises(Violation, match="P-4"):
        Agreement(1, secret).received(0, State(0, zero, zero, 1, 1, 0))


def test_opposite_votes_in_one_phase_are_told() -> None:
    check = Agreement(3)
    check.received(0, Vote(1, 5, 5, 2, UNSURE))
    check.received(1, Vote(1, 5, 5, 2, 1))
    with pytest.raises(Violation, match="P-3"):
        check.received(2, Vote(1, 3, 6, 2, 0))


def test_a_replica_that_says_two_things_is_told() -> None:
    check = Agreement(3)
    check.received(0, State(1, 5, 8, 0, 1, 0))
    with pytest.raises(Violation, match="said-once"):
        check.received(0, State(1, 7, 7, 0, 0, 0))
    check.received(2, Vote(1, 5, 5, 0, UNSURE))
    with pytest.raises(Violation, match="said-once"):
        check.received(2, Vote(1, 5, 5, 0, 1))


# -- durability --------------------------------------------------------------------------------


def test_a_promise_before_its_sync_is_told() -> None:
    check = Durability(Quorum(3, 1, 2))
    check.wrote(0, 1, [StateRecord(1, 0, 3, 0, 0), VoteRecord(1, 0, 0, 0, 0)])
    with pytest.raises(Violation, match="P-5"):
        check.received(0, State(1, 0, 3, 0, 0, 0))
    check.synced(0, 1)
    check.received(0, State(1, 0, 3, 0, 0, 0))
    with pytest.raises(Violation, match="P-5"):
        check.received(0, Vote(1, 0, 0, 0, 0))


def test_a_false_word_about_fragments_is_told() -> None:
    check = Durability(Quorum(3, 1, 2))
    coded = Payload(b"batch", True)
    check.wrote(1, 1, [PayRecord(1, 0, coded, 0b010, True)])
    check.synced(1, 1)
    check.received(0, Hold(1, 0, 1, 0b010))
    with pytest.raises(Violation, match="P-5"):
        check.received(0, Hold(1, 0, 1, 0b110))


def test_a_batch_applied_without_cover_is_told() -> None:
    check = Durability(Quorum(3, 1, 2))
    coded = Payload(b"batch", True)
    for lane in (0, 1):
        check.wrote(lane, 1, [PayRecord(0, 0, coded, 1 << lane, True)])
        check.synced(lane, 1)
    with pytest.raises(Violation, match="P-7"):
        check.applied(0, 0, coded)


def _written(*held: int) -> Durability:
    """A coded batch of three replicas, k=2, f=1, with these durable fragments on each."""
    check = Durability(Quorum(3, 1, 2))
    for lane, mask in enumerate(held):
        check.wrote(lane, 1, [PayRecord(0, 0, Payload(b"batch", True), mask, True)])
        check.synced(lane, 1)
    return check


def test_fragments_are_pruned_only_once_the_others_have_theirs() -> None:
    check = _written(0b011, 0b110, 0b100)
    check.pruned(0, 0, 0)
    check.pruned(1, 0, 1)
    early = _written(0b011, 0b011)
    with pytest.raises(Violation, match="P-7: n0 prunes slot 0"):
        early.pruned(0, 0, 0)


def test_a_healed_fragment_counts_when_it_is_durable_and_not_before() -> None:
    for synced in (True, False):
        check = _written(0b011, 0b110)
        kind, header, blobs = records.encode_kept(
            PayRecord(0, 0, Payload(b"batch", True, {2: [b"fragment"]}), 0b100, False)
        )
        check.appended(2, 1, kind, header, blobs)
        if synced:
            check.synced(2, 1)
            check.pruned(1, 0, 1)
            check.pruned(0, 0, 0)
        else:
            with pytest.raises(Violation, match="P-7: n1 prunes slot 0"):
                check.pruned(1, 0, 1)


def test_a_synced_record_that_is_gone_or_changed_is_told() -> None:
    check = Durability(Quorum(3, 1, 2))
    place = Place(1, 0, 2)
    check.appended(0, 1, 2, b"ab", [])
    check.synced(0, 1)
    check.died(0)
    with pytest.raises(Violation, match="synced"):
        check.replay_ended(0, 0)
    with pytest.raises(Violation, match="reads record 1 back"):
        check.replayed(0, Replayed(2, b"xy", 1, place, ()))
    check.replayed(0, Replayed(2, b"ab", 1, place, ()))
    check.replay_ended(0, 1)


# -- linearizability ---------------------------------------------------------------------------


class Story:
    """Calls and the order that decided them, written one line each."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.order: list[Command] = []
        self.model = Model()

    def put(
        self,
        called: float,
        returned: float | None,
        *,
        outcome: Outcome = Outcome.OK,
        decided: bool = True,
    ) -> Call:
        """A put of the one key, decided now unless said otherwise, answered rightly."""
        command = Put(b"k", name_put(len(self.calls), 0))
        call = self._add(called, returned, command, outcome)
        if decided:
            self.order.append(command)
            answer = self.model.apply(command)
            assert not isinstance(answer, Refused)
            call.answer = answer
        return call

    def read(self, called: float, returned: float, *, revision: int | None = None) -> Call:
        call = self._add(called, returned, Range(b"k"), Outcome.OK)
        call.revision = revision if revision is not None else self.model.revision
        kvs = self.model.range(Range(b"k"), call.revision)
        call.answer = RangeResult(call.revision, kvs, len(kvs), False)
        return call

    def _add(
        self, called: float, returned: float | None, request: Command | Range, outcome: Outcome
    ) -> Call:
        call = Call(len(self.calls), 0, 0, called, request, returned, outcome)
        self.calls.append(call)
        return call

    def judge(self) -> Model:
        return Linear(self.calls, {}).run(self.order)


def test_a_right_story_is_accepted() -> None:
    story = Story()
    story.put(0, 1)
    story.read(2, 3)
    story.put(2.5, None, outcome=Outcome.UNKNOWN)
    story.put(2.6, None, outcome=Outcome.UNKNOWN, decided=False)
    story.put(2.7, 2.8, outcome=Outcome.NOT_DONE, decided=False)
    story.read(3, 4)
    story.put(4, 5)
    assert story.judge().revision == 4


def test_an_acknowledged_write_that_is_gone_is_told() -> None:
    story = Story()
    story.put(0, 1, decided=False)
    with pytest.raises(Violation, match="P-6: acknowledged"):
        story.judge()


def test_a_refused_write_that_happened_is_told() -> None:
    story = Story()
    story.put(0, 1, outcome=Outcome.NOT_DONE)
    with pytest.raises(Violation, match="P-6: refused"):
        story.judge()


def test_a_command_applied_twice_is_told() -> None:
    story = Story()
    story.put(0, 1)
    story.order *= 2
    with pytest.raises(Violation, match="twice"):
        story.judge()


def test_a_wrong_revision_in_an_answer_is_told() -> None:
    story = Story()
    story.put(0, 1).answer = PutResult(3, None)
    with pytest.raises(Violation, match="answer"):
        story.judge()


def test_an_order_against_real_time_is_told() -> None:
    story = Story()
    story.put(5, 6)
    story.put(0, 1)
    with pytest.raises(Violation, match="real-time"):
        story.judge()


def test_a_stale_linearizable_read_is_told() -> None:
    story = Story()
    story.put(0, 1)
    story.read(2, 3, revision=1)
    with pytest.raises(Violation, match="stale-read"):
        story.judge()


def test_a_stale_serializable_read_is_accepted_with_its_exact_state() -> None:
    story = Story()
    story.put(0, 1)
    story.read(2, 3, revision=1).linearizable = False
    story.judge()


def test_a_read_older_than_an_earlier_read_is_told() -> None:
    story = Story()
    story.put(0, None, outcome=Outcome.UNKNOWN)
    story.read(1, 2)
    story.read(3, 4, revision=1)
    with pytest.raises(Violation, match="stale-read"):
        story.judge()


def test_a_read_of_the_future_is_told() -> None:
    story = Story()
    story.put(5, 6)
    story.read(1, 2)
    with pytest.raises(Violation, match="future"):
        story.judge()


def test_a_read_with_a_wrong_value_is_told() -> None:
    story = Story()
    story.put(0, 1)
    call = story.read(2, 3)
    call.answer = RangeResult(2, (KeyValue(b"k", 2, 2, 1, b"0~x", 0),), 1, False)
    with pytest.raises(Violation, match="answer"):
        story.judge()


def test_bytes_that_were_never_put_are_told() -> None:
    story = Story()
    story.put(0, 1)
    story.read(2, 3).loaded = {b"k": b"rotten"}
    with pytest.raises(Violation, match="P-10"):
        story.judge()


@pytest.mark.parametrize(("answer", "wanted"), [("Compacted", 1), ("FutureRevision", 1)])
def test_a_read_refused_without_reason_is_told(answer: str, wanted: int) -> None:
    story = Story()
    story.put(0, 1)
    call = story.read(2, 3)
    call.request, call.answer = Range(b"k", revision=wanted), answer
    with pytest.raises(Violation, match="without reason"):
        story.judge()


# -- watches -----------------------------------------------------------------------------------


def _watched(revisions: int = 4) -> tuple[Model, Stream]:
    model = Model()
    for number in range(revisions):
        model.apply(Put(b"k", name_put(number, 0)))
    stream = Stream(0, 2, [(0, rev, model.events[rev]) for rev in sorted(model.events)])
    return model, stream


def test_a_whole_stream_is_accepted() -> None:
    model, stream = _watched()
    Watches(model, {}).check(stream)


@pytest.mark.parametrize("spoil", ["gap", "twice", "order", "event", "prev"])
def test_a_spoilt_stream_is_told(spoil: str) -> None:
    model, stream = _watched()
    seen = stream.seen
    if spoil == "gap":
        del seen[1]
    elif spoil == "twice":
        seen.insert(1, seen[1])
    elif spoil == "order":
        seen[0], seen[1] = seen[1], seen[0]
    else:
        lane, revision, (event,) = seen[2]
        changed = (
            event._replace(is_delete=True) if spoil == "event" else event._replace(prev_kv=None)
        )
        seen[2] = (lane, revision, [changed])
    with pytest.raises(Violation, match="watch"):
        Watches(model, {}).check(stream)


def test_a_gap_is_accepted_where_a_compaction_made_it_and_not_elsewhere() -> None:
    model, stream = _watched()
    model.apply(Compact(4))
    del stream.seen[:2]
    stream.gaps.append((0, 2, 4))
    Watches(model, {}).check(stream)
    stream.gaps[0] = (0, 2, 5)
    with pytest.raises(Violation, match="watch"):
        Watches(model, {}).check(stream)


# -- names of calls ----------------------------------------------------------------------------


def test_every_command_names_its_call() -> None:
    from racos.mvcc.command import Txn

    large = name_put(7, 5000)
    coded = CodedValue(len(large), digest(large), (), 0, 0, 0)
    heads = {digest(large): 7}
    assert number_of(Put(b"k", name_put(12, 3)), heads) == 12
    assert number_of(Put(b"k", coded), heads) == 7
    assert number_of(name_delete(b"k", 31, True), heads) == 31
    assert number_of(name_txn(5, Txn()), heads) == 5
    assert number_of(Compact(3), heads) is None
    assert len(large) == 5000


def test_the_model_deletes_with_one_revision_and_a_stone() -> None:
    model = Model()
    model.apply(Put(b"k", b"0~"))
    model.apply(name_delete(b"k", 1, prev_kv=True))
    old = KeyValue(b"k", 2, 2, 1, b"0~", 0)
    assert model.events[3] == [Event(True, KeyValue(b"k", 0, 3, 0, b"", 0), old)]
    assert model.apply(name_delete(b"k", 2, prev_kv=True)) == (3, 0, ())

"""The outbox: promises wait for their record, neighbours are joined."""

from __future__ import annotations

from racos.core.messages import (
    Ask,
    Decide,
    Hold,
    Message,
    Payload,
    PayRecord,
    ReserveRecord,
    Skip,
    State,
    StateRecord,
)
from racos.core.outbox import ALL, Outbox


def state(round_: int, value: int = 0, held: int = 0, lane: int = 1) -> tuple[StateRecord, State]:
    return (
        StateRecord(lane, round_, round_, 0, value),
        State(lane, round_, round_, 0, value, held),
    )


def test_a_promise_is_said_when_its_record_is_durable_and_not_before() -> None:
    outbox = Outbox()
    outbox.promise(*state(0))
    first = outbox.seal()
    outbox.promise(*state(5))
    second = outbox.seal()
    assert first.sends == second.sends == []
    assert outbox.durable(first.token - 1) == []
    assert outbox.durable(first.token) == [state(0)[1]]
    assert outbox.durable(first.token) == []
    assert outbox.durable(second.token) == [state(5)[1]]


def test_one_sync_may_cover_many_tokens() -> None:
    outbox = Outbox()
    tokens = []
    for round_ in (0, 2, 4):
        outbox.promise(*state(round_))
        tokens.append(outbox.seal().token)
    assert outbox.durable(tokens[-1]) == [state(0)[1], state(2)[1], state(4)[1]]


def test_a_token_grows_only_with_records() -> None:
    outbox = Outbox()
    outbox.send(ALL, Ask(0))
    assert outbox.seal().token == 0
    outbox.record(ReserveRecord(3))
    assert outbox.seal().token == 1


def test_neighbouring_rounds_are_one_message_and_one_record() -> None:
    outbox = Outbox()
    for round_ in (3, 4, 5):
        outbox.promise(*state(round_))
    sealed = outbox.seal()
    assert sealed.records == [StateRecord(1, 3, 5, 0, 0)]
    assert outbox.durable(sealed.token) == [State(1, 3, 5, 0, 0, 0)]


def test_what_differs_is_not_joined() -> None:
    said = [state(3), state(5), state(6, lane=2), state(7, value=1, lane=2), state(8, 1, 4, 2)]
    outbox = Outbox()
    for record, message in said:
        outbox.promise(record, message)
    sealed = outbox.seal()
    assert outbox.durable(sealed.token) == [message for _, message in said]
    # The records of the last two say the same: what is held stands in the batch's own record.
    assert sealed.records == [
        *(record for record, _ in said[:3]),
        StateRecord(2, 7, 8, 0, 1),
    ]


def test_sends_are_joined_for_the_same_receiver_only() -> None:
    outbox = Outbox()
    sends: list[tuple[int, Message]] = [
        (1, Decide(0, 0, 0, 0)),
        (1, Decide(0, 1, 1, 0)),
        (2, Decide(0, 2, 2, 0)),
        (2, Decide(0, 3, 3, 1)),
        (2, Hold(0, 4, 1, 1)),
    ]
    for destination, message in sends:
        outbox.send(destination, message)
    assert outbox.seal().sends == [(1, Decide(0, 0, 1, 0)), *sends[2:]]


def test_order_of_promises_is_kept_between_kinds() -> None:
    outbox = Outbox()
    hold = Hold(0, 1, 1, 2)
    outbox.promise(*state(0))
    outbox.promise(PayRecord(0, 1, Payload(b"x"), 2, False), hold)
    outbox.promise(*state(1))
    sealed = outbox.seal()
    assert len(sealed.records) == 3
    assert outbox.durable(sealed.token) == [state(0)[1], hold, state(1)[1]]


def test_what_travels_beside_a_promise_leaves_with_it() -> None:
    outbox = Outbox()
    outbox.promise(StateRecord(0, 1, 1, 0, 1), State(0, 1, 1, 0, 1, 1))
    outbox.beside(Skip(1, -1, 1))
    token = outbox.seal().token
    assert outbox.seal().sends == []
    assert outbox.durable(token) == [State(0, 1, 1, 0, 1, 1)]
    assert outbox.seal().sends == [(ALL, Skip(1, -1, 1))]


def test_beside_no_promise_it_leaves_at_once() -> None:
    outbox = Outbox()
    outbox.beside(Skip(1, -1, 1))
    assert outbox.seal().sends == [(ALL, Skip(1, -1, 1))]


def test_a_slow_sync_is_not_waited_for_and_the_next_one_not_at_all() -> None:
    outbox = Outbox()
    outbox.promise(StateRecord(0, 1, 1, 0, 1), State(0, 1, 1, 0, 1, 1))
    outbox.beside(Skip(1, -1, 1))
    outbox.seal()
    outbox.now = 0.004
    outbox.overdue()
    assert outbox.seal().sends == []
    outbox.now = 0.01
    outbox.overdue()
    outbox.beside(Skip(1, -1, 2))
    assert outbox.seal().sends == [(ALL, Skip(1, -1, 1)), (ALL, Skip(1, -1, 2))]

"""Asking for batches that others name."""

from __future__ import annotations

from racos.core.ballots import Pull
from racos.core.outbox import ALL, Outbox
from racos.queue.fetches import FETCHES_MAX, Fetches

PATIENCE, AGAIN = 0.03, 0.1


def asked(fetches: Fetches, outbox: Outbox, now: float) -> list[tuple[int, object]]:
    fetches.tick(now)
    return list(outbox.seal().sends)


def test_a_batch_under_way_is_not_asked_for_at_once_and_then_again_and_again() -> None:
    outbox = Outbox()
    fetches = Fetches(outbox, PATIENCE, AGAIN)
    fetches.want(7, 2, 1.0)
    assert asked(fetches, outbox, 1.02) == []
    assert asked(fetches, outbox, 1.03) == [(2, Pull(7))]
    assert asked(fetches, outbox, 1.10) == []
    fetches.want(7, 1, 1.11)  # another one has it, too
    assert asked(fetches, outbox, 1.14) == [(1, Pull(7))]
    fetches.arrived(7)
    assert asked(fetches, outbox, 2.0) == []


def test_what_is_decided_is_asked_of_everyone_at_once() -> None:
    outbox = Outbox()
    fetches = Fetches(outbox, PATIENCE, AGAIN)
    fetches.want(7, 2, 1.0)
    fetches.want(7, ALL, 1.0)
    assert asked(fetches, outbox, 1.0) == [(ALL, Pull(7))]
    fetches.want(7, 2, 1.0)
    assert asked(fetches, outbox, 1.2) == [(ALL, Pull(7))]


def test_names_that_are_over_are_forgotten_and_there_is_a_bound() -> None:
    outbox = Outbox()
    fetches = Fetches(outbox, 0.0, AGAIN)
    for name in range(FETCHES_MAX + 10):
        fetches.want(name, 1, 0.0)
    assert len(asked(fetches, outbox, 0.0)) == FETCHES_MAX
    fetches.forget(lambda name: name < FETCHES_MAX - 1)
    assert asked(fetches, outbox, 1.0) == [(1, Pull(FETCHES_MAX - 1))]

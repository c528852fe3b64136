"""Long seeded runs of calls against the simple model: every answer, history and version kept."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from racos.mvcc.command import Range
from racos.mvcc.errors import StoreError
from racos.mvcc.store import Store
from tests.mvcc.calls import Calls
from tests.mvcc.coded import load, plain_command, plain_event, plain_result
from tests.mvcc.model import Model

CALLS = 1200
CALLS_PER_DEEP_CHECK = 100


@pytest.mark.parametrize("seed", range(4))
def test_store_and_model_give_the_same_answers(seed: int) -> None:
    store, model = Store(), Model()
    calls = Calls(random.Random(seed))
    for number in range(CALLS):
        call = calls.next(store.revision)
        if isinstance(call, Range):
            ours, theirs = outcome(store.range, call), outcome(model.range, call)
        else:
            ours = outcome(store.apply, call, load(store.values_needed(call)))
            theirs = outcome(model.apply, plain_command(call))
        if not isinstance(ours, type):
            ours = plain_result(ours)
        assert ours == theirs, f"call {number} of seed {seed}: {call}"
        if number % CALLS_PER_DEEP_CHECK == 0:
            assert_same_state(store, model)
    assert_same_state(store, model)


def assert_same_state(store: Store, model: Model) -> None:
    assert store.state_digest() == model.digest()
    ours = [
        (revision, [plain_event(event) for event in events])
        for revision, events in store.history(store.compact_revision, store.revision)
    ]
    assert ours == model.history(model.compact_revision, model.revision)


def outcome(call: Callable[..., Any], *arguments: Any) -> Any:
    """What a call returned, or the type of its refusal."""
    try:
        return call(*arguments)
    except StoreError as error:
        return type(error)

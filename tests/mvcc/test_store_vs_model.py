"""Long seeded runs of calls against the simple model: every answer, history and version kept.

Commits, restarts, small caches, and compactions that dribble on must not change any answer.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from racos.mvcc.command import Range
from racos.mvcc.errors import StoreError
from racos.mvcc.shelf import MemoryShelf, Shelf
from racos.mvcc.store import Store
from racos.storage.index import Index
from tests.mvcc.calls import Calls
from tests.mvcc.coded import load, plain_command, plain_event, plain_result
from tests.mvcc.model import Model

CALLS = 1200
CALLS_PER_DEEP_CHECK = 100


@pytest.fixture(params=["memory", "disk"])
def shelf(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shelf]:
    opened: Shelf = MemoryShelf()
    if request.param == "disk":
        opened = Index(tmp_path / "index", member_id=1, cluster_id=1)
    yield opened
    opened.close()


@pytest.mark.parametrize("seed", range(4))
def test_store_and_model_give_the_same_answers(seed: int, shelf: Shelf) -> None:
    store, model = Store(shelf), Model()
    calls = Calls(random.Random(seed))
    rng = random.Random(seed)
    for number in range(CALLS):
        if rng.random() < 0.3:
            store = unnoticed(store, number, rng)
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


def unnoticed(store: Store, number: int, rng: random.Random) -> Store:
    """Do what a node does beside applying commands; nobody may be able to tell."""
    what = rng.choice(("commit", "commit", "compact", "load", "restart"))
    if what == "compact":
        store.compact_some(rng.randint(1, 20))
    elif what == "load":
        store.load_some(1)
    elif what == "commit":
        store.commit(number)
        store.shelf.durable(number - rng.randint(0, 50))
        if rng.random() < 0.1:
            store.shelf.flush()
    else:
        store.commit(number)
        return Store(store.shelf, cache_bytes=2000, recent_bytes=3000)
    return store


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

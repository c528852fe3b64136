"""The same seeded calls to the store and to a real etcd, one by one: every answer must be equal."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from racos.mvcc.command import Command, Compact, Range
from racos.mvcc.errors import StoreError
from racos.mvcc.store import Store
from tests.compat.etcd_client import EtcdClient, Invalid
from tests.compat.etcd_process import running_etcd
from tests.mvcc.calls import Calls
from tests.mvcc.coded import load, plain_command, plain_event, plain_result

pytestmark = [pytest.mark.process, pytest.mark.slow]

SEED = 20
CALLS = 1200


@pytest.fixture(scope="module")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdClient]:
    with running_etcd(Path(tmp_path_factory.mktemp("etcd"))) as channel:
        yield EtcdClient(channel)


def test_every_answer_is_etcds(etcd: EtcdClient) -> None:
    """Revisions start at 1 in both, so even they are equal."""
    store, seen = Store(), Counter[str]()
    calls = Calls(random.Random(SEED), lease_kinds="gggr")
    for number in range(CALLS):
        call = calls.next(store.revision)
        theirs = outcome(etcd.apply, simple(call))
        if theirs is Invalid:
            seen["invalid"] += 1  # the services refuse these before the store sees them
            continue
        ours = outcome(ask, store, call)
        assert ours == theirs, f"call {number} of seed {SEED}: {call}"
        seen[theirs.__name__ if isinstance(theirs, type) else type(call).__name__] += 1
        if isinstance(call, Compact) and not isinstance(ours, type):
            assert_same_history(etcd, store)
    assert_same_history(etcd, store)
    wanted = "Put Txn Range DeleteRange Compact Compacted FutureRevision KeyNotFound LeaseNotFound"
    wanted += " LeaseGrant LeaseRevoke LeaseExists"
    assert min(seen[kind] for kind in wanted.split()) >= 5, seen
    assert seen["invalid"] < CALLS / 8, seen


def assert_same_history(etcd: EtcdClient, store: Store) -> None:
    """Above the compaction revision: at it, etcd 3.5.1 forgets a tombstone that later ones keep."""
    start = max(2, store.compact_revision + 1)
    if start > store.revision:
        return
    ours = [
        (revision, [plain_event(event) for event in events])
        for revision, events in store.history(start, store.revision)
    ]
    assert ours == etcd.history(start, store.revision)


def ask(store: Store, call: Command | Range) -> Any:
    if isinstance(call, Range):
        return plain_result(store.range(call))
    result = store.apply(call, load(store.values_needed(call)))
    assert result is not None
    return plain_result(result)


def simple(call: Command | Range) -> Command | Range:
    return call if isinstance(call, Range) else plain_command(call)


def outcome(call: Callable[..., Any], *arguments: Any) -> Any:
    """What a call returned, or the type of its refusal."""
    try:
        return call(*arguments)
    except (StoreError, Invalid) as error:
        return type(error)

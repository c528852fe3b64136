"""What python-etcd3 users do, against the two endpoints given; fails where an answer is wrong.

A program of its own, because the generated code of etcd3 needs protobuf's pure Python parser, and
that is chosen once for a whole process.
"""

from __future__ import annotations

import sys
from typing import Any

import etcd3  # type: ignore[import-untyped]
import pytest
from etcd3 import exceptions


def put_get_delete(here: Any, there: Any) -> None:
    here.put("e3/a", "1")
    value, meta = there.get("e3/a")
    assert (value, meta.key, meta.version) == (b"1", b"e3/a", 1)
    assert there.put("e3/a", "2", prev_kv=True).prev_kv.value == b"1"
    assert here.get("e3/missing") == (None, None)
    assert here.delete("e3/a") is True
    assert there.delete("e3/a") is False
    here.put("e3/large", "x" * 100_000)
    assert len(there.get("e3/large")[0]) == 100_000


def conditional_puts(here: Any, there: Any) -> None:
    assert here.put_if_not_exists("e3/once", "1")
    assert not there.put_if_not_exists("e3/once", "2")
    assert there.replace("e3/once", "1", "3")
    assert not here.replace("e3/once", "1", "4")


def ranges(here: Any, there: Any) -> None:
    for letter in "cab":
        here.put(f"e3/range/{letter}", letter)
    assert [value for value, _ in there.get_prefix("e3/range/")] == [b"a", b"b", b"c"]
    down = there.get_prefix("e3/range/", sort_order="descend", sort_target="key")
    assert [value for value, _ in down] == [b"c", b"b", b"a"]
    assert [meta.key for _, meta in here.get_range("e3/range/a", "e3/range/c")] == [
        b"e3/range/a",
        b"e3/range/b",
    ]
    assert there.delete_prefix("e3/range/").deleted == 3


def transactions(here: Any, there: Any) -> None:
    steps = here.transactions
    here.put("e3/txn", "1")
    succeeded, (put, got) = there.transaction(
        compare=[steps.value("e3/txn") == "1", steps.version("e3/txn") > 0],
        success=[steps.put("e3/txn", "2"), steps.get("e3/txn")],
        failure=[steps.delete("e3/txn")],
    )
    assert succeeded
    assert put.HasField("response_put")
    assert got[0][0] == b"2"
    succeeded, (gone,) = here.transaction(
        compare=[steps.create("e3/txn") == 0], success=[], failure=[steps.delete("e3/txn")]
    )
    assert not succeeded
    assert gone.response_delete_range.deleted == 1


def watches(here: Any, there: Any) -> None:
    events, cancel = here.watch_prefix("e3/watch/")
    there.put("e3/watch/a", "1")
    there.put("e3/watch/a", "2")
    there.delete("e3/watch/a")
    found = [next(events) for _ in range(3)]
    assert [type(event).__name__ for event in found] == ["PutEvent", "PutEvent", "DeleteEvent"]
    assert [event.value for event in found] == [b"1", b"2", b""]
    cancel()


def compaction_and_the_past(here: Any, there: Any) -> None:
    first = here.put("e3/old", "1").header.revision
    last = there.put("e3/old", "2").header.revision
    here.compact(last)
    events, cancel = here.watch("e3/old", start_revision=first)
    with pytest.raises(exceptions.RevisionCompactedError) as caught:
        next(events)
    assert caught.value.compacted_revision == last
    cancel()


def members(here: Any, there: Any) -> None:
    assert sorted(member.name for member in here.members) == ["n1", "n2", "n3"]
    assert there.status().db_size > 0
    assert there.status().leader.id == here.status().leader.id


STEPS = (
    put_get_delete,
    conditional_puts,
    ranges,
    transactions,
    watches,
    compaction_and_the_past,
    members,
)


def main() -> None:
    here, there = (
        etcd3.client(host=host, port=int(port), timeout=20)
        for host, port in (endpoint.split(":") for endpoint in sys.argv[1:])
    )
    for step in STEPS:
        step(here, there)
        print(step.__name__, flush=True)
    here.close()
    there.close()


if __name__ == "__main__":
    main()

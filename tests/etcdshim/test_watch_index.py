"""WatcherIndex against the naive answer."""

from __future__ import annotations

import random

import pytest

from etcdshim.watch_index import Span, WatcherIndex


def covers(span: Span, key: bytes) -> bool:
    start, end = span
    if end is None:
        return key == start
    return start <= key and (not end or key < end)


@pytest.mark.parametrize("seed", range(5))
def test_matches_exactly_the_spans_that_hold_the_key(seed: int) -> None:
    rng = random.Random(seed)
    index: WatcherIndex[int] = WatcherIndex()
    watchers: dict[int, Span] = {}

    def random_key() -> bytes:
        return bytes(rng.choices(b"abc", k=rng.randint(1, 4)))

    for number in range(400):
        start = random_key()
        end = rng.choice([None, b"", random_key(), start + b"\xff"])
        if not end or start < end:
            index.add((start, end), number)
            watchers[number] = (start, end)
        if rng.random() < 0.4 and watchers:
            leaving = rng.choice(list(watchers))
            index.discard(watchers.pop(leaving), leaving)
        key = random_key()
        expected = sorted(name for name, span in watchers.items() if covers(span, key))
        assert sorted(index.matching(key)) == expected


def test_discarding_a_stranger_changes_nothing() -> None:
    index: WatcherIndex[int] = WatcherIndex()
    spans: list[Span] = [(b"a", None), (b"a", b""), (b"a", b"b")]
    for span in spans:
        index.discard(span, 1)
        index.add(span, 1)
        index.discard(span, 2)
    assert list(index.matching(b"a")) == [1, 1, 1]


def test_a_key_costs_its_matches_not_all_ranges() -> None:
    """Counts the spans looked at: a lookup among 4,096 disjoint ranges may see only a few."""
    index: WatcherIndex[int] = WatcherIndex()
    looked_at = 0

    class CountingKey(bytes):
        def __lt__(self, other: bytes) -> bool:
            nonlocal looked_at
            looked_at += 1
            return bytes.__lt__(self, other)

        def __ge__(self, other: bytes) -> bool:
            nonlocal looked_at
            looked_at += 1
            return bytes.__ge__(self, other)

    for number in range(4096):
        prefix = b"%04d/" % number
        index.add((prefix, prefix[:-1] + b"0"), number)
    assert list(index.matching(CountingKey(b"1234/x"))) == [1234]
    assert looked_at < 4096 // 4

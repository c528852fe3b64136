"""Mixed traffic: YCSB's core workloads and a plain mix, as operations drawn by share and key.

What operation `number` does, and to which key, follows from seed and number alone, so that a value
that is read tells whether it was ever written to its key, whichever process of the load generator
wrote it. That draws are made before the run also keeps them out of the measured client's time.
"""

from __future__ import annotations

import random
from array import array
from typing import Final, NamedTuple

from bench.draws import LATEST, drawer
from bench.workload import (
    KEYS_END,
    PUT_PATH,
    RANGE_PATH,
    Call,
    Gets,
    Puts,
    Values,
    WrongAnswer,
    framed,
    index_of,
    key_of,
    message,
    number_of,
)
from etcdshim.pb import kv_pb2, rpc_pb2

_DRAWS: Final = 1 << 16  # operations drawn before the run; then they come round again
VALUE_MIN: Final = 8  # bytes; a shorter value cannot tell which one it is

SCAN_MAX: Final = 100  # keys; YCSB draws the length of a scan evenly from 1 to this
SCAN_AVERAGE: Final = (1 + SCAN_MAX) / 2

_READ, _UPDATE, _INSERT, _MODIFY, _SCAN = range(5)
_RANGE, _PUT = 0, 1  # places in `Mix.paths`


class Recipe(NamedTuple):
    """Shares of the operations; they add up to 1."""

    read: float
    update: float = 0.0  # a put to a key that exists
    insert: float = 0.0  # a put to a new key
    modify: float = 0.0  # a get, then a put to the same key: one operation of two calls
    scan: float = 0.0  # some keys in order, from a drawn one on


RECIPES: Final = {
    "mixed": Recipe(read=0.7, update=0.3),
    "ycsb-a": Recipe(read=0.5, update=0.5),
    "ycsb-b": Recipe(read=0.95, update=0.05),
    "ycsb-c": Recipe(read=1.0),
    "ycsb-d": Recipe(read=0.95, insert=0.05),
    "ycsb-e": Recipe(read=0.0, scan=0.95, insert=0.05),
    "ycsb-f": Recipe(read=0.5, modify=0.5),
}


class _Step(NamedTuple):
    """An operation that waits for an answer."""

    kind: int
    place: int  # of the key
    floor: int  # the key's newest revision known when the operation began
    method: int
    limit: int = 0  # of a scan
    inserts: int = 0  # how many were acknowledged when the operation began


class Mix:
    """Operations of a recipe over keys that hold values 0 to keys - 1 at the start.

    Operation `number` writes value `keys + number`. A read must find a value that was written to
    that key, and none older than what this process was told before it asked.
    """

    paths = (RANGE_PATH, PUT_PATH)

    def __init__(
        self, values: Values, keys: int, recipe: Recipe, distribution: str, seed: int
    ) -> None:
        assert values.size >= VALUE_MIN, "a short value cannot tell which one it is"
        self._values = values
        self._keys = keys
        self._puts = Puts(values, keys)
        self._gets = Gets(values, keys, serializable=False)
        source = random.Random(seed)
        kinds = source.choices(range(len(recipe)), recipe, k=_DRAWS)
        self._kinds = bytes(kinds)
        draw = drawer(distribution, keys, source)
        self._places = array("Q", (draw() for _ in range(_DRAWS)))
        self._lengths = bytes(source.choices(range(1, SCAN_MAX + 1), k=_DRAWS))
        self._latest = distribution == LATEST
        self._inserts_before = _running_count(kinds, _INSERT)
        self._inserted: list[int] = []  # in the order in which they were acknowledged
        self._order: dict[int, int] = {}  # of each inserted key: its place in that list
        self._highest = 0  # the newest revision that this process was told
        self._known: dict[int, int] = {}  # a key's newest revision that was told
        self._steps: dict[int, _Step] = {}  # one for each client at most

    def request(self, number: int) -> Call:
        step = self._steps.get(number) or self._begin(number)
        if step.method == _PUT:
            return Call(_PUT, self._puts.encode(step.place, self._keys + number))
        if step.kind == _SCAN:
            return Call(_RANGE, encode_scan(step.place, step.limit))
        return Call(_RANGE, self._gets.encode(step.place))

    def check(self, number: int, body: bytes) -> int:
        step = self._steps.pop(number)
        if step.kind == _SCAN:
            return self._check_scan(step, body)
        if step.method == _RANGE:
            revision = self._check_read(step, body)
            if step.kind == _MODIFY:
                self._steps[number] = step._replace(method=_PUT, floor=self._known[step.place])
                return 0
            return revision
        revision = self._puts.check(number, body)
        if revision <= step.floor:
            raise WrongAnswer(f"put answered with revision {revision}, but {step.floor} was known")
        self._learn(step.place, revision)
        self._highest = max(self._highest, revision)
        if step.kind == _INSERT:
            self._order[step.place] = len(self._inserted)
            self._inserted.append(step.place)
        return revision

    def kind_and_key(self, number: int) -> tuple[int, int]:
        """What operation `number` does and, unless it reads, the key that it writes."""
        kind = self._kinds[number % _DRAWS]
        if kind != _INSERT:
            return kind, self._places[number % _DRAWS]
        rounds, place = divmod(number, _DRAWS)
        return kind, self._keys + rounds * self._inserts_before[-1] + self._inserts_before[place]

    # Helpers.

    def _begin(self, number: int) -> _Step:
        kind, index = self.kind_and_key(number)
        if self._latest and kind == _READ:
            index = self._newest(index)
        if kind == _SCAN:
            limit = self._lengths[number % _DRAWS]
            step = _Step(kind, index, self._highest, _RANGE, limit, len(self._inserted))
        else:
            method = _RANGE if kind in (_READ, _MODIFY) else _PUT
            step = _Step(kind, index, self._known.get(index, 0), method)
        self._steps[number] = step
        return step

    def _newest(self, back: int) -> int:
        """The key so many places behind the one that was inserted last."""
        place = len(self._inserted) - 1 - back
        return self._inserted[place] if place >= 0 else self._keys + place

    def _check_read(self, step: _Step, body: bytes) -> int:
        response = rpc_pb2.RangeResponse.FromString(message(body))
        key = key_of(step.place)
        if len(response.kvs) != 1:
            raise WrongAnswer(f"get of {key!r} answered with {len(response.kvs)} pairs")
        pair = response.kvs[0]
        if pair.key != key or not self._was_written(step.place, pair):
            raise WrongAnswer(f"get of {key!r} answered with a value that was not written there")
        revision: int = response.header.revision
        if not step.floor <= pair.mod_revision <= revision:
            raise WrongAnswer(
                f"get of {key!r} at revision {revision} found revision {pair.mod_revision}, "
                f"but {step.floor} was known before"
            )
        self._learn(step.place, pair.mod_revision)
        return revision

    def _check_scan(self, step: _Step, body: bytes) -> int:
        """Keys in order without a hole: none that was there when the scan began may be missing."""
        response = rpc_pb2.RangeResponse.FromString(message(body))
        pairs, name = response.kvs, f"scan of {step.limit} from {key_of(step.place)!r}"
        revision: int = response.header.revision
        if len(pairs) > step.limit or revision < step.floor:
            raise WrongAnswer(
                f"{name} found {len(pairs)} keys at revision {revision}, {step.floor} was known"
            )
        expected = step.place
        for pair in pairs:
            index = index_of(pair.key)
            if index is None or index < expected or not self._was_written(index, pair):
                raise WrongAnswer(f"{name} has a wrong pair {pair.key!r}")
            for missing in range(expected, index):
                self._check_absent(missing, step, name)
            expected = index + 1
        if len(pairs) < step.limit:
            for missing in range(expected, self._keys):
                self._check_absent(missing, step, name)
            for missing in self._inserted[: step.inserts]:
                if missing >= expected:
                    self._check_absent(missing, step, name)
        return revision

    def _check_absent(self, index: int, step: _Step, name: str) -> None:
        if index < self._keys or self._order.get(index, step.inserts) < step.inserts:
            raise WrongAnswer(f"{name} misses {key_of(index)!r}")

    def _was_written(self, index: int, pair: kv_pb2.KeyValue) -> bool:
        """Whether a pair's value is one that is put to this key, all of its bytes."""
        value = pair.value
        if len(value) != self._values.size:
            return False
        written = number_of(value)
        if not self._values.matches(written, value):
            return False
        if written < self._keys:
            return bool(written == index)
        kind, key = self.kind_and_key(written - self._keys)
        return kind not in (_READ, _SCAN) and key == index

    def _learn(self, index: int, revision: int) -> None:
        if revision > self._known.get(index, 0):
            self._known[index] = revision


def encode_scan(index: int, limit: int) -> bytes:
    """A range of so many keys at most, from key `index` to the last one."""
    wanted = rpc_pb2.RangeRequest(key=key_of(index), range_end=KEYS_END, limit=limit)
    return framed(wanted.SerializeToString())


def _running_count(kinds: list[int], kind: int) -> list[int]:
    """How many of a kind stand before each place; the total last."""
    counts = [0]
    for each in kinds:
        counts.append(counts[-1] + (each == kind))
    return counts

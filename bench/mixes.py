"""Mixed traffic: YCSB's core workloads and a plain mix, as operations drawn by share and key.

What operation `number` does, and to which key, follows from seed and number alone, so that a value
that is read tells whether it was ever written to its key, whichever process of the load generator
wrote it. That draws are made before the run also keeps them out of the measured client's time.
"""

from __future__ import annotations

import random
import struct
from array import array
from typing import Final, NamedTuple

from bench.draws import LATEST, drawer
from bench.workload import (
    PUT_PATH,
    RANGE_PATH,
    Call,
    Gets,
    Puts,
    Values,
    WrongAnswer,
    key_of,
    message,
)
from etcdshim.pb import kv_pb2, rpc_pb2

_DRAWS: Final = 1 << 16  # operations drawn before the run; then they come round again
_NUMBER: Final = struct.Struct("<Q")  # the head of a value (see `Values.pieces`)
VALUE_MIN: Final = _NUMBER.size  # bytes; a shorter value cannot tell which one it is

_READ, _UPDATE, _INSERT, _MODIFY = range(4)
_RANGE, _PUT = 0, 1  # places in `Mix.paths`


class Recipe(NamedTuple):
    """Shares of the operations; they add up to 1."""

    read: float
    update: float = 0.0  # a put to a key that exists
    insert: float = 0.0  # a put to a new key
    modify: float = 0.0  # a get, then a put to the same key: one operation of two calls


RECIPES: Final = {
    "mixed": Recipe(read=0.7, update=0.3),
    "ycsb-a": Recipe(read=0.5, update=0.5),
    "ycsb-b": Recipe(read=0.95, update=0.05),
    "ycsb-c": Recipe(read=1.0),
    "ycsb-d": Recipe(read=0.95, insert=0.05),
    "ycsb-f": Recipe(read=0.5, modify=0.5),
}


class _Step(NamedTuple):
    """An operation that waits for an answer."""

    kind: int
    place: int  # of the key
    floor: int  # the key's newest revision known when the operation began
    method: int


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
        kinds = source.choices((_READ, _UPDATE, _INSERT, _MODIFY), recipe, k=_DRAWS)
        self._kinds = bytes(kinds)
        draw = drawer(distribution, keys, source)
        self._places = array("Q", (draw() for _ in range(_DRAWS)))
        self._latest = distribution == LATEST
        self._inserts_before = _running_count(kinds, _INSERT)
        self._inserted: list[int] = []  # in the order in which they were acknowledged
        self._known: dict[int, int] = {}  # a key's newest revision that was told
        self._steps: dict[int, _Step] = {}  # one for each client at most

    def request(self, number: int) -> Call:
        step = self._steps.get(number) or self._begin(number)
        if step.method == _PUT:
            return Call(_PUT, self._puts.encode(step.place, self._keys + number))
        return Call(_RANGE, self._gets.encode(step.place))

    def check(self, number: int, body: bytes) -> int:
        step = self._steps.pop(number)
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
        if step.kind == _INSERT:
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
        method = _RANGE if kind in (_READ, _MODIFY) else _PUT
        step = self._steps[number] = _Step(kind, index, self._known.get(index, 0), method)
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

    def _was_written(self, index: int, pair: kv_pb2.KeyValue) -> bool:
        """Whether a pair's value is one that is put to this key, all of its bytes."""
        value = pair.value
        if len(value) != self._values.size:
            return False
        (written,) = _NUMBER.unpack_from(value)
        if not self._values.matches(written, value):
            return False
        if written < self._keys:
            return bool(written == index)
        kind, key = self.kind_and_key(written - self._keys)
        return kind != _READ and key == index

    def _learn(self, index: int, revision: int) -> None:
        if revision > self._known.get(index, 0):
            self._known[index] = revision


def _running_count(kinds: list[int], kind: int) -> list[int]:
    """How many of a kind stand before each place; the total last."""
    counts = [0]
    for each in kinds:
        counts.append(counts[-1] + (each == kind))
    return counts

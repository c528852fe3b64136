"""Pages of a long range: `limit` keys from a place on, with the count of all; and counts alone."""

from __future__ import annotations

from typing import Final

from bench.workload import (
    RANGE_PATH,
    Call,
    Values,
    WrongAnswer,
    framed,
    key_of,
    message,
)
from etcdshim.pb import rpc_pb2

LIMIT: Final = 500  # what Kubernetes' clients ask for


class Pages:
    """Each operation reads one page, walking over keys that hold values 0 to keys - 1.

    Page p begins at key p * LIMIT, comes round at the end, and must hold its keys in order with
    their values, the exact count of keys from its first on, and whether there are more.
    """

    paths = (RANGE_PATH,)

    def __init__(self, values: Values, keys: int) -> None:
        self._values = values
        self._keys = keys
        self._end = key_of(keys)  # keys behind ours may be left from other workloads
        self._pages = -(-keys // LIMIT)

    def request(self, number: int) -> Call:
        start = number % self._pages * LIMIT
        wanted = rpc_pb2.RangeRequest(key=key_of(start), range_end=self._end, limit=LIMIT)
        return Call(0, framed(wanted.SerializeToString()))

    def check(self, number: int, body: bytes) -> int:
        start = number % self._pages * LIMIT
        response = rpc_pb2.RangeResponse.FromString(message(body))
        expected = min(LIMIT, self._keys - start)
        name = f"page at {key_of(start)!r}"
        if len(response.kvs) != expected:
            raise WrongAnswer(f"{name} has {len(response.kvs)} pairs, {expected} expected")
        if response.count != self._keys - start or response.more != (response.count > expected):
            raise WrongAnswer(
                f"{name} counts {response.count} keys (more: {response.more}), "
                f"{self._keys - start} expected"
            )
        matches = self._values.matches
        for index, pair in enumerate(response.kvs, start):
            if pair.key != key_of(index) or not matches(index, pair.value):
                raise WrongAnswer(f"{name} has a wrong pair where {key_of(index)!r} belongs")
        revision: int = response.header.revision
        return revision


class Counts:
    """Each operation asks how many keys there are, and for none of them."""

    paths = (RANGE_PATH,)

    def __init__(self, values: Values, keys: int) -> None:  # noqa: ARG002 (as every workload)
        self._keys = keys
        wanted = rpc_pb2.RangeRequest(key=key_of(0), range_end=key_of(keys), count_only=True)
        self._call = Call(0, framed(wanted.SerializeToString()))

    def request(self, number: int) -> Call:  # noqa: ARG002 (the Workload's shape)
        return self._call

    def check(self, number: int, body: bytes) -> int:  # noqa: ARG002 (the Workload's shape)
        response = rpc_pb2.RangeResponse.FromString(message(body))
        if response.count != self._keys or response.kvs:
            raise WrongAnswer(f"count answered with {response.count}, {self._keys} expected")
        revision: int = response.header.revision
        return revision

"""Puts of the keys that a workload must find: key i holds value i."""

from __future__ import annotations

from typing import Final, Protocol

from bench.swaps import TXN_PATH
from bench.workload import Call, Puts, Values, Workload, WrongAnswer, framed, key_of, message
from etcdshim.pb import rpc_pb2

_TXN_PUTS: Final = 100  # of one transaction; servers allow 128 operations
_TXN_BYTES_MAX: Final = 2**20  # of its values; servers allow 1.5 MiB


class Filling(Workload, Protocol):
    """A workload that is over after so many operations."""

    @property
    def operations(self) -> int: ...


class Fill(Puts):
    """Operation `number` puts key `first + number`, up to key `keys - 1`."""

    def __init__(self, values: Values, first: int, keys: int) -> None:
        super().__init__(values, keys)
        self._from = first
        self.operations = keys - first

    def request(self, number: int) -> Call:
        index = self._from + number
        return Call(0, self.encode(index, index))


class FillMany:
    """The same keys, many to a transaction."""

    paths = (TXN_PATH,)

    def __init__(self, values: Values, first: int, keys: int) -> None:
        self._values = values
        self._from = first
        self._keys = keys
        self._puts = max(1, min(_TXN_PUTS, _TXN_BYTES_MAX // max(1, values.size)))
        self.operations = -(-(keys - first) // self._puts)

    def request(self, number: int) -> Call:
        puts = [
            rpc_pb2.RequestOp(
                request_put=rpc_pb2.PutRequest(
                    key=key_of(index), value=b"".join(self._values.pieces(index))
                )
            )
            for index in self._indexes(number)
        ]
        return Call(0, framed(rpc_pb2.TxnRequest(success=puts).SerializeToString()))

    def check(self, number: int, body: bytes) -> int:
        response = rpc_pb2.TxnResponse.FromString(message(body))
        revision: int = response.header.revision
        if not response.succeeded or len(response.responses) != len(self._indexes(number)):
            raise WrongAnswer(f"a transaction of puts answered with {len(response.responses)}")
        return revision

    def _indexes(self, number: int) -> range:
        first = self._from + number * self._puts
        return range(first, min(first + self._puts, self._keys))

"""Guarded writes: a transaction that puts a key only if it is as its owner left it."""

from __future__ import annotations

from typing import Final

from bench.workload import Call, Values, WrongAnswer, framed, key_of, message
from etcdshim.pb import rpc_pb2

TXN_PATH: Final = "/etcdserverpb.KV/Txn"


class Swaps:
    """Compare-and-put: operation `number` writes value `number` to key `number % keys`.

    Keys must be a multiple of the clients, so that each key has one writer, whose comparison holds.
    Where it does not, the transaction gets the key instead: it must then hold this very value (the
    answer to a first try was lost), or be of an earlier run, which is learnt at the first meeting.
    """

    paths = (TXN_PATH,)

    def __init__(self, values: Values, keys: int) -> None:
        self._values = values
        self._keys = keys
        self._revisions: dict[int, int] = {}  # by key: the one of its last write

    def request(self, number: int) -> Call:
        index = number % self._keys
        key = key_of(index)
        expected = rpc_pb2.Compare(
            key=key,
            target=rpc_pb2.Compare.MOD,
            result=rpc_pb2.Compare.EQUAL,
            mod_revision=self._revisions.get(index, 0),
        )
        put = rpc_pb2.PutRequest(key=key, value=b"".join(self._values.pieces(number)))
        transaction = rpc_pb2.TxnRequest(
            compare=[expected],
            success=[rpc_pb2.RequestOp(request_put=put)],
            failure=[rpc_pb2.RequestOp(request_range=rpc_pb2.RangeRequest(key=key))],
        )
        return Call(0, framed(transaction.SerializeToString()))

    def check(self, number: int, body: bytes) -> int:
        index = number % self._keys
        response = rpc_pb2.TxnResponse.FromString(message(body))
        revision: int = response.header.revision
        known = self._revisions.get(index, 0)
        if len(response.responses) != 1 or revision <= known:
            raise WrongAnswer(
                f"transaction on {key_of(index)!r} answered with {len(response.responses)} results "
                f"at revision {revision}, {known} was known"
            )
        if response.succeeded:
            written = revision
        else:
            written = self._found(number, response.responses[0].response_range)
        self._revisions[index] = written
        return revision

    def _found(self, number: int, found: rpc_pb2.RangeResponse) -> int:
        """The revision of a key that was not as expected."""
        index = number % self._keys
        if len(found.kvs) == 1 and found.kvs[0].key == key_of(index):
            pair = found.kvs[0]
            if index not in self._revisions or self._values.matches(number, pair.value):
                written: int = pair.mod_revision
                return written
        raise WrongAnswer(f"transaction on {key_of(index)!r} refused, though nobody else writes it")

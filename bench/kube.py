"""A Kubernetes-like mix: the requests that an API server sends for a busy control plane.

Nodes renew their leases, pods change their status, objects come and go, controllers read, and now
and then one lists everything. Every write is a transaction on the object's last revision, as the
API server's are. Each object has one writer, so that its comparison always holds.
"""

from __future__ import annotations

import random
from array import array
from typing import Final, NamedTuple

from bench.workload import (
    RANGE_PATH,
    Call,
    Values,
    WrongAnswer,
    framed,
    message,
    number_of,
)
from etcdshim.pb import kv_pb2, rpc_pb2

TXN_PATH: Final = "/etcdserverpb.KV/Txn"
PAGE_LIMIT: Final = 500  # what the API server asks for

_DRAWS: Final = 1 << 16  # operations drawn before the run; then they come round again
_RANGE, _TXN = 0, 1  # places in `Kube.paths`


class Resource(NamedTuple):
    """A kind of object."""

    name: str
    sizes: int  # how many times the case's size a value is
    share: int  # per cent of all objects

    @property
    def prefix(self) -> bytes:
        """Where its objects' keys begin."""
        return b"/registry/%s/" % self.name.encode()

    @property
    def end(self) -> bytes:
        """The end of the range of its keys."""
        return b"/registry/%s0" % self.name.encode()


RESOURCES: Final = (
    Resource("leases", 1, 40),
    Resource("pods", 4, 40),
    Resource("configmaps", 2, 10),
    Resource("events", 1, 10),
)
LEASES, PODS, CONFIGMAPS, EVENTS = range(4)

_RENEW, _PATCH, _CHURN, _GET, _REVISION, _COUNT, _LIST = range(7)
# Per cent. Churn deletes an object that exists and creates one that does not.
SHARES: Final = {
    "lease renewals": (_RENEW, 35),
    "pod status patches": (_PATCH, 20),
    "creates and deletes": (_CHURN, 14),
    "gets": (_GET, 17),
    "reads of the current revision": (_REVISION, 12),
    "counts": (_COUNT, 1),
    "lists": (_LIST, 1),
}
_CHURNED: Final = (PODS, CONFIGMAPS, EVENTS)
_UNKNOWN: Final = -1  # the revision of an object that was never asked for


class _List:
    """Pages of one resource, all at the revision of the first."""

    def __init__(self, resource: int) -> None:
        self.resource = resource
        self.start = RESOURCES[resource].prefix
        self.revision = 0
        self.found = 0
        self.count = 0


class Kube:
    """Operations on `keys` objects, a multiple of `clients`; object i is client i % clients's."""

    paths = (RANGE_PATH, TXN_PATH)

    def __init__(self, values: Values, keys: int, clients: int, seed: int) -> None:
        self._values = {
            each.sizes: values if each.sizes == 1 else Values(values.size * each.sizes, seed)
            for each in RESOURCES
        }
        self._clients = clients
        source = random.Random(seed)
        ops, shares = zip(*SHARES.values(), strict=True)
        self._ops = bytes(source.choices(ops, shares, k=_DRAWS))
        self._rows = array("L", (source.randrange(1 << 30) for _ in range(_DRAWS)))
        rows = keys // clients  # of each client's objects
        self._rows_of = _rows_by_resource(rows)
        self._resource_of_row = {row: at for at, each in enumerate(self._rows_of) for row in each}
        self._revisions: dict[int, int] = {}  # by object: 0 when it does not exist
        self._lists: dict[int, _List] = {}  # by operation
        self._floors: dict[int, int] = {}  # by operation that reads: what was known before
        self._highest = 0
        self.written = [0] * len(RESOURCES)  # the newest revision of ours, by resource

    def request(self, number: int) -> Call:
        op, at = self._plan(number)
        if op in (_RENEW, _PATCH, _CHURN):
            known = self._revisions.get(at, _UNKNOWN)
            if known != _UNKNOWN:
                delete = op == _CHURN and known > 0
                return Call(_TXN, framed(self._txn(number, at, known, delete)))
            op = _GET  # what an earlier run may have left is to be learnt
        self._floors.setdefault(number, self._highest)
        return Call(_RANGE, framed(self._range(number, op, at).SerializeToString()))

    def check(self, number: int, body: bytes) -> int:
        op, at = self._plan(number)
        floor = self._floors.pop(number, None)
        if floor is None:
            return self._check_write(op, at, body)
        response = rpc_pb2.RangeResponse.FromString(message(body))
        revision: int = response.header.revision
        if revision < floor:
            raise WrongAnswer(f"a read at revision {revision}, but {floor} was known before")
        self._highest = max(self._highest, revision)
        if op == _LIST:
            return self._check_list(number, at, response)
        if op == _COUNT:
            if response.kvs or response.count < 0:
                raise WrongAnswer(f"count answered with {len(response.kvs)} pairs")
        elif op != _REVISION:
            self._check_get(at, response)
        return revision

    def check_pair(self, pair: kv_pb2.KeyValue) -> None:
        """Whether a pair is whole and was written to this very key; raises WrongAnswer."""
        number = number_of(pair.value)
        op, at = self._plan(number)
        if op not in (_RENEW, _PATCH, _CHURN) or self.key_of(at) != pair.key:
            raise WrongAnswer(f"{pair.key!r} holds a value that was not written there")
        if not self._values_of(at).matches(number, pair.value):
            raise WrongAnswer(f"{pair.key!r} holds a damaged value of {len(pair.value)} bytes")

    def key_of(self, at: int) -> bytes:
        """The key of an object."""
        return b"%sns-%02d/object-%06d" % (RESOURCES[self._resource(at)].prefix, at % 20, at)

    # Requests.

    def _plan(self, number: int) -> tuple[int, int]:
        """What operation `number` does, and to which object (of a list or count: resource)."""
        client, place = number % self._clients, number % _DRAWS
        op, row = self._ops[place], self._rows[place]
        if op >= _REVISION:
            return op, row % len(RESOURCES)
        if op == _RENEW:
            rows = self._rows_of[LEASES]
        elif op == _PATCH:
            rows = self._rows_of[PODS]
        else:
            rows = self._rows_of[_CHURNED[row % len(_CHURNED)]]
        return op, client + self._clients * rows[row // len(_CHURNED) % len(rows)]

    def _txn(self, number: int, at: int, known: int, delete: bool) -> bytes:
        key = self.key_of(at)
        unchanged = rpc_pb2.Compare(
            key=key,
            target=rpc_pb2.Compare.MOD,
            result=rpc_pb2.Compare.EQUAL,
            mod_revision=known,
        )
        if delete:
            change = rpc_pb2.RequestOp(request_delete_range=rpc_pb2.DeleteRangeRequest(key=key))
        else:
            value = b"".join(self._values_of(at).pieces(number))
            change = rpc_pb2.RequestOp(request_put=rpc_pb2.PutRequest(key=key, value=value))
        read = rpc_pb2.RequestOp(request_range=rpc_pb2.RangeRequest(key=key))
        # A create has nothing to read when it is refused; the others read what there is.
        otherwise = [read] if known else []
        wanted = rpc_pb2.TxnRequest(compare=[unchanged], success=[change], failure=otherwise)
        return wanted.SerializeToString()

    def _range(self, number: int, op: int, at: int) -> rpc_pb2.RangeRequest:
        if op == _LIST:
            page = self._lists.setdefault(number, _List(at))
            return rpc_pb2.RangeRequest(
                key=page.start,
                range_end=RESOURCES[at].end,
                limit=PAGE_LIMIT,
                revision=page.revision,
            )
        if op == _COUNT:
            resource = RESOURCES[at]
            return rpc_pb2.RangeRequest(
                key=resource.prefix, range_end=resource.end, count_only=True
            )
        key = RESOURCES[at].prefix if op == _REVISION else self.key_of(at)
        return rpc_pb2.RangeRequest(key=key, limit=1)

    # Checks.

    def _check_write(self, op: int, at: int, body: bytes) -> int:
        response = rpc_pb2.TxnResponse.FromString(message(body))
        revision: int = response.header.revision
        known = self._revisions[at]
        if not response.succeeded or revision <= known or len(response.responses) != 1:
            raise WrongAnswer(
                f"transaction on {self.key_of(at)!r} refused at revision {revision}, though "
                f"nobody else writes it since {known}"
            )
        deleted = op == _CHURN and known > 0
        if deleted and response.responses[0].response_delete_range.deleted != 1:
            raise WrongAnswer(f"delete of {self.key_of(at)!r} deleted nothing")
        self._revisions[at] = 0 if deleted else revision
        resource = self._resource(at)
        self.written[resource] = max(self.written[resource], revision)
        self._highest = max(self._highest, revision)
        return revision

    def _check_get(self, at: int, response: rpc_pb2.RangeResponse) -> None:
        found = response.kvs[0].mod_revision if response.kvs else 0
        known = self._revisions.get(at, _UNKNOWN)
        if known == _UNKNOWN:
            self._revisions[at] = found
        elif found != known:
            raise WrongAnswer(
                f"get of {self.key_of(at)!r} found revision {found}, {known} expected"
            )
        for pair in response.kvs:
            self.check_pair(pair)

    def _check_list(self, number: int, at: int, response: rpc_pb2.RangeResponse) -> int:
        page, pairs = self._lists[number], response.kvs
        if not page.revision:
            page.revision, page.count = response.header.revision, response.count
        last = page.start
        for pair in pairs:
            if not last <= pair.key < RESOURCES[at].end or pair.mod_revision > page.revision:
                raise WrongAnswer(f"list has {pair.key!r} of revision {pair.mod_revision}")
            self.check_pair(pair)
            last = pair.key + b"\0"
        page.start = last
        page.found += len(pairs)
        if response.more != (page.found < page.count) or page.found > page.count:
            raise WrongAnswer(
                f"list of {page.count} objects: {page.found} came, more: {response.more}"
            )
        if response.more:
            return 0
        del self._lists[number]
        return page.revision

    # Helpers.

    def _resource(self, at: int) -> int:
        return self._resource_of_row[at // self._clients]

    def _values_of(self, at: int) -> Values:
        return self._values[RESOURCES[self._resource(at)].sizes]


def _rows_by_resource(rows: int) -> list[list[int]]:
    """Which of a client's objects are of each resource, by their shares; at least one of each."""
    found: list[list[int]] = [[] for _ in RESOURCES]
    for row in range(max(rows, len(RESOURCES))):
        if row < len(RESOURCES):
            found[row].append(row)
            continue
        lacking = [
            len(each) / resource.share for each, resource in zip(found, RESOURCES, strict=True)
        ]
        found[lacking.index(min(lacking))].append(row)
    return found

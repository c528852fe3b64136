"""Every refusal of the services: gRPC code and etcd's exact text, in one table.

Clients compare the texts letter by letter, so they are never decorated.
"""

from __future__ import annotations

from enum import Enum, IntEnum

from etcdshim.asgi import GrpcError
from etcdshim.backend import Corrupt, TooManyRequests, Unavailable
from racos.mvcc.errors import (
    ClusterCorrupt,
    Compacted,
    FutureRevision,
    KeyNotFound,
    LeaseExists,
    LeaseNotFound,
    SpaceExceeded,
    StoreError,
)


class Code(IntEnum):
    """The gRPC status codes used here."""

    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    NOT_FOUND = 5
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    UNAVAILABLE = 14
    DATA_LOSS = 15


class Refusal(Enum):
    """One row: (code, text). `raise Refusal.X.error()`: a fresh exception each time, since a shared
    one would gather the tracebacks of all its raises."""

    KEY_NOT_PROVIDED = (Code.INVALID_ARGUMENT, "etcdserver: key is not provided")
    KEY_NOT_FOUND = (Code.INVALID_ARGUMENT, "etcdserver: key not found")
    VALUE_PROVIDED = (Code.INVALID_ARGUMENT, "etcdserver: value is provided")
    LEASE_PROVIDED = (Code.INVALID_ARGUMENT, "etcdserver: lease is provided")
    TOO_MANY_OPS = (Code.INVALID_ARGUMENT, "etcdserver: too many operations in txn request")
    DUPLICATE_KEY = (Code.INVALID_ARGUMENT, "etcdserver: duplicate key given in txn request")
    INVALID_SORT = (Code.INVALID_ARGUMENT, "etcdserver: invalid sort option")
    INVALID_CLIENT_VERSION = (Code.INVALID_ARGUMENT, "etcdserver: invalid client api version")
    REQUEST_TOO_LARGE = (Code.INVALID_ARGUMENT, "etcdserver: request is too large")
    LEASE_NOT_FOUND = (Code.NOT_FOUND, "etcdserver: requested lease not found")
    LEASE_EXISTS = (Code.FAILED_PRECONDITION, "etcdserver: lease already exists")
    LEASE_TTL_TOO_LARGE = (Code.OUT_OF_RANGE, "etcdserver: too large lease TTL")
    COMPACTED = (Code.OUT_OF_RANGE, "etcdserver: mvcc: required revision has been compacted")
    FUTURE_REVISION = (
        Code.OUT_OF_RANGE,
        "etcdserver: mvcc: required revision is a future revision",
    )
    NO_SPACE = (Code.RESOURCE_EXHAUSTED, "etcdserver: mvcc: database space exceeded")
    TOO_MANY_REQUESTS = (Code.RESOURCE_EXHAUSTED, "etcdserver: too many requests")
    NO_LEADER = (Code.UNAVAILABLE, "etcdserver: no leader")
    STOPPED = (Code.UNAVAILABLE, "etcdserver: server stopped")
    CORRUPT = (Code.DATA_LOSS, "etcdserver: corrupt cluster")
    UNKNOWN_SERVICE = (Code.NOT_FOUND, "unknown service")

    def error(self) -> GrpcError:
        code, text = self.value
        return GrpcError(int(code), text)


# Reasons that travel inside a watch answer, not as a status.
WATCH_DUPLICATE_ID = "mvcc: duplicate watch ID provided on the WatchStream"
WATCH_EMPTY_RANGE = "mvcc: watcher range is empty"

_STORE_REFUSALS: dict[type[StoreError], Refusal] = {
    KeyNotFound: Refusal.KEY_NOT_FOUND,
    LeaseNotFound: Refusal.LEASE_NOT_FOUND,
    LeaseExists: Refusal.LEASE_EXISTS,
    Compacted: Refusal.COMPACTED,
    FutureRevision: Refusal.FUTURE_REVISION,
    SpaceExceeded: Refusal.NO_SPACE,
    ClusterCorrupt: Refusal.CORRUPT,
}

BackendFailure = (StoreError, Unavailable, TooManyRequests, Corrupt)


def translate(failure: Exception) -> GrpcError:
    """The answer for a failure of the backend (one of `BackendFailure`)."""
    if isinstance(failure, StoreError):
        refusal = _STORE_REFUSALS.get(type(failure))
        if refusal is not None:
            return refusal.error()
    elif isinstance(failure, Unavailable):
        return GrpcError(int(Code.UNAVAILABLE), failure.text)
    elif isinstance(failure, TooManyRequests):
        return Refusal.TOO_MANY_REQUESTS.error()
    elif isinstance(failure, Corrupt):
        return Refusal.CORRUPT.error()
    return GrpcError(int(Code.UNKNOWN), str(failure))  # etcd, too: raw text, code Unknown


def unimplemented(what: str) -> GrpcError:
    return GrpcError(int(Code.UNIMPLEMENTED), f"racos: {what} not supported yet")

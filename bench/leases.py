"""Leases: granted and revoked one after the other, or kept alive over streams."""

from __future__ import annotations

from typing import Final

from bench.workload import Call, WrongAnswer, framed, message
from etcdshim.pb import rpc_pb2

GRANT_PATH: Final = "/etcdserverpb.Lease/LeaseGrant"
REVOKE_PATH: Final = "/etcdserverpb.Lease/LeaseRevoke"
KEEP_ALIVE_PATH: Final = "/etcdserverpb.Lease/LeaseKeepAlive"
TTL_S: Final = 600  # longer than any run: no lease may expire in it
_TOKEN_SHIFT: Final = 40  # a run's token stands above its leases' numbers
_GRANT, _REVOKE = 0, 1  # places in `Grants.paths`


class Grants:
    """Each operation grants a lease of an id of its own, and then revokes it."""

    paths = (GRANT_PATH, REVOKE_PATH)

    def __init__(self, token: int) -> None:
        self._first = _first_id(token)
        self._granted: set[int] = set()  # operations that wait for their revocation

    def request(self, number: int) -> Call:
        if number in self._granted:
            wanted = rpc_pb2.LeaseRevokeRequest(ID=self._first + number)
            return Call(_REVOKE, framed(wanted.SerializeToString()))
        return Call(_GRANT, grant(self._first + number))

    def check(self, number: int, body: bytes) -> int:
        if number in self._granted:
            self._granted.remove(number)
            revoked = rpc_pb2.LeaseRevokeResponse.FromString(message(body))
            revision: int = revoked.header.revision
            return revision
        check_grant(self._first + number, body)
        self._granted.add(number)
        return 0


class GrantAll:
    """Operation `number` grants the lease that `KeepAlives` keeps alive under that number."""

    paths = (GRANT_PATH,)

    def __init__(self, token: int, leases: int) -> None:
        self._first = _first_id(token)
        self.operations = leases

    def request(self, number: int) -> Call:
        return Call(0, grant(self._first + number))

    def check(self, number: int, body: bytes) -> int:
        return check_grant(self._first + number, body)


class KeepAlives:
    """Each operation keeps one lease alive, going round over all of them; a stream each client.

    The answer must name that lease, and the whole of its time to live.
    """

    paths = (KEEP_ALIVE_PATH,)

    def __init__(self, token: int, leases: int) -> None:
        self._first = _first_id(token)
        self._leases = leases

    def request(self, number: int) -> Call:
        wanted = rpc_pb2.LeaseKeepAliveRequest(ID=self._first + number % self._leases)
        return Call(0, framed(wanted.SerializeToString()))

    def check(self, number: int, body: bytes) -> int:
        kept = rpc_pb2.LeaseKeepAliveResponse.FromString(message(body))
        lease = self._first + number % self._leases
        if lease != kept.ID or kept.TTL != TTL_S:
            raise WrongAnswer(
                f"keep-alive of lease {lease:x} answered with lease {kept.ID:x}, TTL {kept.TTL} s "
                f"({TTL_S} expected)"
            )
        revision: int = kept.header.revision
        return revision


def _first_id(token: int) -> int:
    """Of a run's leases: not 0, which lets the server choose."""
    return token + 1 << _TOKEN_SHIFT


def grant(lease: int) -> bytes:
    """A request for a lease of an id."""
    wanted = rpc_pb2.LeaseGrantRequest(ID=lease, TTL=TTL_S)
    return framed(wanted.SerializeToString())


def check_grant(lease: int, body: bytes) -> int:
    """The revision in the answer; raises WrongAnswer."""
    granted = rpc_pb2.LeaseGrantResponse.FromString(message(body))
    if lease != granted.ID or granted.TTL != TTL_S or granted.error:
        raise WrongAnswer(
            f"grant of lease {lease:x} for {TTL_S} s answered with lease {granted.ID:x} "
            f"for {granted.TTL} s {granted.error}".rstrip()
        )
    revision: int = granted.header.revision
    return revision

"""Single questions to running servers: version, member, leader."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from time import monotonic
from typing import Final, NamedTuple

from bench.frames import Outcome
from bench.h2 import Exchange, connect
from bench.workload import framed, message
from etcdshim.pb import rpc_pb2

_STATUS_PATH: Final = "/etcdserverpb.Maintenance/Status"
_TIMEOUT_S: Final = 10.0


class MemberStatus(NamedTuple):
    endpoint: str
    version: str
    leads: bool  # whether it names itself the leader (in Racos a nominal one)
    revision: int


class _Call(Exchange):
    """One call with a future, where its cost does not matter."""

    __slots__ = ("response",)

    def __init__(self) -> None:
        super().__init__()
        self.started = monotonic()
        self.response: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def answered(self, outcome: Outcome, now: float) -> None:  # noqa: ARG002 (an Exchange's shape)
        if outcome.status == 0:
            self.response.set_result(message(self.body))
        else:
            self._refuse(f"status {outcome.status}: {outcome.message}")

    def failed(self, reason: str, now: float) -> None:  # noqa: ARG002 (an Exchange's shape)
        self._refuse(reason)

    def _refuse(self, reason: str) -> None:
        if not self.response.done():
            self.response.set_exception(ConnectionError(reason))


async def ask(endpoint: str, path: str, request: bytes, timeout: float = _TIMEOUT_S) -> bytes:
    """One call on a connection of its own; raises ConnectionError or TimeoutError."""
    connection = await connect(endpoint, (path,), timeout)
    try:
        call = _Call()
        connection.send(call, framed(request))
        connection.flush()
        async with asyncio.timeout(timeout):
            return await call.response
    finally:
        connection.close()


async def member_status(endpoint: str) -> MemberStatus:
    """Ask one member; raises ConnectionError or TimeoutError."""
    status = rpc_pb2.StatusResponse.FromString(await ask(endpoint, _STATUS_PATH, b""))
    leads = status.leader != 0 and status.leader == status.header.member_id
    return MemberStatus(endpoint, status.version, leads, status.header.revision)


async def leader_position(endpoints: Sequence[str]) -> int:
    """Which endpoint is the leader's; the first if none claims to be."""
    for position, endpoint in enumerate(endpoints):
        if (await member_status(endpoint)).leads:
            return position
    return 0

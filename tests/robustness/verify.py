"""What every run ends with: all members agree, and what they agree on explains every call."""

from __future__ import annotations

import time
from collections.abc import Sequence

import grpc.aio

from cluster.supervisor import LocalCluster
from tests.robustness.checks import Order, Violation, check, lost
from tests.robustness.client import Client, events_to
from tests.robustness.history import Event, Operation

CATCH_UP_SECONDS = 15.0


def endpoints(cluster: LocalCluster, names: Sequence[str] | None = None) -> dict[str, str]:
    """Address by name, of all nodes or of those named."""
    return {name: cluster.endpoint(name) for name in names or cluster.names}


async def assert_sound(cluster: LocalCluster, operations: Sequence[Operation]) -> list[Event]:
    """With all nodes up and no call under way: the checks of `tests.robustness.checks`, and every
    member has the same events from revision 1 on, and the same keys. Returns the events."""
    streams: dict[str, list[Event]] = {}
    for name, endpoint in endpoints(cluster).items():
        async with Client(name, endpoint, []) as client:
            last = await linearizable_revision(client)
            streams[name] = await events_to(client, last, CATCH_UP_SECONDS)
            revision, contents = await client.contents(CATCH_UP_SECONDS)
        final = Order(streams[name]).final()
        if revision != last or contents != final:
            raise Violation(f"{name} has {contents} at {revision}, its events say {final}")
    events = streams[cluster.names[0]]
    for name, stream in streams.items():
        if stream != events:
            raise Violation(f"{name} differs: {first_difference(events, stream)}")
    missing = lost(operations, events)
    if missing:
        raise Violation(f"{len(missing)} acknowledged puts are lost: {missing[:10]}")
    check(operations, events)
    return events


async def linearizable_revision(client: Client) -> int:
    """The newest revision, asked again while the member gets its connections back."""
    deadline = time.monotonic() + CATCH_UP_SECONDS
    while True:
        try:
            return await client.revision()
        except grpc.aio.AioRpcError:
            if time.monotonic() > deadline:
                raise


def first_difference(one: Sequence[Event], other: Sequence[Event]) -> str:
    for left, right in zip(one, other, strict=False):
        if left != right:
            return f"{left} against {right}"
    return f"{len(one)} events against {len(other)}"

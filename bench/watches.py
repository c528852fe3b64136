"""What every user of watches needs: the request, its confirmation, and the events of an answer."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Final

from bench.feeds import Feed
from bench.h2 import Connection
from bench.load import LoadError
from bench.workload import WrongAnswer, framed, message
from etcdshim.pb import kv_pb2, rpc_pb2

WATCH_PATH: Final = "/etcdserverpb.Watch/Watch"


class WatchFeed(Feed):
    """One watch on a stream of its own, as Kubernetes has them."""

    __slots__ = ("_confirmed",)

    def __init__(self) -> None:
        super().__init__()
        # The revision after which events follow; None when it was told.
        self._confirmed: asyncio.Future[int] | None = asyncio.get_running_loop().create_future()

    # What an owner overrides.

    def heard(self, body: bytes, now: float) -> None:
        """An answer that follows the confirmation, with its gRPC prefix."""
        raise NotImplementedError

    def broken(self, reason: str) -> None:
        """The watch, once confirmed, has ended."""
        raise NotImplementedError

    # The feed.

    def received(self, body: bytes, now: float) -> None:
        if self._confirmed is None:
            self.heard(body, now)
            return
        confirmed, self._confirmed = self._confirmed, None
        if confirmed.done():
            return  # nobody waits any more
        response = rpc_pb2.WatchResponse.FromString(message(body))
        if response.created and not response.canceled:
            confirmed.set_result(response.header.revision)
        else:
            confirmed.set_exception(ConnectionError(f"watch refused: {response.cancel_reason}"))

    def ended(self, reason: str, now: float) -> None:
        del now
        confirmed, self._confirmed = self._confirmed, None
        if confirmed is None:
            self.broken(reason)
        elif not confirmed.done():
            confirmed.set_exception(ConnectionError(reason))

    @property
    def confirmation(self) -> asyncio.Future[int]:
        """The revision of the confirmation; fails with ConnectionError. Ask before it came."""
        assert self._confirmed is not None
        return self._confirmed


def create(
    key: bytes, end: bytes, *, prev_kv: bool = False, progress_notify: bool = False
) -> bytes:
    """The message that begins a watch of a range."""
    wanted = rpc_pb2.WatchCreateRequest(
        key=key, range_end=end, prev_kv=prev_kv, progress_notify=progress_notify
    )
    return framed(rpc_pb2.WatchRequest(create_request=wanted).SerializeToString())


async def open_watches(
    watches: Iterable[tuple[Connection, WatchFeed, bytes]], method: int, timeout: float
) -> list[int]:
    """Begin watches, each with its message; the revisions they begin after. Raises LoadError."""
    waiting = []
    touched: dict[Connection, None] = {}
    for connection, feed, wanted in watches:
        waiting.append(feed.confirmation)
        connection.open(feed, method)
        connection.write(feed, wanted)
        touched[connection] = None
    for connection in touched:
        connection.flush()
    try:
        async with asyncio.timeout(timeout):
            return list(await asyncio.gather(*waiting))
    except TimeoutError as error:
        missing = sum(each.cancelled() for each in waiting)  # by the timeout
        raise LoadError(f"{missing} watches not confirmed in {timeout:g} s") from error
    except ConnectionError as error:
        raise LoadError(str(error)) from error


def events_of(body: bytes) -> Sequence[kv_pb2.Event]:
    """The events of an answer; raises WrongAnswer where the server canceled the watch."""
    response = rpc_pb2.WatchResponse.FromString(message(body))
    if response.canceled:
        raise WrongAnswer(f"a watch was canceled: {response.cancel_reason}")
    return response.events

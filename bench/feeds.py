"""Streams of messages both ways over a `bench.h2.Connection`: watches, keep-alives of leases.

A feed hands on each message in the read that completes it; nothing is awaited and no task exists
per stream, so that thousands of watchers cost what their events cost.
"""

from __future__ import annotations

from typing import Final

from bench.frames import Outcome
from etcdshim.http2.frames import WINDOW_DEFAULT, ProtocolError

_PREFIX: Final = 5  # bytes of gRPC's frame of a message: compressed or not, and its length
_REFILL: Final = 2**29  # bytes after which a stream's receive window is topped up


class Feed:
    """One stream. Opened by `Connection.open`, written to by `Connection.write`."""

    __slots__ = ("_rest", "taken", "waiting", "window")

    def __init__(self) -> None:
        self.window = WINDOW_DEFAULT  # bytes the peer still takes on this stream
        self.waiting = bytearray()  # written, but not sent yet for want of a window
        self.taken = 0  # bytes since the receive window was topped up last
        self._rest = b""  # of a message that is not complete

    # What an owner overrides.

    def received(self, message: bytes, now: float) -> None:
        """A message arrived; its gRPC prefix is still on it."""
        raise NotImplementedError

    def ended(self, reason: str, now: float) -> None:
        """The stream is over: ended by the server, reset, or cut off."""
        raise NotImplementedError

    # What the connection calls.

    def take(self, data: bytes, now: float) -> int:
        """Payload of a DATA frame; how far the receive window is to be topped up (mostly 0).

        Raises ProtocolError when a message is compressed.
        """
        if self._rest:
            data = self._rest + data
            self._rest = b""
        size = len(data)
        at = 0
        while at + _PREFIX <= size:
            if data[at]:
                raise ProtocolError("a message of a stream is compressed")
            end = at + _PREFIX + int.from_bytes(data[at + 1 : at + _PREFIX], "big")
            if end > size:
                break
            self.received(data if end - at == size else data[at:end], now)
            at = end
        if at < size:
            self._rest = data[at:]
        self.taken += size
        if self.taken < _REFILL:
            return 0
        more, self.taken = self.taken, 0
        return more

    def end(self, authority: str, outcome: Outcome, now: float) -> None:
        """The server's last headers came."""
        self.ended(f"{authority}: stream ended: status {outcome.status}: {outcome.message}", now)

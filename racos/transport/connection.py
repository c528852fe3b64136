"""One TCP connection between replicas: dialled to send, or accepted to receive.

A connection begins with a handshake frame each way and carries frames in one direction only, so
that each direction is watched, bounded and replaced on its own.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from typing import NamedTuple, cast

from racos.transport.frame import Decoder, Frame, FrameError, encode
from racos.transport.handshake import HANDSHAKE_BYTES_MAX, Refused, Self, refusal
from racos.transport.link import FrameHandler

__all__ = ["HANDSHAKE_SECONDS", "Incoming", "IncomingEvents", "Outgoing"]

HANDSHAKE_SECONDS = 2.0
# A peer that vanished without closing is noticed after about five seconds, idle or not.
_UNACKNOWLEDGED_MS_MAX = 5000
_KEEPALIVE_IDLE_SECONDS = 2
_KEEPALIVE_INTERVAL_SECONDS = 1
_KEEPALIVE_PROBES = 3


class _Connection(asyncio.BufferedProtocol):
    """What both kinds share: the socket's options, and receiving into the decoder's buffer."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self._decoder = Decoder(HANDSHAKE_BYTES_MAX)
        self.bytes_received = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are not subclasses of asyncio's, though they do the same.
        self.transport = cast("asyncio.Transport", transport)
        _tune(transport.get_extra_info("socket"))

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - the decoder knows better
        return self._decoder.buffer()

    def buffer_updated(self, nbytes: int) -> None:
        self.bytes_received += nbytes
        try:
            for frame in self._decoder.received(nbytes):
                self._handle(frame)
        except (FrameError, Refused) as error:
            self._reject(error)

    def _handle(self, frame: Frame) -> None:
        raise NotImplementedError

    def _reject(self, error: Exception) -> None:
        raise NotImplementedError


class Outgoing(_Connection):
    """The dialling end. `shaken` resolves when the peer has welcomed us, or fails."""

    def __init__(self, own: Self, lane: int, on_lost: Callable[[Outgoing], None]) -> None:
        super().__init__()
        self._own = own
        self.lane = lane
        self._on_lost = on_lost
        loop = asyncio.get_running_loop()
        self.shaken: asyncio.Future[None] = loop.create_future()
        self.lost = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.transport.writelines(encode(self._own.hello(self.lane)))

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.shaken.done():
            self.shaken.set_exception(exc or ConnectionResetError("closed during the handshake"))
        self.lost.set()
        self._on_lost(self)

    def _handle(self, frame: Frame) -> None:
        if self.shaken.done():
            raise FrameError("frame on a connection for sending")
        self._own.check_welcome(frame.header, self.lane)
        self.shaken.set_result(None)

    def _reject(self, error: Exception) -> None:
        if not self.shaken.done():
            self.shaken.set_exception(error)
        self.transport.abort()


class IncomingEvents(NamedTuple):
    """Whom an accepted connection tells what."""

    opened: Callable[[Incoming], None]
    admitted: Callable[[Incoming], None]  # the hello was good, its lane is known, frames follow
    refused: Callable[[str, str], None]  # remote host, and why
    lost: Callable[[Incoming], None]


class Incoming(_Connection):
    """The accepting end."""

    def __init__(
        self, own: Self, on_frame: FrameHandler, events: IncomingEvents, frame_bytes_max: int
    ) -> None:
        super().__init__()
        self._own = own
        self._on_frame = on_frame
        self._events = events
        self._frame_bytes_max = frame_bytes_max
        self._deadline: asyncio.TimerHandle | None = None
        self.lane: int | None = None  # known after the hello
        self.frames_received = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        loop = asyncio.get_running_loop()
        self._deadline = loop.call_later(HANDSHAKE_SECONDS, self.transport.abort)
        self._events.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - any loss is a loss
        if self._deadline is not None:
            self._deadline.cancel()
        self._events.lost(self)

    def _handle(self, frame: Frame) -> None:
        if self.transport.is_closing():
            return
        if self.lane is None:
            self._shake(frame.header)
            return
        self.frames_received += 1
        self._on_frame(self.lane, frame.header, frame.blobs)

    def _shake(self, hello: bytes) -> None:
        self.lane = self._own.admit(hello)
        assert self._deadline is not None
        self._deadline.cancel()
        self._decoder.limit = self._frame_bytes_max
        self.transport.writelines(encode(self._own.welcome(self.lane)))
        self._events.admitted(self)

    def _reject(self, error: Exception) -> None:
        host = (self.transport.get_extra_info("peername") or ("unknown",))[0]
        if isinstance(error, Refused):
            self._events.refused(str(host), str(error))
            self.transport.writelines(encode(refusal(str(error))))
            self.transport.close()
        else:
            self._events.refused(str(host), f"sent bad bytes: {error}")
            self.transport.abort()


def _tune(sock: socket.socket) -> None:
    options: Sequence[tuple[int, int, int]] = (
        (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
        (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNACKNOWLEDGED_MS_MAX),
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _KEEPALIVE_IDLE_SECONDS),
        (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _KEEPALIVE_INTERVAL_SECONDS),
        (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _KEEPALIVE_PROBES),
    )
    for level, name, value in options:
        sock.setsockopt(level, name, value)

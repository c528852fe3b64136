"""One HTTP/2 connection of a client: frames in, frames out, flow control both ways.

Unary gRPC calls, which are nearly all traffic, go straight to `Calls` once their request is whole:
no task, no queue and no event per call. Everything else is an ASGI request with a task of its own.
What the handlers of one read send is joined into one write.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final, NamedTuple, Protocol, cast

from etcdshim.http2 import frames
from etcdshim.http2.frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    ENHANCE_YOUR_CALM,
    FLOW_CONTROL_ERROR,
    FRAME_HEADER,
    FRAME_HEADER_SIZE,
    FRAME_SIZE_DEFAULT,
    FRAME_SIZE_ERROR,
    GOAWAY,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    MAX_CONCURRENT_STREAMS,
    MAX_HEADER_LIST_SIZE,
    NO_ERROR,
    PADDED,
    PING,
    PREFACE,
    PRIORITY_FRAME,
    PROTOCOL_ERROR,
    PUSH_PROMISE,
    REFUSED_STREAM,
    RST_STREAM,
    SETTINGS,
    STREAM_CLOSED,
    WINDOW_DEFAULT,
    WINDOW_MAX,
    WINDOW_UPDATE,
    ProtocolError,
    frame,
    parse_settings,
    reset,
    unpadded,
    window_update,
)
from etcdshim.http2.head import Head, Heads, Malformed
from etcdshim.http2.hpack import LIST_SIZE_MAX
from etcdshim.http2.outgoing import Outgoing
from etcdshim.http2.stream import HttpStream

# The connection's receive window is topped up after this many bytes: each stream's own window
# bounds what a client may send ahead.
_WINDOW_REFILL: Final = 2**29
_HEADER_BLOCK_MAX: Final = 2 * LIST_SIZE_MAX
_LAST_WORDS_SECONDS: Final = 0.05  # for handlers that are cancelled to end their streams


class Running(Protocol):
    """A unary call that has not been answered yet."""

    def depart(self) -> None:
        """The client has left; nobody reads an answer."""

    def abandon(self) -> None:
        """The server stops: end without an answer."""


class Calls(Protocol):
    """Who serves unary calls."""

    def route(self, head: Head) -> Any:
        """What `begin` needs to serve a call with this head; None if it is no unary call."""

    def begin(
        self, head: Head, body: list[bytes], connection: Connection, stream: int
    ) -> Running | None:
        """Serve a call; None if it was answered at once."""

    def is_too_large(self, head: Head, first: bytes) -> bool:
        """Whether a body that begins like this will be refused whatever follows."""


class Serving(NamedTuple):
    """What all connections of a server share."""

    asgi: Any
    calls: Calls
    streams_max: int
    window: int  # bytes a client may send on a stream before anyone reads them
    closed: Callable[[Connection], None]


class _Body:
    """A unary request whose body came in parts."""

    __slots__ = ("head", "parts", "size")

    def __init__(self, head: Head) -> None:
        self.head = head
        self.parts: list[bytes] = []
        self.size = 0


class Connection(asyncio.Protocol):
    """A client's connection. All methods belong to the event loop's thread."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving
        self.out = Outgoing()
        self._heads = Heads()
        self._requests: dict[int, Head | _Body] = {}  # unary, not whole yet
        self._running: dict[int, Running] = {}  # unary, being served
        self._streams: dict[int, HttpStream] = {}
        self._rest = b""  # bytes of a frame that is not complete yet
        self._expected = PREFACE  # what is left of the preface
        self._block: tuple[int, int, bytes] | None = None  # stream, flags, until END_HEADERS
        self._last_stream = 0
        self._received = 0
        self._draining = False

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.out.attach(transport)
        wanted = {
            MAX_CONCURRENT_STREAMS: self._serving.streams_max,
            INITIAL_WINDOW_SIZE: self._serving.window,
            MAX_HEADER_LIST_SIZE: LIST_SIZE_MAX,
        }
        self.out.send(frames.settings(wanted) + window_update(0, WINDOW_MAX - WINDOW_DEFAULT))
        self.out.flush()

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002
        self.out.close(ConnectionResetError("the client has left"))
        self._requests.clear()
        for call in list(self._running.values()):
            call.depart()
        self._running.clear()
        for stream in list(self._streams.values()):
            stream.depart()
        self._streams.clear()
        self._serving.closed(self)

    def pause_writing(self) -> None:
        self.out.paused = True
        if self.out.transport is not None:
            self.out.transport.pause_reading()

    def resume_writing(self) -> None:
        self.out.paused = False
        if self.out.transport is not None and not self.out.closed:
            self.out.transport.resume_reading()
        self.out.pump()
        self.out.flush()

    def data_received(self, data: bytes) -> None:
        self.out.holding = True
        try:
            if self._expected:
                data = self._read_preface(data)
            start = self._complete_frame(data) if self._rest else 0
            if start < len(data):
                self._rest = data[self._read(data, start) :]
        except ProtocolError as error:
            self._fail(error)
        finally:
            self.out.holding = False
        if self._received > _WINDOW_REFILL:
            self.out.send(window_update(0, self._received))
            self._received = 0
        self.out.flush()

    # Reading.

    def _read_preface(self, data: bytes) -> bytes:
        size = min(len(data), len(self._expected))
        if data[:size] != self._expected[:size]:
            raise ProtocolError("not HTTP/2")
        self._expected = self._expected[size:]
        return data[size:]

    def _complete_frame(self, data: bytes) -> int:
        """Handle the frame that began in an earlier read; the position in `data` after it.

        Only that frame is copied, not the whole read.
        """
        rest = self._rest
        header = (rest + data[:FRAME_HEADER_SIZE])[:FRAME_HEADER_SIZE]
        missing = FRAME_HEADER_SIZE + int.from_bytes(header[:3], "big") - len(rest)
        if len(header) == FRAME_HEADER_SIZE:
            self._check_size(header)
        if len(header) < FRAME_HEADER_SIZE or missing > len(data):
            self._rest = rest + data
            return len(data)
        self._rest = b""
        self._read(rest + data[:missing], 0)
        return missing

    def _check_size(self, header: bytes) -> None:
        if int.from_bytes(header[:3], "big") > FRAME_SIZE_DEFAULT:
            raise ProtocolError("frame larger than announced", FRAME_SIZE_ERROR)

    def _read(self, data: bytes, position: int) -> int:
        """Handle every whole frame; the position of the first that is not whole."""
        unpack = FRAME_HEADER.unpack_from
        requests = self._requests
        last = len(data) - FRAME_HEADER_SIZE
        while position <= last:
            high, low, kind, flags, stream = unpack(data, position)
            start = position + FRAME_HEADER_SIZE
            end = start + (high << 8 | low)
            if end - start > FRAME_SIZE_DEFAULT:
                raise ProtocolError("frame larger than announced", FRAME_SIZE_ERROR)
            if end > len(data):
                break
            stream &= WINDOW_MAX
            if self._block is not None and kind != CONTINUATION:
                raise ProtocolError("a header block was interrupted")
            if kind == DATA and flags == END_STREAM and type(requests.get(stream)) is Head:
                self._received += end - start
                head = cast("Head", requests.pop(stream))
                self._begin(head, [data[start:end]], stream)
            elif kind == HEADERS and flags == END_HEADERS:
                self._headers(stream, flags, data[start:end])
            else:
                self._handle(kind, flags, stream, data[start:end])
            position = end
        return position

    def _handle(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        """Every frame but the two of a plain unary request."""
        if kind == DATA:
            self._data(stream, flags, payload)
        elif kind == HEADERS:
            block = unpadded(payload, flags)
            if flags & END_HEADERS:
                self._headers(stream, flags, block)
            else:
                self._block = stream, flags, block
        elif kind == CONTINUATION:
            self._continue(stream, flags, payload)
        elif kind == WINDOW_UPDATE:
            self._grow(stream, payload)
        elif kind == RST_STREAM:
            self._reset(stream, payload)
        elif kind == SETTINGS:
            self._settings(stream, flags, payload)
        elif kind == PING:
            self._ping(stream, flags, payload)
        elif kind == PUSH_PROMISE:
            raise ProtocolError("a client cannot push")
        elif kind == GOAWAY:
            self.drain()
        elif kind == PRIORITY_FRAME and (stream == 0 or len(payload) != 5):
            raise ProtocolError("PRIORITY of a wrong shape", FRAME_SIZE_ERROR)

    def _continue(self, stream: int, flags: int, payload: bytes) -> None:
        if self._block is None or self._block[0] != stream:
            raise ProtocolError("CONTINUATION without HEADERS")
        _, first, block = self._block
        if len(block) + len(payload) > _HEADER_BLOCK_MAX:
            raise ProtocolError("header block too large", ENHANCE_YOUR_CALM)
        self._block = stream, first, block + payload
        if flags & END_HEADERS:
            self._block = None
            self._headers(stream, first, block + payload)

    def _headers(self, stream: int, flags: int, block: bytes) -> None:
        """A complete header block: a new request, or the end of one."""
        if stream <= self._last_stream or not stream & 1:
            self._trailers(stream, flags, block)
            return
        self._last_stream = stream
        head = self._heads.get(block)
        if head is None:
            try:
                head = self._heads.decode(block)
            except Malformed:
                self.out.send(reset(stream, PROTOCOL_ERROR))
                return
            head.route = self._serving.calls.route(head)
        if self._draining or self._open() >= self._serving.streams_max:
            self.out.send(reset(stream, REFUSED_STREAM))
        elif head.route is None:
            self._streams[stream] = HttpStream(self, stream, head, self._serving.window)
            self._streams[stream].start(self._serving.asgi, self._addresses())
            if flags & END_STREAM:
                self._streams[stream].feed(b"", ends=True)
        elif flags & END_STREAM:
            self._begin(head, [], stream)
        else:
            self._requests[stream] = head

    def _trailers(self, stream: int, flags: int, block: bytes) -> None:
        if not stream & 1:
            raise ProtocolError(f"HEADERS on stream {stream}")
        self._heads.skip(block)
        if stream not in self._requests and stream not in self._streams:
            return  # it was answered or reset meanwhile
        if not flags & END_STREAM:
            raise ProtocolError("a second header block that does not end its stream")
        self._data(stream, END_STREAM, b"")

    def _data(self, stream: int, flags: int, payload: bytes) -> None:
        self._received += len(payload)
        if stream == 0 or stream > self._last_stream:
            raise ProtocolError("DATA on an idle stream")
        body = unpadded(payload, flags & PADDED)
        ends = bool(flags & END_STREAM)
        request = self._requests.get(stream)
        if request is not None:
            self._gather(stream, request, body, ends=ends)
        elif stream in self._streams:
            self._streams[stream].feed(body, ends=ends, size=len(payload))
        elif stream in self._running:
            raise ProtocolError("DATA after the end of a stream", STREAM_CLOSED)

    def _gather(self, stream: int, request: Head | _Body, data: bytes, *, ends: bool) -> None:
        """A part of a unary request, which is kept until the request is whole."""
        if isinstance(request, Head):
            request = self._requests[stream] = _Body(request)
        if data:
            request.parts.append(data)
            request.size += len(data)
            if request.size > self._serving.window:
                self.cut(stream, FLOW_CONTROL_ERROR)
                return
        too_large = len(request.parts) == 1 and self._serving.calls.is_too_large(
            request.head, request.parts[0]
        )
        if ends or too_large:
            del self._requests[stream]
            self._begin(request.head, request.parts, stream)
        if too_large and not ends:
            self.out.send(reset(stream, NO_ERROR))

    def _begin(self, head: Head, body: list[bytes], stream: int) -> None:
        running = self._serving.calls.begin(head, body, self, stream)
        if running is not None:
            self._running[stream] = running

    def _reset(self, stream: int, payload: bytes) -> None:
        if stream == 0 or stream > self._last_stream or len(payload) != 4:
            raise ProtocolError("RST_STREAM of a wrong shape")
        self._requests.pop(stream, None)
        running = self._running.pop(stream, None)
        if running is not None:
            running.depart()
        request = self._streams.get(stream)
        if request is not None:
            request.depart()
        self.ended(stream, ConnectionResetError("the client has left"))

    def _settings(self, stream: int, flags: int, payload: bytes) -> None:
        if stream != 0 or (flags & ACK and payload):
            raise ProtocolError("SETTINGS of a wrong shape", FRAME_SIZE_ERROR)
        if not flags & ACK:
            # The answer first: until it has it, the peer holds us to its former settings.
            self.out.send(frame(SETTINGS, ACK, 0))
            self.out.set_limits(parse_settings(payload))

    def _ping(self, stream: int, flags: int, payload: bytes) -> None:
        if stream != 0 or len(payload) != 8:
            raise ProtocolError("PING of a wrong shape", FRAME_SIZE_ERROR)
        if not flags & ACK:
            self.out.send(frame(PING, ACK, 0, payload))

    def _grow(self, stream: int, payload: bytes) -> None:
        increment = int.from_bytes(payload, "big") & WINDOW_MAX
        if len(payload) != 4 or (increment == 0 and stream == 0) or stream > self._last_stream:
            raise ProtocolError("WINDOW_UPDATE of a wrong shape")
        if stream == 0:
            self.out.grow(increment)
        elif increment == 0:
            self.cut(stream, PROTOCOL_ERROR)
        elif self._is_open(stream) and not self.out.grow_stream(stream, increment):
            self.cut(stream, FLOW_CONTROL_ERROR)

    # Answering.

    def answer(self, stream: int, body: bytes) -> None:
        """End a unary call with status OK; `body` is the response with its gRPC prefix."""
        self._running.pop(stream, None)
        self.out.answer(stream, body)
        if self._draining:
            self._close_if_done()

    def refuse(self, stream: int, fields: list[tuple[bytes, bytes]]) -> None:
        """End a unary call with a status alone."""
        self._running.pop(stream, None)
        self.out.refuse(stream, fields)
        if self._draining:
            self._close_if_done()

    def cut(self, stream: int, code: int) -> None:
        """Reset a stream."""
        running = self._running.pop(stream, None)
        if running is not None:
            running.depart()
        self._requests.pop(stream, None)
        self.out.send(reset(stream, code))
        self.ended(stream, ConnectionResetError("the stream was reset"))

    def ended(self, stream: int, error: Exception | None = None) -> None:
        """An ASGI request is over."""
        self._streams.pop(stream, None)
        self.out.forget(stream, error)
        if self._draining:
            self._close_if_done()

    # The connection's end.

    def drain(self) -> None:
        """Take no further streams, and close when those that are open have ended."""
        if self._draining or self.out.closed:
            return
        self._draining = True
        self.out.send(frames.goaway(self._last_stream, NO_ERROR))
        self._close_if_done()

    def abandon(self) -> None:
        """End everything now; what was sent already still goes out."""
        for call in list(self._running.values()):
            call.abandon()
        for stream in list(self._streams.values()):
            stream.abandon()
        asyncio.get_running_loop().call_later(_LAST_WORDS_SECONDS, self._close)

    def _close_if_done(self) -> None:
        if not self._open() and self.out.idle:
            self._close()

    def _close(self) -> None:
        self.out.flush()
        if self.out.transport is not None:
            self.out.transport.close()

    def _fail(self, error: ProtocolError) -> None:
        self.out.send(frames.goaway(self._last_stream, error.code, str(error)))
        self._rest = b""
        self._close()

    def _open(self) -> int:
        return len(self._requests) + len(self._running) + len(self._streams)

    def _is_open(self, stream: int) -> bool:
        return (
            stream in self._requests
            or stream in self._running
            or stream in self._streams
            or self.out.has_flow(stream)
        )

    def _addresses(self) -> tuple[Any, Any]:
        transport = self.out.transport
        assert transport is not None
        return transport.get_extra_info("peername"), transport.get_extra_info("sockname")


__all__ = ["Calls", "Connection", "Running", "Serving"]

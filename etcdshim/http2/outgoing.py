"""What a connection sends: answers and other frames, as far as the peer's windows let them.

All that the handlers of one read, or of one turn of the loop, send is joined into one write.
"""

from __future__ import annotations

import asyncio
from typing import Final, cast

from etcdshim.http2.flow import Flow
from etcdshim.http2.frames import (
    DATA,
    END_HEADERS,
    END_STREAM,
    FLOW_CONTROL_ERROR,
    FRAME_HEADER,
    FRAME_SIZE_DEFAULT,
    FRAME_SIZE_MAX,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    MAX_FRAME_SIZE,
    WINDOW_DEFAULT,
    WINDOW_MAX,
    ProtocolError,
    frame,
    frame_header,
)
from etcdshim.http2.hpack import encode

_CONTENT_TYPE: Final = (b"content-type", b"application/grpc")
_START: Final = encode([(b":status", b"200"), _CONTENT_TYPE])
_SUCCESS: Final = encode([(b"grpc-status", b"0")])
# The first five bytes of both blocks' frames: length, kind and flags; the stream follows.
_START_HEAD: Final = frame_header(len(_START), HEADERS, END_HEADERS, 0)[:5]
_SUCCESS_HEAD: Final = frame_header(len(_SUCCESS), HEADERS, END_HEADERS | END_STREAM, 0)[:5]
_JOIN_BYTES_MAX: Final = 64 * 1024  # larger writes are handed over in parts, without a copy


class Outgoing:
    """Frames on their way out, the connection's window, and the streams' windows that matter."""

    __slots__ = (
        "_blocked",
        "_flows",
        "_flushing",
        "_frame_size",
        "_loop",
        "_out",
        "_stream_window",
        "_window",
        "closed",
        "holding",
        "paused",
        "transport",
    )

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.closed = False
        self.holding = False  # whoever set it will flush
        self.paused = False  # the socket takes nothing now
        self._loop = asyncio.get_running_loop()
        self._out: list[bytes | memoryview] = []
        self._flushing = False
        self._flows: dict[int, Flow] = {}  # streams whose window is not the initial one
        self._blocked: dict[int, Flow] = {}  # those of them that wait for a window, in turn
        self._window = WINDOW_DEFAULT
        self._stream_window = WINDOW_DEFAULT
        self._frame_size = FRAME_SIZE_DEFAULT

    def send(self, data: bytes) -> None:
        """Queue whole frames that need no window."""
        if not self.closed:
            self._out.append(data)
            self._flush_soon()

    def answer(self, stream: int, body: bytes) -> None:
        """End a unary call with status OK; `body` is the response with its gRPC prefix."""
        size = len(body)
        if (
            size <= self._frame_size
            and size <= self._window
            and size <= self._stream_window
            and stream not in self._flows
            and not self.paused
        ):
            self._window -= size
            number = stream.to_bytes(4, "big")
            self._out += (
                _START_HEAD,
                number,
                _START,
                FRAME_HEADER.pack(size >> 8, size & 0xFF, DATA, 0, stream),
                body,
                _SUCCESS_HEAD,
                number,
                _SUCCESS,
            )
            self._flush_soon()
            return
        self._out.append(frame(HEADERS, END_HEADERS, stream, _START))
        flow = self.flow(stream)
        flow.add(body)
        flow.last = frame(HEADERS, END_HEADERS | END_STREAM, stream, _SUCCESS)
        self.push(stream, flow)

    def refuse(self, stream: int, fields: list[tuple[bytes, bytes]]) -> None:
        """End a unary call with headers alone, behind those every answer has."""
        block = encode([(b":status", b"200"), _CONTENT_TYPE, *fields])
        self.send(frame(HEADERS, END_HEADERS | END_STREAM, stream, block))
        self.forget(stream)

    def flow(self, stream: int) -> Flow:
        """The stream's flow, made on first use."""
        flow = self._flows.get(stream)
        if flow is None:
            flow = self._flows[stream] = Flow(self._stream_window)
        return flow

    def has_flow(self, stream: int) -> bool:
        return stream in self._flows

    def push(self, stream: int, flow: Flow) -> None:
        """Send what a flow has, as far as the windows go; the rest when they open."""
        if self.closed:
            flow.wake(ConnectionResetError("the client has left"))
            return
        self._blocked[stream] = flow
        self.pump()
        self._flush_soon()

    def forget(self, stream: int, error: Exception | None = None) -> None:
        """The stream is over: what it has not sent yet is dropped."""
        self._blocked.pop(stream, None)
        flow = self._flows.pop(stream, None)
        if flow is not None:
            flow.wake(error)

    @property
    def idle(self) -> bool:
        """Whether no stream waits for a window."""
        return not self._blocked

    # What the peer allows.

    def set_limits(self, values: dict[int, int]) -> None:
        """The peer's SETTINGS. Raises ProtocolError."""
        frame_size = values.get(MAX_FRAME_SIZE, self._frame_size)
        if not FRAME_SIZE_DEFAULT <= frame_size <= FRAME_SIZE_MAX:
            raise ProtocolError(f"MAX_FRAME_SIZE of {frame_size}")
        window = values.get(INITIAL_WINDOW_SIZE, self._stream_window)
        if window > WINDOW_MAX:
            raise ProtocolError(f"INITIAL_WINDOW_SIZE of {window}", FLOW_CONTROL_ERROR)
        self._frame_size = frame_size
        for flow in self._flows.values():
            flow.window += window - self._stream_window
        self._stream_window = window
        self.pump()

    def grow(self, increment: int) -> None:
        """The connection's window opens. Raises ProtocolError."""
        self._window += increment
        if self._window > WINDOW_MAX:
            raise ProtocolError("window too large", FLOW_CONTROL_ERROR)
        self.pump()

    def grow_stream(self, stream: int, increment: int) -> bool:
        """A stream's window opens; False if it became too large."""
        flow = self.flow(stream)
        flow.window += increment
        if flow.window > WINDOW_MAX:
            return False
        self.pump()
        return True

    def pump(self) -> None:
        """Send one frame of each waiting flow in turn, as long as anything may go."""
        moved = True
        while moved and self._blocked and not self.paused:
            moved = False
            for stream in list(self._blocked):
                moved |= self._send_part(stream, self._blocked[stream])

    def _send_part(self, stream: int, flow: Flow) -> bool:
        """Whether a flow could do anything."""
        if flow.parts:
            size = min(self._window, flow.window, self._frame_size)
            if size <= 0:
                return False
            data = flow.take(size)
            self._window -= len(data)
            flow.window -= len(data)
            self._out += (frame_header(len(data), DATA, 0, stream), data)
        if not flow.parts:
            del self._blocked[stream]
            if flow.last:
                self._out.append(flow.last)
                self.forget(stream)
            flow.wake()
        return True

    # Writing.

    def flush(self) -> None:
        """Write what is queued."""
        self._flushing = False
        out = self._out
        if not out or self.transport is None or self.closed:
            return
        self._out = []
        if sum(map(len, out)) <= _JOIN_BYTES_MAX:
            self.transport.write(b"".join(out))
        else:
            self.transport.writelines(out)

    def close(self, error: Exception) -> None:
        """The connection is lost: whoever waits for a window is told."""
        self.closed = True
        self._out.clear()
        for stream in list(self._flows):
            self.forget(stream, error)

    def attach(self, transport: asyncio.BaseTransport) -> None:
        # A cast, because uvloop's transport does not derive from asyncio.Transport.
        self.transport = cast("asyncio.Transport", transport)

    def _flush_soon(self) -> None:
        if not self._flushing and not self.holding:
            self._flushing = True
            self._loop.call_soon(self.flush)

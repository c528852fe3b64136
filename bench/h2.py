"""A gRPC client connection that costs a few microseconds a call, over cleartext HTTP/2.

One Protocol object reads frames in place, hands each finished call to its Exchange, and joins all
that the exchanges send in return into one write. Flow control is honoured both ways; nothing is
awaited, and no task or future exists per call. A connection calls a few methods that are known when
it is made, so that their header blocks are built once.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable
from time import monotonic
from typing import Final, NamedTuple, cast

from bench.feeds import Feed
from bench.frames import Outcome, RequestBlocks, ResponseBlocks
from etcdshim.http2.frames import (
    ACK,
    CANCEL,
    CONTINUATION,
    DATA,
    ENABLE_PUSH,
    END_HEADERS,
    END_STREAM,
    FRAME_HEADER,
    FRAME_HEADER_SIZE,
    FRAME_SIZE_DEFAULT,
    GOAWAY,
    HEADER_TABLE_SIZE,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    MAX_CONCURRENT_STREAMS,
    MAX_FRAME_SIZE,
    PING,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    WINDOW_DEFAULT,
    WINDOW_MAX,
    WINDOW_UPDATE,
    ProtocolError,
    error_name,
    frame,
    frame_header,
    parse_settings,
    settings,
    unpadded,
    window_update,
)

# The connection's receive window is topped up after this many bytes.
_WINDOW_REFILL: Final = 2**29
_HEADER_TABLE_NEEDED: Final = (
    512  # bytes of the peer's dynamic table that `request_blocks` counts on
)


class Exchange:
    """One unary call at a time; reused for call after call by a closed-loop client."""

    __slots__ = ("body", "more", "started")

    def __init__(self) -> None:
        self.body = b""  # the response, with its gRPC prefix; until it has ended, its first frame
        self.more: list[bytes] = []  # the frames after the first
        self.started = 0.0  # monotonic seconds; set before `send`, never decreasing over sends

    def join(self) -> None:
        """Make one body of all frames: one copy, where a growing buffer would make many."""
        self.body = b"".join((self.body, *self.more))
        self.more.clear()

    def answered(self, outcome: Outcome, now: float) -> None:
        """The call ended with a grpc-status; `body` is the response."""
        raise NotImplementedError

    def failed(self, reason: str, now: float) -> None:
        """The call ended without a grpc-status: reset, cut off, or expired."""
        raise NotImplementedError


class _Head(NamedTuple):
    """A request's frames up to its body, but for stream and length."""

    start: bytes  # of the HEADERS frame, up to its stream
    block: bytes
    pack: Callable[..., bytes]  # both frames' heads, with stream and length

    @classmethod
    def of(cls, block: bytes) -> _Head:
        start = frame_header(len(block), HEADERS, END_HEADERS, 0)[:5]
        return cls(start, block, struct.Struct(f">5sL{len(block)}sHBBBL").pack)


class _Upload:
    """The part of a request's body that the windows did not allow to be sent yet."""

    __slots__ = ("rest", "window")

    def __init__(self, rest: memoryview, window: int) -> None:
        self.rest = rest
        self.window = (
            window  # bytes the peer still takes on this stream; may be negative (RFC 9113 6.9.2)
        )


class Connection(asyncio.Protocol):
    """A client connection for some gRPC methods. `send` queues, `flush` writes.

    Calls in flight are bounded by the caller (one per Exchange) and the peer (`streams_max`).
    A connection has 2**30 streams in it, hours more than any run.
    """

    def __init__(self, paths: tuple[str, ...], authority: str) -> None:
        self.authority = authority
        self.streams_max = WINDOW_MAX
        self.closed = False
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._transport: asyncio.Transport | None = None
        self._blocks = ResponseBlocks()
        self._streams: dict[int, Exchange] = {}
        self._feeds: dict[int, Feed] = {}
        self._feed_streams: dict[Feed, int] = {}
        self._held: dict[Feed, None] = {}  # with messages that wait for a window
        self._uploads: dict[int, _Upload] = {}
        self._out: list[bytes | memoryview] = []
        self._rest = b""  # bytes of a frame that is not complete yet
        self._headers: tuple[int, int, bytes] | None = (
            None  # stream, flags, block until END_HEADERS
        )
        self._next_stream = 1
        self._window = WINDOW_DEFAULT
        self._stream_window = WINDOW_DEFAULT
        self._frame_size = FRAME_SIZE_DEFAULT
        self._small = FRAME_SIZE_DEFAULT  # a body up to this size goes out as one frame at once
        self._received = 0
        self._reason = "connection closed by the client"
        self._paths = paths
        self._requests = RequestBlocks(authority)
        self._heads: list[_Head | None] = [None] * len(paths)  # None: not called yet

    # Calls.

    def send(self, exchange: Exchange, body: bytes, method: int = 0) -> None:
        """Start a call of a method (its place in `paths`). Not on a closed connection.

        `body` is the request with its gRPC prefix.
        """
        request = self._heads[method] or self._introduce(method)
        stream = self._next_stream
        self._next_stream = stream + 2
        self._streams[stream] = exchange
        size = len(body)
        if size <= self._small and size <= self._window:
            self._window -= size
            start, block, pack = request
            head = pack(start, stream, block, size >> 8, size & 0xFF, DATA, END_STREAM, stream)
            self._out += (head, body)
        else:
            self._out.append(request.start + stream.to_bytes(4, "big") + request.block)
            self._uploads[stream] = _Upload(memoryview(body), self._stream_window)
            self._pump()

    def open(self, feed: Feed, method: int) -> None:
        """Start a stream of messages both ways; see `write`."""
        request = self._heads[method] or self._introduce(method)
        stream = self._next_stream
        self._next_stream = stream + 2
        feed.window = self._stream_window
        self._feeds[stream] = feed
        self._feed_streams[feed] = stream
        self._out.append(request.start + stream.to_bytes(4, "big") + request.block)

    def write(self, feed: Feed, message: bytes) -> None:
        """Queue a message, gRPC prefix included, on a stream that is open; else nothing."""
        if feed in self._feed_streams:
            feed.waiting += message
            self._pump_feed(feed)

    def flush(self) -> None:
        """Write what is queued; done after each read anyway, by the owner after other sends."""
        if self._out and self._transport is not None:
            self._transport.write(b"".join(self._out))
        self._out.clear()

    def expire(self, started_before: float, reason: str) -> None:
        """Cancel the calls that started before a time, telling their exchanges and the peer."""
        late = []
        for stream, exchange in self._streams.items():
            if exchange.started >= started_before:
                break  # streams stand in the order in which they started
            late.append(stream)
        now = monotonic()
        for stream in late:
            self._out.append(frame(RST_STREAM, 0, stream, CANCEL.to_bytes(4, "big")))
            self._fail(stream, reason, now)
        self.flush()

    def close(self) -> None:
        """Close; calls in flight fail, streams end."""
        if self._transport is not None:
            self._transport.close()

    @property
    def in_flight(self) -> int:
        """Calls waiting for their answer."""
        return len(self._streams)

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A cast, because uvloop's transport does not derive from asyncio.Transport.
        self._transport = cast("asyncio.Transport", transport)
        wanted = {HEADER_TABLE_SIZE: 0, ENABLE_PUSH: 0, INITIAL_WINDOW_SIZE: WINDOW_MAX}
        more = window_update(0, WINDOW_MAX - WINDOW_DEFAULT)
        self._transport.write(PREFACE + settings(wanted) + more)

    def connection_lost(self, error: Exception | None) -> None:
        self.closed = True
        if error is not None:
            self._reason = f"connection lost: {error}"
        reason = f"{self.authority}: {self._reason}"
        if not self.ready.done():
            self.ready.set_exception(ConnectionError(reason))
        now = monotonic()
        for stream in (*self._streams, *self._feeds):
            self._fail(stream, reason, now)

    def eof_received(self) -> None:
        if self._reason == "connection closed by the client":
            self._reason = "connection closed by the server"

    def data_received(self, data: bytes) -> None:
        now = monotonic()
        try:
            start = self._complete_frame(data, now) if self._rest else 0
            if start < len(data):
                self._rest = data[self._read(data, start, now) :]
        except ProtocolError as error:
            self._reason = str(error)
            self.close()
            return
        if self._received > _WINDOW_REFILL:
            self._out.append(window_update(0, self._received))
            self._received = 0
        self.flush()

    # Reading.

    def _complete_frame(self, data: bytes, now: float) -> int:
        """Handle the frame that began in an earlier read; the position in `data` after it.

        Only that frame is copied, not the whole read.
        """
        rest = self._rest
        header = (rest + data[:FRAME_HEADER_SIZE])[:FRAME_HEADER_SIZE]
        missing = FRAME_HEADER_SIZE + int.from_bytes(header[:3], "big") - len(rest)
        if len(header) < FRAME_HEADER_SIZE or missing > len(data):
            self._rest = rest + data
            return len(data)
        self._rest = b""
        self._read(rest + data[:missing], 0, now)
        return missing

    def _read(self, data: bytes, position: int, now: float) -> int:
        """Handle every whole frame; the position of the first that is not whole."""
        unpack = FRAME_HEADER.unpack_from
        streams = self._streams
        known = self._blocks.get
        last = len(data) - FRAME_HEADER_SIZE
        while position <= last:
            high, low, kind, flags, stream = unpack(data, position)
            start = position + FRAME_HEADER_SIZE
            end = start + (high << 8 | low)
            if end > len(data):
                break
            if kind == DATA and flags == 0:
                self._received += end - start
                exchange = streams.get(stream)
                if exchange is not None:
                    if exchange.body:
                        exchange.more.append(data[start:end])
                    else:
                        exchange.body = data[start:end]
                elif stream in self._feeds:
                    self._feed(stream, data[start:end], now)
            elif kind == HEADERS and flags == END_HEADERS | END_STREAM:
                block = data[start:end]
                exchange = streams.pop(stream, None)
                if self._uploads:
                    self._stop_upload(stream)
                if exchange is not None:
                    if exchange.more:
                        exchange.join()
                    exchange.answered(known(block) or self._blocks.decode(block), now)
                elif stream in self._feeds:
                    self._end_feed(stream, known(block) or self._blocks.decode(block), now)
            else:
                self._handle(kind, flags, stream, data[start:end], now)
            position = end
        return position

    def _handle(self, kind: int, flags: int, stream: int, payload: bytes, now: float) -> None:
        """Every frame but the two of a plain answer."""
        if kind == HEADERS:
            self._handle_headers(flags, stream, unpadded(payload, flags), now)
        elif kind == CONTINUATION:
            if self._headers is None:
                raise ProtocolError("CONTINUATION without HEADERS")
            stream, first_flags, block = self._headers
            self._handle_headers(first_flags | flags & END_HEADERS, stream, block + payload, now)
        elif kind == DATA:
            self._handle_data(flags, stream, payload, now)
        elif kind == WINDOW_UPDATE:
            self._handle_window(stream, int.from_bytes(payload, "big") & WINDOW_MAX)
        elif kind == SETTINGS:
            self._handle_settings(flags, payload)
        elif kind == PING and not flags & ACK:
            self._out.append(frame(PING, ACK, 0, payload))
        elif kind == RST_STREAM:
            code = error_name(int.from_bytes(payload, "big"))
            self._fail(stream, f"{self.authority}: stream reset by the server: {code}", now)
        elif kind == GOAWAY:
            self._handle_goaway(payload)

    def _handle_headers(self, flags: int, stream: int, block: bytes, now: float) -> None:
        if not flags & END_HEADERS:
            self._headers = (stream, flags, block)
            return
        self._headers = None
        outcome = self._blocks.get(block) or self._blocks.decode(block)
        if flags & END_STREAM:
            exchange = self._streams.pop(stream, None)
            self._stop_upload(stream)
            if exchange is not None:
                exchange.join()
                exchange.answered(outcome, now)
            elif stream in self._feeds:
                self._end_feed(stream, outcome, now)
        elif outcome.http_status != 200:
            self._fail(stream, f"{self.authority}: HTTP status {outcome.http_status}", now)

    def _handle_data(self, flags: int, stream: int, payload: bytes, now: float) -> None:
        self._received += len(payload)
        exchange = self._streams.get(stream)
        if exchange is not None:
            exchange.more.append(unpadded(payload, flags))
        elif stream in self._feeds:
            self._feed(stream, unpadded(payload, flags), now)
        if flags & END_STREAM:
            self._fail(stream, f"{self.authority}: answer without a grpc-status", now)

    def _handle_window(self, stream: int, increment: int) -> None:
        if stream == 0:
            self._window += increment
        elif stream in self._uploads:
            self._uploads[stream].window += increment
        elif stream in self._feeds:
            self._feeds[stream].window += increment
            self._pump_feed(self._feeds[stream])
        if self._uploads or self._held:
            self._pump()

    def _handle_settings(self, flags: int, payload: bytes) -> None:
        if flags & ACK:
            return
        values = parse_settings(payload)
        self._frame_size = values.get(MAX_FRAME_SIZE, self._frame_size)
        self.streams_max = values.get(MAX_CONCURRENT_STREAMS, self.streams_max)
        window = values.get(INITIAL_WINDOW_SIZE, self._stream_window)
        for upload in self._uploads.values():
            upload.window += window - self._stream_window
        for feed in self._feeds.values():
            feed.window += window - self._stream_window
        self._stream_window = window
        self._small = min(self._frame_size, window)
        if values.get(HEADER_TABLE_SIZE, _HEADER_TABLE_NEEDED) < _HEADER_TABLE_NEEDED:
            raise ProtocolError("the server's header table is too small for this client")
        self._out.append(frame(SETTINGS, ACK, 0))
        if not self.ready.done():
            self.ready.set_result(None)
        self._pump()

    def _handle_goaway(self, payload: bytes) -> None:
        code = error_name(int.from_bytes(payload[4:8], "big"))
        note = payload[8:].decode("utf-8", "replace")
        self._reason = f"server closes the connection: {code} {note}".rstrip()
        # Calls on accepted streams could still be answered, but a closed loop would add new ones.
        self.close()

    # Writing.

    def _introduce(self, method: int) -> _Head:
        """The head of a method's first call; what it enters at the peer shifts all indices."""
        first = _Head.of(self._requests.first(self._paths[method]))
        for each, path in enumerate(self._paths):
            if each == method or self._heads[each] is not None:
                self._heads[each] = _Head.of(self._requests.following(path))
        return first

    def _pump(self) -> None:
        """Send of the waiting bodies what the windows allow, oldest first."""
        for feed in list(self._held):
            self._pump_feed(feed)
        for stream in list(self._uploads):
            upload = self._uploads[stream]
            while self._window > 0 and upload.window > 0 and len(upload.rest) > 0:
                size = min(self._window, upload.window, self._frame_size, len(upload.rest))
                last = END_STREAM if size == len(upload.rest) else 0
                self._out += (frame_header(size, DATA, last, stream), upload.rest[:size])
                upload.rest = upload.rest[size:]
                upload.window -= size
                self._window -= size
            if not upload.rest:
                del self._uploads[stream]
            if self._window <= 0:
                return

    def _stop_upload(self, stream: int) -> None:
        """The answer came before the whole request was sent (a refusal): send no more of it."""
        if self._uploads.pop(stream, None) is not None:
            self._out.append(frame(RST_STREAM, 0, stream, CANCEL.to_bytes(4, "big")))

    def _fail(self, stream: int, reason: str, now: float) -> None:
        self._uploads.pop(stream, None)
        exchange = self._streams.pop(stream, None)
        if exchange is not None:
            exchange.failed(reason, now)
        feed = self._forget_feed(stream)
        if feed is not None:
            feed.ended(reason, now)

    # Streams of messages.

    def _feed(self, stream: int, payload: bytes, now: float) -> None:
        more = self._feeds[stream].take(payload, now)
        if more:
            self._out.append(window_update(stream, more))

    def _end_feed(self, stream: int, outcome: Outcome, now: float) -> None:
        feed = self._forget_feed(stream)
        if feed is not None:
            feed.end(self.authority, outcome, now)

    def _forget_feed(self, stream: int) -> Feed | None:
        feed = self._feeds.pop(stream, None)
        if feed is not None:
            del self._feed_streams[feed]
            self._held.pop(feed, None)
        return feed

    def _pump_feed(self, feed: Feed) -> None:
        """Send of the waiting messages what the windows allow."""
        stream = self._feed_streams[feed]
        while feed.waiting and self._window > 0 and feed.window > 0:
            size = min(self._window, feed.window, self._frame_size, len(feed.waiting))
            self._out += (frame_header(size, DATA, 0, stream), bytes(feed.waiting[:size]))
            del feed.waiting[:size]
            feed.window -= size
            self._window -= size
        if feed.waiting:
            self._held[feed] = None
        else:
            self._held.pop(feed, None)


async def connect(endpoint: str, paths: tuple[str, ...], timeout: float) -> Connection:
    """Connect to `host:port` and wait, `timeout` seconds at most, for the server's settings.

    Raises ConnectionError with the endpoint in its text.
    """
    host, _, port = endpoint.rpartition(":")
    if not host or not port.isdigit():
        raise ConnectionError(f"{endpoint!r} is no endpoint: want HOST:PORT")
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(timeout):
            try:
                _, connection = await loop.create_connection(
                    lambda: Connection(paths, endpoint), host.strip("[]"), int(port)
                )
            except OSError as error:
                raise ConnectionError(f"{endpoint}: cannot connect: {error}") from error
            try:
                await connection.ready
            except BaseException:
                connection.close()
                raise
    except TimeoutError as error:
        raise ConnectionError(f"{endpoint}: no answer in {timeout:g} s") from error
    return connection

"""Three replicas in one process behind one real HTTP/2 connection, with nothing in between.

Production's code from a client's frames to the answer's frames: the shim, the drivers, frames
between the replicas, logs, and RocksDB as the index. Only sockets and disks are replaced (memory),
and the order of things is always the same, so that counts of calls are as well.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, cast

from hpack import Encoder

from etcdshim.asgi import GrpcApp, Unary
from etcdshim.asgi_wire import frame as message
from etcdshim.backend import Backend
from etcdshim.grpc_unary import UnaryCalls
from etcdshim.header import Headers
from etcdshim.http2 import frames
from etcdshim.http2.connection import Calls, Connection, Serving
from etcdshim.http2.frames import DATA, END_HEADERS, END_STREAM, HEADERS
from etcdshim.kv import KvService
from etcdshim.limits import Limits
from etcdshim.pb import rpc_pb2 as pb
from racos.core.messages import Buffer
from racos.core.quorum import Quorum
from racos.core.replica import Settings
from racos.erasure.codec import Codec
from racos.mvcc.command import CodedValue, Command, Range, RangeResult, Result
from racos.node.driver import Driver
from racos.storage.index import Index
from racos.storage.log import Batch, Log
from racos.storage.memdisk import MemDisk
from racos.transport.frame import Decoder, encode

REPLICAS = 3
_ROUNDS_MAX = 100  # of everyone's turn; a put takes about four
PUT, RANGE = "/etcdserverpb.KV/Put", "/etcdserverpb.KV/Range"


class Socket:
    """The server's end of a client's connection: what is written is kept."""

    def __init__(self) -> None:
        self.written: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def writelines(self, parts: Sequence[Buffer]) -> None:
        self.written.append(b"".join(parts))

    def get_extra_info(self, _name: str) -> None:
        return None

    def close(self) -> None:
        """The connection's last word."""


class Client:
    """A client's frames, and the server's connection that reads them. Needs a running loop."""

    def __init__(self, backend: Backend, calls: Calls | None = None) -> None:
        """`calls`: who serves unary calls instead of the backend's KV service."""
        self._encoder = Encoder()
        self._stream = 1
        kv = KvService(backend, Limits(), Headers(backend))
        handlers: dict[str, tuple[Any, Callable[..., Awaitable[Any]]]] = {
            PUT: (pb.PutRequest, kv.put),
            RANGE: (pb.RangeRequest, kv.range),
        }
        routes = {path: Unary(kind, cast("Any", done)) for path, (kind, done) in handlers.items()}
        unary = calls or cast("Calls", UnaryCalls(GrpcApp(routes, cast("Any", None))))
        serving = Serving(None, unary, 1000, 1 << 24, lambda _connection: None)
        self.socket = Socket()
        self.connection = Connection(serving)
        self.connection.connection_made(cast("Any", self.socket))
        window = frames.window_update(0, frames.WINDOW_MAX - frames.WINDOW_DEFAULT)
        self.connection.data_received(frames.PREFACE + frames.settings({}) + window)
        self.socket.written.clear()

    def request(self, path: str, body: bytes) -> bytes:
        """The frames of one unary call."""
        stream, self._stream = self._stream, self._stream + 2
        fields = [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", path),
            (":authority", "127.0.0.1:2379"),
            ("content-type", "application/grpc"),
            ("user-agent", "rig"),
            ("te", "trailers"),
        ]
        head = frames.frame(HEADERS, END_HEADERS, stream, self._encoder.encode(fields))
        data, parts = message(body), []
        for at in range(0, len(data), frames.FRAME_SIZE_DEFAULT):
            part = data[at : at + frames.FRAME_SIZE_DEFAULT]
            last = at + len(part) == len(data)
            parts.append(frames.frame(DATA, END_STREAM if last else 0, stream, part))
        return head + b"".join(parts)

    def answers(self) -> int:
        """How many calls were answered with status OK since the last time."""
        written = b"".join(self.socket.written)
        self.socket.written.clear()
        count = position = 0
        while position < len(written):
            high, low, kind, flags, _ = frames.FRAME_HEADER.unpack_from(written, position)
            position += frames.FRAME_HEADER_SIZE + (high << 8 | low)
            ends = kind == HEADERS and flags & END_STREAM
            count += bool(ends) and written[:position].endswith(b"grpc-status\x010")
        return count


class _Port:
    """One replica's link and flusher: real frames, and syncs at once."""

    def __init__(self, rig: Rig, lane: int) -> None:
        self._rig = rig
        self._lane = lane
        self.decoders = [Decoder() for _ in range(REPLICAS)]

    def send(self, lane: int, header: bytes, blobs: Sequence[Buffer] = ()) -> bool:
        self._rig.mail.append((self._lane, lane, encode(header, blobs)))
        return True

    def start(self, batch: Batch) -> bool:
        batch.run()
        return True


class Rig:
    """The replicas, and what the shim needs of the first one (`etcdshim.backend.Backend`, as far as
    puts and ranges go). Needs a running loop."""

    cluster_id, member_id, term = 9, 1, 1

    def __init__(self, directory: Path) -> None:
        self.now = 0.0
        self.mail: list[tuple[int, int, list[Buffer]]] = []
        self._loop = asyncio.get_running_loop()
        # The services' timers go by the rig's clock too: counts do not depend on the machine.
        self._loop.time = lambda: self.now  # type: ignore[method-assign]
        self._indexes = [
            Index(directory / str(lane), member_id=lane + 1, cluster_id=9)
            for lane in range(REPLICAS)
        ]
        self._ports = [_Port(self, lane) for lane in range(REPLICAS)]
        self.drivers = [self._start(lane) for lane in range(REPLICAS)]
        for driver in self.drivers:
            for other in range(REPLICAS):
                if other != driver.me:
                    driver.on_up(other)
        self.settle()
        self.client = Client(cast("Backend", self))

    def _start(self, lane: int) -> Driver:
        log = Log.open(MemDisk(random.Random(lane)), member_id=lane + 1, cluster_id=9)
        quorum = Quorum(REPLICAS, 1, 2)
        port = self._ports[lane]
        return Driver(
            Settings(quorum, lane, b"rig", 1),
            log,
            Codec(2, REPLICAS),
            port,
            port,
            lambda: self.now,
            shelf=self._indexes[lane],
        )

    def close(self) -> None:
        for index in self._indexes:
            index.close()

    # -- what the shim asks ------------------------------------------------------------------------

    def propose(self, command: Command) -> asyncio.Future[Result]:
        future: asyncio.Future[Result] = self._loop.create_future()
        self.drivers[0].submit(command, future)
        return future

    def barrier(self) -> asyncio.Future[None]:
        future: asyncio.Future[None] = self._loop.create_future()
        self.drivers[0].read(future)
        return future

    def range(self, request: Range) -> RangeResult:
        return self.drivers[0].store.range(request)

    def cached(self, value: CodedValue) -> bytes | None:
        return self.drivers[0].values.cache.get(value)

    def has_room(self, _cost: int) -> bool:
        return True

    def fits(self, _cost: int) -> bool:
        return True

    # -- a client's calls --------------------------------------------------------------------------

    def put(self, keys: Sequence[bytes], value: bytes) -> bytes:
        """The frames of puts that arrive in one read."""
        bodies = [pb.PutRequest(key=key, value=value).SerializeToString() for key in keys]
        return b"".join([self.client.request(PUT, body) for body in bodies])

    def get(self, keys: Sequence[bytes]) -> bytes:
        """The same of linearizable gets."""
        bodies = [pb.RangeRequest(key=key).SerializeToString() for key in keys]
        return b"".join([self.client.request(RANGE, body) for body in bodies])

    async def serve(self, data: bytes, calls: int) -> None:
        """Let the server read `data`, and everyone work until nothing more follows from it. Time
        stands still."""
        self.client.connection.data_received(data)
        answered = 0
        due = {0}  # who has something to do: production takes no turn for nothing either
        for _ in range(_ROUNDS_MAX):
            self._round(due)
            due = set()
            await asyncio.sleep(0)  # answers ...
            await asyncio.sleep(0)  # ... and their one write
            answered += self.client.answers()
            if answered == calls and not self.mail:
                return
        raise AssertionError(f"{answered} of {calls} calls answered")

    def settle(self) -> None:
        """Let time pass: the timers' work, and what needs no hurry."""
        self.now += 0.06
        self._round(set(range(REPLICAS)))
        while self.mail:
            self._round(set())

    def _round(self, due: set[int]) -> None:
        """Everyone's mail, and the turns of those who got some or are due."""
        mail, self.mail = self.mail, []
        due = due | {receiver for _, receiver, _ in mail}
        for sender, receiver, parts in mail:
            decoder = self._ports[receiver].decoders[sender]
            for header, blobs in decoder.feed(b"".join(parts)):
                self.drivers[receiver].on_frame(sender, header, blobs)
        for lane in sorted(due):
            while self.drivers[lane].turn():
                pass

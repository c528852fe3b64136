"""The mesh: every replica connected to every other one over TCP.

Each replica dials all others; a dialled connection sends, an accepted one receives. A broken one is
dialled again at once, then with a back-off up to half a second; a peer that dials us is dialled
back without waiting.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from racos.transport.connection import HANDSHAKE_SECONDS, Incoming, IncomingEvents, Outgoing
from racos.transport.frame import FRAME_BYTES_MAX, HEAD_BYTES, Buffer, encode
from racos.transport.handshake import Refused, Self, parse_url
from racos.transport.link import FrameHandler, LaneHandler

__all__ = ["Mesh", "PeerStatistics", "Statistics"]

_BACKOFF_SECONDS_MIN = 0.02
_BACKOFF_SECONDS_MAX = 0.5
# A connection that held this long was good: the next loss is dialled again at once.
_STABLE_SECONDS = 1.0
_UNKNOWN_CONNECTIONS_MAX = 64  # accepted, hello not seen yet
_CLOSE_SECONDS = 1.0
_LOG_SECONDS = 60.0
_LOG_SUBJECTS_MAX = 256

_log = logging.getLogger(__name__)


class PeerStatistics(NamedTuple):
    """Counters of one peer since the start."""

    lane: int
    up: bool
    attempts: int  # to connect
    connects: int
    frames_sent: int
    bytes_sent: int
    frames_dropped: int  # send returned False
    queued_bytes: int
    frames_received: int
    bytes_received: int


class Statistics(NamedTuple):
    peers: tuple[PeerStatistics, ...]


class _Peer:
    """One remote replica and the two connections with it."""

    def __init__(self, lane: int, addresses: list[tuple[str, int]]) -> None:
        self.lane = lane
        self.addresses = addresses
        self.outgoing: Outgoing | None = None  # only while shaken
        self.incoming: Incoming | None = None
        self.up = False  # as last told to the owner
        self.wake = asyncio.Event()  # a sign of life: dial now
        self.attempts = 0
        self.connects = 0
        self.frames_sent = 0
        self.bytes_sent = 0
        self.frames_dropped = 0
        self.frames_received = 0  # on connections that ended
        self.bytes_received = 0

    def statistics(self) -> PeerStatistics:
        now = self.incoming
        queued = self.outgoing.transport.get_write_buffer_size() if self.outgoing else 0
        return PeerStatistics(
            lane=self.lane,
            up=self.up,
            attempts=self.attempts,
            connects=self.connects,
            frames_sent=self.frames_sent,
            bytes_sent=self.bytes_sent,
            frames_dropped=self.frames_dropped,
            queued_bytes=queued,
            frames_received=self.frames_received + (now.frames_received if now else 0),
            bytes_received=self.bytes_received + (now.bytes_received if now else 0),
        )


class Mesh:
    """Implements `racos.transport.link.Link` over TCP; belongs to one event loop.

    `on_up(lane)` means frames can be sent; `on_down(lane)` that either direction broke. They
    alternate for each lane, starting with up. What was queued when a connection broke is lost.
    """

    def __init__(
        self,
        *,
        lane: int,
        cluster_id: int,
        member_ids: Sequence[int],
        listen: Sequence[str],
        peers: Mapping[int, Sequence[str]],
        on_frame: FrameHandler,
        on_up: LaneHandler,
        on_down: LaneHandler,
        window: int = 0,
        queue_bytes_max: int = 64 << 20,
        frame_bytes_max: int = FRAME_BYTES_MAX,
    ) -> None:
        """`member_ids` by lane; urls are http://host:port, several per peer are tried in turn.

        `queue_bytes_max` bounds what waits for one peer. ValueError for a bad url.
        """
        if set(peers) | {lane} != set(range(len(member_ids))):
            raise ValueError(f"peers {sorted(peers)} do not match {len(member_ids)} members")
        self._own = Self(cluster_id, lane, tuple(member_ids), window)
        self._listen = [(url, *parse_url(url)) for url in listen]
        self._peers = {
            other: _Peer(other, [parse_url(url) for url in urls])
            for other, urls in peers.items()
            if other != lane
        }
        self._on_frame = on_frame
        self._on_up = on_up
        self._on_down = on_down
        self._queue_bytes_max = queue_bytes_max
        self._frame_bytes_max = frame_bytes_max
        self._servers: list[asyncio.Server] = []
        self._dialers: list[asyncio.Task[None]] = []
        self._accepted: set[Incoming] = set()
        self._dialled: set[Outgoing] = set()
        self._disconnected = asyncio.Event()  # set when a connection ended
        self._closing = False
        self._logged: dict[str, float] = {}  # by subject, when to log again

    async def start(self) -> None:
        """Listen, and begin to dial. OSError names the url that cannot be listened on."""
        loop = asyncio.get_running_loop()
        for url, host, port in self._listen:
            try:
                server = await loop.create_server(self._accept, host, port)
            except OSError as error:
                await self.close()
                reason = error.strerror or str(error)
                raise OSError(error.errno, f"cannot listen for peers on {url}: {reason}") from None
            self._servers.append(server)
        for peer in self._peers.values():
            task = loop.create_task(self._dial(peer), name=f"dial lane {peer.lane}")
            task.add_done_callback(_report_failure)
            self._dialers.append(task)

    async def close(self) -> None:
        """Close everything, within seconds; no callback is called any more."""
        self._closing = True
        for task in self._dialers:
            task.cancel()
        await asyncio.gather(*self._dialers, return_exceptions=True)
        for server in self._servers:
            server.close()
        for incoming in list(self._accepted):
            incoming.transport.abort()
        for outgoing in list(self._dialled):
            outgoing.transport.close()  # after what is queued
        with suppress(TimeoutError):
            await self._wait_disconnected()
        for outgoing in list(self._dialled):
            outgoing.transport.abort()
        with suppress(TimeoutError):
            await self._wait_disconnected()
            async with asyncio.timeout(_CLOSE_SECONDS):
                await asyncio.gather(*(server.wait_closed() for server in self._servers))

    def send(self, lane: int, header: bytes, blobs: Sequence[Buffer] = ()) -> bool:
        """Queue a frame for a peer. False, and nothing queued, if it is down or its queue full.

        Never blocks. The buffers are not copied: do not change them afterwards.
        """
        peer = self._peers[lane]
        size = HEAD_BYTES + len(header)
        for blob in blobs:
            size += 4 + len(blob)
        outgoing = peer.outgoing
        if outgoing is None:
            peer.frames_dropped += 1
            return False
        transport = outgoing.transport
        if transport.get_write_buffer_size() + size > self._queue_bytes_max:
            peer.frames_dropped += 1
            return False
        transport.writelines(encode(header, blobs))
        peer.frames_sent += 1
        peer.bytes_sent += size
        return True

    def statistics(self) -> Statistics:
        return Statistics(tuple(peer.statistics() for peer in self._peers.values()))

    async def _wait_disconnected(self) -> None:
        async with asyncio.timeout(_CLOSE_SECONDS):
            while self._accepted or self._dialled:
                self._disconnected.clear()
                await self._disconnected.wait()

    async def _dial(self, peer: _Peer) -> None:
        """Keep one outgoing connection to `peer`, for ever."""
        loop = asyncio.get_running_loop()
        backoff = 0.0
        while True:
            started = loop.time()
            outgoing = await self._connect(peer)
            if outgoing is not None:
                await outgoing.lost.wait()
                if loop.time() - started > _STABLE_SECONDS:
                    backoff = 0.0
            with suppress(TimeoutError):
                await asyncio.wait_for(peer.wake.wait(), backoff)
            peer.wake.clear()
            backoff = min(max(2 * backoff, _BACKOFF_SECONDS_MIN), _BACKOFF_SECONDS_MAX)

    async def _connect(self, peer: _Peer) -> Outgoing | None:
        """A shaken connection, already announced; None if it could not be had."""
        host, port = peer.addresses[peer.attempts % len(peer.addresses)]
        peer.attempts += 1
        subject = f"lane={peer.lane} address={host}:{port}"
        outgoing: Outgoing | None = None
        shaken = False
        try:
            async with asyncio.timeout(HANDSHAKE_SECONDS):
                _, outgoing = await asyncio.get_running_loop().create_connection(
                    lambda: Outgoing(self._own, peer.lane, self._outgoing_lost), host, port
                )
                self._dialled.add(outgoing)
                await outgoing.shaken
            shaken = not outgoing.lost.is_set()
        except Refused as error:
            self._log_rarely(logging.WARNING, subject, f"peer.refused {subject} peer {error}")
        except OSError as error:
            reason = error.strerror or str(error) or "no answer in time"
            self._log_rarely(logging.INFO, subject, f"peer.unreachable {subject} {reason}")
        finally:
            if outgoing is not None and not shaken:
                outgoing.transport.abort()
                await outgoing.lost.wait()
        if not shaken:
            return None
        peer.outgoing = outgoing
        peer.connects += 1
        self._tell_up(peer)
        return outgoing

    def _accept(self) -> Incoming:
        return Incoming(
            self._own,
            self._on_frame,
            IncomingEvents(
                opened=self._incoming_opened,
                admitted=self._incoming_admitted,
                refused=self._incoming_refused,
                lost=self._incoming_lost,
            ),
            self._frame_bytes_max,
        )

    def _incoming_opened(self, incoming: Incoming) -> None:
        unknown = sum(other.lane is None for other in self._accepted)
        if self._closing or unknown >= _UNKNOWN_CONNECTIONS_MAX:
            incoming.transport.abort()
        else:
            self._accepted.add(incoming)

    def _incoming_admitted(self, incoming: Incoming) -> None:
        assert incoming.lane is not None
        peer = self._peers[incoming.lane]
        if (replaced := peer.incoming) is not None:
            # The peer dialled anew before we noticed that its old connection was gone.
            replaced.transport.abort()
            self._end_incoming(peer, replaced)
        peer.incoming = incoming
        peer.wake.set()
        if peer.outgoing is not None:
            self._tell_up(peer)

    def _incoming_refused(self, host: str, reason: str) -> None:
        subject = f"from={host} peer {reason}"
        self._log_rarely(logging.WARNING, subject, f"peer.rejected {subject}")

    def _incoming_lost(self, incoming: Incoming) -> None:
        self._accepted.discard(incoming)
        self._disconnected.set()
        if incoming.lane is not None and self._peers[incoming.lane].incoming is incoming:
            self._end_incoming(self._peers[incoming.lane], incoming)

    def _end_incoming(self, peer: _Peer, incoming: Incoming) -> None:
        peer.incoming = None
        peer.frames_received += incoming.frames_received
        peer.bytes_received += incoming.bytes_received
        self._tell_down(peer)

    def _outgoing_lost(self, outgoing: Outgoing) -> None:
        self._dialled.discard(outgoing)
        self._disconnected.set()
        peer = self._peers[outgoing.lane]
        if peer.outgoing is outgoing:
            peer.outgoing = None
            self._tell_down(peer)

    def _tell_up(self, peer: _Peer) -> None:
        if not peer.up and not self._closing:
            peer.up = True
            _log.info("peer.up lane=%d", peer.lane)
            self._on_up(peer.lane)

    def _tell_down(self, peer: _Peer) -> None:
        if peer.up and not self._closing:
            peer.up = False
            _log.info("peer.down lane=%d", peer.lane)
            self._on_down(peer.lane)

    def _log_rarely(self, level: int, subject: str, line: str) -> None:
        """One line per subject and minute, and a bounded number of subjects."""
        now = asyncio.get_running_loop().time()
        if len(self._logged) >= _LOG_SUBJECTS_MAX:
            self._logged = {key: due for key, due in self._logged.items() if due > now}
        known = subject in self._logged
        if known and self._logged[subject] > now:
            return
        if known or len(self._logged) < _LOG_SUBJECTS_MAX:
            self._logged[subject] = now + _LOG_SECONDS
            _log.log(level, line)


def _report_failure(dialer: asyncio.Task[None]) -> None:
    """A dialer ends only by an error of ours: say so at once, not when it is collected."""
    if not dialer.cancelled() and (error := dialer.exception()) is not None:
        dialer.get_loop().call_exception_handler(
            {"message": f"{dialer.get_name()} failed", "exception": error, "task": dialer}
        )

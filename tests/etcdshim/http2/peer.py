"""A client that speaks raw frames: it can say what a well-behaved one never would."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from typing import NamedTuple

from hpack import Decoder, Encoder

from etcdshim.asgi_wire import frame as message
from etcdshim.http2 import frames
from etcdshim.http2.frames import DATA, END_HEADERS, END_STREAM, FRAME_HEADER, HEADERS

PATIENCE = 5.0


class Frame(NamedTuple):
    kind: int
    flags: int
    stream: int
    payload: bytes


class RawPeer:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.encoder = Encoder()
        self.decoder = Decoder()

    @classmethod
    async def connect(cls, address: str, settings: dict[int, int] | None = None) -> RawPeer:
        host, _, port = address.rpartition(":")
        peer = cls(*await asyncio.open_connection(host, int(port)))
        peer.send(frames.PREFACE + frames.settings(settings or {}))
        return peer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    def head(self, path: str, *more: tuple[str, str]) -> list[tuple[str, str]]:
        return [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", path),
            (":authority", "test"),
            ("content-type", "application/grpc"),
            ("te", "trailers"),
            *more,
        ]

    def request(self, stream: int, path: str, body: bytes, *more: tuple[str, str]) -> bytes:
        """The frames of a whole unary call."""
        block = self.encoder.encode(self.head(path, *more))
        return frames.frame(HEADERS, END_HEADERS, stream, block) + frames.frame(
            DATA, END_STREAM, stream, message(body)
        )

    async def next(self) -> Frame | None:
        """The next frame; None at the connection's end."""
        try:
            async with asyncio.timeout(PATIENCE):
                raw = await self.reader.readexactly(9)
                high, low, kind, flags, stream = FRAME_HEADER.unpack(raw)
                return Frame(kind, flags, stream, await self.reader.readexactly(high << 8 | low))
        except (asyncio.IncompleteReadError, ConnectionResetError):
            return None

    async def until(self, kind: int, stream: int | None = None) -> Frame:
        """The next frame of a kind; others are passed over."""
        while (frame := await self.next()) is not None:
            if frame.kind == kind and stream in (None, frame.stream):
                return frame
        raise AssertionError(f"the connection ended without a frame of kind {kind}")

    async def answer(self, stream: int) -> tuple[bytes, dict[str, str]]:
        """Body and all header fields of an answer."""
        body, fields = b"", {}
        while (frame := await self.next()) is not None:
            if frame.kind == HEADERS:
                found = self.decoder.decode(frame.payload)
                if frame.stream == stream:
                    fields.update({str(n): str(v) for n, v in found})
            elif frame.kind == DATA and frame.stream == stream:
                body += frame.payload
            elif frame.kind == frames.RST_STREAM and frame.stream == stream:
                code = int.from_bytes(frame.payload, "big")
                return body, {**fields, "reset": frames.error_name(code)}
            if frame.stream == stream and frame.flags & END_STREAM and frame.kind <= HEADERS:
                return body, fields
        return body, {**fields, "closed": "yes"}

    async def goaway(self) -> tuple[str, str]:
        """Why the server closes the connection, which it then must do."""
        frame = await self.until(frames.GOAWAY)
        _last, code = struct.unpack(">LL", frame.payload[:8])
        while (await self.next()) is not None:
            pass
        return frames.error_name(code), frame.payload[8:].decode()

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()

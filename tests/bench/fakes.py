"""A transport that keeps what is written, and frames as a server would send them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import cast

from hpack import Encoder

from bench.frames import (
    Outcome,
)
from bench.h2 import Connection, Exchange
from bench.workload import PUT_PATH, framed
from etcdshim.http2.frames import (
    DATA,
    END_HEADERS,
    END_STREAM,
    FRAME_HEADER,
    FRAME_HEADER_SIZE,
    HEADERS,
    PREFACE,
    frame,
    settings,
)


@dataclass(frozen=True)
class Frame:
    kind: int
    flags: int
    stream: int
    payload: bytes


class Wire:
    """The written bytes of one connection, read back as frames."""

    def __init__(self) -> None:
        self.written = bytearray()
        self.closed = False

    def write(self, data: bytes) -> None:
        self.written += data

    def close(self) -> None:
        self.closed = True

    def frames(self) -> list[Frame]:
        """What was written since the last call."""
        data = bytes(self.written).removeprefix(PREFACE)
        self.written.clear()
        found = []
        while data:
            high, low, kind, flags, stream = FRAME_HEADER.unpack_from(data)
            end = FRAME_HEADER_SIZE + (high << 8 | low)
            assert end <= len(data), "a frame was cut"
            found.append(Frame(kind, flags, stream, data[FRAME_HEADER_SIZE:end]))
            data = data[end:]
        return found


class Recorded(Exchange):
    """An exchange that keeps how its call ended."""

    __slots__ = ("failure", "outcome")

    def __init__(self) -> None:
        super().__init__()
        self.outcome: Outcome | None = None
        self.failure = ""

    def answered(self, outcome: Outcome, now: float) -> None:
        assert now > 0
        self.outcome = outcome

    def failed(self, reason: str, now: float) -> None:
        assert now > 0
        self.failure = reason


def connected(server: dict[int, int] | None = None) -> tuple[Connection, Wire]:
    """A connection whose server has sent its settings; what that wrote is forgotten."""
    connection, wire = Connection((PUT_PATH,), "host:1"), Wire()
    connection.connection_made(cast("asyncio.BaseTransport", wire))
    connection.data_received(settings(server or {}))
    wire.frames()
    return connection, wire


def block(*fields: tuple[str, str]) -> bytes:
    """A header block that stands for itself."""
    encoder = Encoder()
    encoder.header_table_size = 0
    return encoder.encode(fields)


OPENING = block((":status", "200"), ("content-type", "application/grpc"))
TRAILERS = block(("grpc-status", "0"), ("grpc-message", ""))


def answer(stream: int, message: bytes, trailers: bytes = TRAILERS) -> bytes:
    """A unary answer as three frames."""
    return (
        frame(HEADERS, END_HEADERS, stream, OPENING)
        + frame(DATA, 0, stream, framed(message))
        + frame(HEADERS, END_HEADERS | END_STREAM, stream, trailers)
    )

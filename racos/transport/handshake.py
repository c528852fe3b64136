"""The first frame each way on a connection between replicas: who is speaking to whom. No I/O."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

__all__ = ["HANDSHAKE_BYTES_MAX", "PROTOCOL_VERSION", "Refused", "Self", "parse_url", "refusal"]

PROTOCOL_VERSION = 2  # 2: the window; vows
HANDSHAKE_BYTES_MAX = 1024

_HELLO = b"HELO"
_WELCOME = b"WELC"
_REFUSAL = b"NOPE"
_START = struct.Struct("<4sI")  # kind, protocol version
# and: cluster id, sender's member id, receiver's member id, rounds of the window
_LAYOUT = struct.Struct("<4sIQQQI")


class Refused(Exception):
    """The two ends do not belong together; the text completes "peer ..."."""


class Self(NamedTuple):
    """What a replica says of itself, and checks others against."""

    cluster_id: int
    lane: int
    member_ids: Sequence[int]  # by lane
    window: int = 0  # rounds; all replicas must have the same

    @property
    def member_id(self) -> int:
        return self.member_ids[self.lane]

    def hello(self, lane: int) -> bytes:
        """What the dialling end says to the replica it expects in `lane`."""
        return self._pack(_HELLO, self.member_ids[lane])

    def admit(self, frame: bytes) -> int:
        """The lane of the replica that says this hello; Refused if it must not come in."""
        sender = self._check(frame, _HELLO)
        if sender not in self.member_ids or sender == self.member_id:
            raise Refused(f"is member {sender:x}, which is no peer here")
        return self.member_ids.index(sender)

    def welcome(self, lane: int) -> bytes:
        return self._pack(_WELCOME, self.member_ids[lane])

    def check_welcome(self, frame: bytes, lane: int) -> None:
        """Raise Refused unless this is the welcome of the replica in `lane`."""
        if frame[:4] == _REFUSAL:
            raise Refused(f"refused us: {frame[4:].decode(errors='replace')}")
        sender = self._check(frame, _WELCOME)
        if sender != self.member_ids[lane]:
            raise Refused(f"is member {sender:x}, not {self.member_ids[lane]:x}")

    def _pack(self, kind: bytes, receiver: int) -> bytes:
        own = self.cluster_id, self.member_id, receiver, self.window
        return _LAYOUT.pack(kind, PROTOCOL_VERSION, *own)

    def _check(self, frame: bytes, expected: bytes) -> int:
        if len(frame) < _START.size or frame[:4] != expected:
            raise Refused("does not speak the peer protocol")
        version = _START.unpack_from(frame)[1]
        if version != PROTOCOL_VERSION:
            raise Refused(f"speaks peer protocol {version}, not {PROTOCOL_VERSION}")
        if len(frame) < _LAYOUT.size:
            raise Refused("does not speak the peer protocol")
        _, _, cluster_id, sender, receiver, window = _LAYOUT.unpack_from(frame)
        if cluster_id != self.cluster_id:
            raise Refused(f"belongs to cluster {cluster_id:x}, not {self.cluster_id:x}")
        if receiver != self.member_id:
            raise Refused(f"looks for member {receiver:x}, but this is {self.member_id:x}")
        if window != self.window:
            raise Refused(f"has a window of {window} rounds, not of {self.window}")
        return int(sender)


def refusal(reason: str) -> bytes:
    """What the accepting end says before it closes."""
    return _REFUSAL + reason.encode()[: HANDSHAKE_BYTES_MAX - len(_REFUSAL)]


def parse_url(url: str) -> tuple[str, int]:
    """Host and port of http://host:port; ValueError for anything else."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if host is None or port is None or parts.scheme != "http" or parts.path.strip("/"):
        raise ValueError(f"peer url {url!r} is not of the form http://host:port")
    return host, port

"""Bytes on the wire, from the kernel's counters of TCP connections (sock_diag(7), as `ss` does).

Counters of network interfaces would hold the traffic of everybody on the machine; those of the
connections that end at a cluster's ports hold its own, between nodes and with clients.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Collection, Iterator
from contextlib import suppress
from typing import Final, NamedTuple

_NETLINK_SOCK_DIAG: Final = 4
_SOCK_DIAG_BY_FAMILY: Final = 20
_REQUEST_DUMP: Final = 0x301  # NLM_F_REQUEST | NLM_F_DUMP
_DONE, _ERROR = 3, 2  # kinds of netlink messages
_TCP_INFO: Final = 2  # INET_DIAG_INFO: the attribute, and as a bit the wish for it
_ESTABLISHED: Final = 1 << 1

_HEADER: Final = struct.Struct("=LHHLL")  # netlink: length, kind, flags, sequence, port
_ASK: Final = struct.Struct("=BBBxL48x")  # family, protocol, attributes, states, any socket
_SOCKET: Final = struct.Struct(">4xHH36xQ")  # ports and cookie of an inet_diag_msg
_SOCKET_SIZE: Final = 72
_ATTRIBUTE: Final = struct.Struct("=HH")  # length, kind
_BYTES_ACKED: Final = 120  # offset in struct tcp_info, since Linux 4.1
_BUFFER: Final = 1 << 16
_TIMEOUT_S: Final = 1.0


class Sent(NamedTuple):
    """One end of a connection."""

    cookie: int  # the kernel's own name of the socket
    ports: tuple[int, int]  # local, remote
    sent_bytes: int  # that the other end has confirmed, without headers of TCP and below


def connections() -> Iterator[Sent]:
    """Every established TCP connection's ends on this machine; raises OSError where not told."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, _NETLINK_SOCK_DIAG) as diagnosis:
        diagnosis.settimeout(_TIMEOUT_S)
        for family in (socket.AF_INET, socket.AF_INET6):
            ask = _ASK.pack(family, socket.IPPROTO_TCP, 1 << _TCP_INFO - 1, _ESTABLISHED)
            size = _HEADER.size + len(ask)
            diagnosis.send(_HEADER.pack(size, _SOCK_DIAG_BY_FAMILY, _REQUEST_DUMP, 0, 0) + ask)
            yield from _answers(diagnosis)


def _answers(diagnosis: socket.socket) -> Iterator[Sent]:
    while True:
        data = diagnosis.recv(_BUFFER)
        at = 0
        while at < len(data):
            length, kind, *_ = _HEADER.unpack_from(data, at)
            if kind == _DONE:
                return
            if kind == _ERROR:
                raise OSError("the kernel does not tell about TCP connections")
            found = _parse(data[at + _HEADER.size : at + length])
            if found is not None:
                yield found
            at += length + 3 & ~3


def _parse(message: bytes) -> Sent | None:
    local, remote, cookie = _SOCKET.unpack_from(message)
    at = _SOCKET_SIZE
    while at < len(message):
        length, kind = _ATTRIBUTE.unpack_from(message, at)
        if kind == _TCP_INFO and length >= _ATTRIBUTE.size + _BYTES_ACKED + 8:
            (sent,) = struct.unpack_from("=Q", message, at + _ATTRIBUTE.size + _BYTES_ACKED)
            return Sent(cookie, (local, remote), sent)
        at += length + 3 & ~3
    return None


class WireMeter:
    """Bytes sent over connections that end at some ports, since the meter was made.

    Both ends of a connection within the machine are counted, each for what it sends: that is all
    bytes once. A connection counts from the first sample that shows it (one listing of the kernel
    may miss it) to the last, so sample often where connections come and go.
    """

    def __init__(self, ports: Collection[int]) -> None:
        self._ports = frozenset(ports)
        self._first: dict[int, int] = {}
        self._last: dict[int, int] = {}
        self._told = self._read()

    def sample(self) -> None:
        """Read all that are open."""
        self._read()

    def used(self) -> int | None:
        """Bytes between start and last sample; None where the kernel does not tell."""
        if not self._told:
            return None
        return sum(self._last.values()) - sum(self._first.values())

    def _read(self) -> bool:
        """Note all that are open; whether the kernel tells."""
        with suppress(OSError):
            for each in connections():
                if not self._ports.isdisjoint(each.ports):
                    self._first.setdefault(each.cookie, each.sent_bytes)
                    self._last[each.cookie] = each.sent_bytes
            return True
        return False

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from bench import wire
from bench.wire import WireMeter, connections


@contextmanager
def pair() -> Iterator[tuple[socket.socket, socket.socket, int]]:
    """Two ends of a connection and the port that one listens on."""
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as client,
    ):
        accepted, _ = server.accept()
        with accepted:
            yield client, accepted, server.getsockname()[1]


def move(source: socket.socket, target: socket.socket, size: int) -> None:
    source.sendall(bytes(size))
    while size:
        size -= len(target.recv(size))


def test_both_directions_are_counted_once() -> None:
    with pair() as (client, accepted, port), pair() as (other, other_end, _):
        move(client, accepted, 5000)
        meter = WireMeter([port])
        assert meter.used() == 0
        move(client, accepted, 30_000)
        move(accepted, client, 7000)
        move(other, other_end, 9000)
        meter.sample()
        assert meter.used() == 37_000


def test_connections_opened_later_count_and_closed_ones_keep_their_reading() -> None:
    with pair() as (_, _, port):
        meter = WireMeter([port])
        with socket.create_server(("127.0.0.1", 0)) as server:
            second = WireMeter([server.getsockname()[1]])
            with socket.create_connection(server.getsockname()) as client:
                accepted, _ = server.accept()
                with accepted:
                    second.sample()
                    move(client, accepted, 1000)
                    second.sample()
            second.sample()
        meter.sample()
    assert meter.used() == 0
    assert second.used() == 1000


def test_ends_see_each_other() -> None:
    with pair() as (client, _, port):
        local = client.getsockname()[1]
        found = {each.ports for each in connections()}
        assert {(local, port), (port, local)} <= found


def test_silent_kernel_is_no_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> object:
        raise PermissionError

    monkeypatch.setattr(wire, "connections", refuse)
    meter = WireMeter([1])
    meter.sample()
    assert meter.used() is None

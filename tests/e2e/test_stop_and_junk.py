"""How a node ends when it is told to, and what it does with bytes that are no request."""

from __future__ import annotations

import random
import resource
import signal
import socket
import time
from pathlib import Path

import grpc
import pytest

from cluster.spec import lay_out
from cluster.supervisor import LocalCluster
from tests.compat.endpoints import channel
from tests.e2e.calls import Client, Watch
from tests.e2e.serving import serving

pytestmark = [pytest.mark.process, pytest.mark.slow]

STOP_SECONDS_MAX = 2.0
PATIENCE = 20.0  # seconds

TLS_HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200)
HTTP2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda each: each.name)
def test_an_open_watch_does_not_hold_up_the_end(tmp_path: Path, number: signal.Signals) -> None:
    spec = lay_out(1, system="racos", client_port=0)
    flags = spec.node_flags(spec.nodes[0], tmp_path / "n1")
    with serving(flags) as process, channel(spec.nodes[0].endpoint) as opened:
        Client(opened).put(key=b"a", value=b"b")
        with Watch(Client(opened), b"a/", 0):
            process.send_signal(number)
            began = time.monotonic()
            assert process.wait(PATIENCE) == 0
            assert time.monotonic() - began < STOP_SECONDS_MAX


def _put_until_refused(client: Client, value: bytes) -> int:
    for number in range(100):
        try:
            client.put(key=b"k%d" % number, value=value)
        except grpc.RpcError:
            return number
    raise AssertionError("nothing was refused")


def test_a_log_that_cannot_be_written_ends_the_node_in_one_line_and_loses_nothing(
    tmp_path: Path,
) -> None:
    spec = lay_out(1, system="racos", client_port=0)
    flags = spec.node_flags(spec.nodes[0], tmp_path / "n1")
    value = random.Random(1).randbytes(300_000)
    with serving(flags) as process, channel(spec.nodes[0].endpoint) as opened:
        # As with a full disk, the kernel refuses to let the file grow.
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (2 << 20, 2 << 20))
        acknowledged = _put_until_refused(Client(opened), value)
        assert process.wait(PATIENCE) == 70
        assert process.stderr is not None
        told = process.stderr.read()
    assert "Traceback" not in told
    assert "stopped: the log cannot be written: File too large" in told
    assert 2 < acknowledged < 10
    with serving(flags), channel(spec.nodes[0].endpoint) as opened:
        for number in range(acknowledged):
            assert Client(opened).range(key=b"k%d" % number).kvs[0].value == value


@pytest.mark.parametrize(
    "junk",
    [TLS_HELLO, b"junk\r\n\r\n", HTTP2 + b"\xff" * 100, HTTP2, b"GET /health HTTP/1.1\r\n", b"\0"],
    ids=["TLS", "words", "bad frames", "half a handshake", "half a request", "zero"],
)
def test_junk_on_the_ports_harms_nobody(cluster: LocalCluster, junk: bytes) -> None:
    node = cluster.spec.nodes[0]
    with (
        socket.create_connection(("127.0.0.1", node.client_port), PATIENCE) as client,
        socket.create_connection(("127.0.0.1", node.peer_port), PATIENCE) as peer,
        channel(node.endpoint) as opened,
    ):
        client.sendall(junk)
        peer.sendall(junk)
        Client(opened).put(key=b"junk", value=junk)
        assert Client(opened).range(key=b"junk").kvs[0].value == junk
        assert cluster.is_ready(node.name)

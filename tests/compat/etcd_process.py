"""A real etcd of one node, for as long as a test module needs it."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc

_START_SECONDS_MAX = 20.0
_STOP_SECONDS_MAX = 5.0


def etcd_binary() -> str:
    """The etcd that the dev extra installs beside the interpreter, or the one on PATH."""
    beside = Path(sys.executable).with_name("etcd")
    found = str(beside) if beside.exists() else shutil.which("etcd")
    assert found, "no etcd binary: install the dev extra"
    return found


@contextmanager
def running_etcd(data_dir: Path) -> Iterator[grpc.Channel]:
    """A channel to a fresh etcd on loopback. It does not sync to disk: only its answers matter."""
    client, peer = (f"http://127.0.0.1:{port}" for port in _free_ports(2))
    log = (data_dir / "etcd.log").open("wb")
    arguments = [
        etcd_binary(),
        *("--data-dir", str(data_dir / "data"), "--unsafe-no-fsync"),
        *("--listen-client-urls", client, "--advertise-client-urls", client),
        *("--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer),
        *("--initial-cluster", f"default={peer}"),
    ]
    with log, subprocess.Popen(arguments, stdout=log, stderr=log) as process:
        try:
            with grpc.insecure_channel(client.removeprefix("http://")) as channel:
                grpc.channel_ready_future(channel).result(timeout=_START_SECONDS_MAX)
                yield channel
        finally:
            process.terminate()
            try:
                process.wait(_STOP_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                process.kill()


def _free_ports(count: int) -> list[int]:
    """Ports nobody listens on now; all are held until the last is known, so that they differ."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports

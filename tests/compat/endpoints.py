"""Two servers to send the same calls to: a real etcd process, and ours."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc

from proto.generate import ROOT

PATIENCE_S = 20.0


def find_etcd() -> str:
    """The etcd binary: on PATH, or beside this Python, where the dev extra puts it."""
    found = shutil.which("etcd") or shutil.which("etcd", path=str(Path(sys.executable).parent))
    assert found is not None, "etcd comes with the dev extra: pip install -e .[dev]"
    return found


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


@contextmanager
def real_etcd(data_dir: Path) -> Iterator[str]:
    """A fresh single etcd; its address."""
    process, address = _start_etcd(data_dir)
    try:
        yield address
    finally:
        process.kill()
        process.wait(PATIENCE_S)


def _start_etcd(data_dir: Path) -> tuple[subprocess.Popen[bytes], str]:
    """Start etcd on free ports; again on others when someone was quicker to take one."""
    for attempt in range(5):
        client, peer = (f"127.0.0.1:{port}" for port in _free_ports(2))
        command = [
            find_etcd(),
            f"--data-dir={data_dir / str(attempt)}",
            f"--listen-client-urls=http://{client}",
            f"--advertise-client-urls=http://{client}",
            f"--listen-peer-urls=http://{peer}",
            f"--initial-advertise-peer-urls=http://{peer}",
            f"--initial-cluster=default=http://{peer}",
            "--unsafe-no-fsync",
            "--log-level=error",
        ]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        if _is_listening(process, client):
            return process, client
    raise AssertionError("etcd ended at start, five times")


def _is_listening(process: subprocess.Popen[bytes], address: str) -> bool:
    """Wait until the process accepts connections; False when it ended instead."""
    host, port = address.split(":")
    deadline = time.monotonic() + PATIENCE_S
    while process.poll() is None:
        with contextlib.suppress(ConnectionRefusedError):
            socket.create_connection((host, int(port)), timeout=1).close()
            return True
        assert time.monotonic() < deadline, "etcd does not listen"
        time.sleep(0.02)
    return False


@contextmanager
def memory_server() -> Iterator[str]:
    """Ours, over the memory backend and the real gRPC layer; its address."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.compat.serve_memory"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        address = process.stdout.readline().strip()
        assert address, "the server did not start"
        yield address
    finally:
        process.stdin.close()
        process.wait(PATIENCE_S)
        process.stdout.close()


@contextmanager
def channel(address: str) -> Iterator[grpc.Channel]:
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(address, options=options) as opened:
        grpc.channel_ready_future(opened).result(PATIENCE_S)
        yield opened

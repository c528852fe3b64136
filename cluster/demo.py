"""The demonstration of `make up`: etcdctl against every node of a running cluster."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import select
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from cluster.find import find_program
from cluster.spec import ClusterError
from cluster.supervisor import Supervisor

_COMMAND_TIMEOUT = 20.0  # seconds for one etcdctl command
_LARGE_BYTES = 1024 * 1024
_WATCHED = "written elsewhere"


def demonstrate(cluster: Supervisor) -> None:
    """Runs and prints the tour. Raises ClusterError if an answer is not what it must be."""
    demo = _Demo(find_program("etcdctl"))
    endpoints = cluster.endpoints()
    # With fewer nodes than steps the tour goes round.
    first, second, third = (endpoints[i % len(endpoints)] for i in range(3))
    key = f"hello-{secrets.token_hex(3)}"

    demo.say("Write on one node, read on every other one at once")
    demo.run(["put", key, "from the first node"], first)
    for endpoint in (second, third):
        demo.run(["get", key], endpoint, wanted="from the first node")

    demo.say("A value of 1 MiB: written through one node, rebuilt on another from fragments")
    value = secrets.token_hex(_LARGE_BYTES // 2).encode()
    demo.show(["put", f"{key}-large"], second, f"< 1 MiB, sha256 {_digest(value)}")
    demo.capture(["put", f"{key}-large"], second, value)
    demo.show(["get", "--print-value-only", f"{key}-large"], third, "| sha256sum")
    found = demo.capture(["get", "--print-value-only", f"{key}-large"], third).removesuffix(b"\n")
    print(f"{len(found)} bytes, sha256 {_digest(found)}")
    _expect(found == value, "the 1 MiB value came back different")

    demo.say("Watch on one node, write on another")
    demo.watch(key, watch_at=third, put_at=second)

    everywhere = ",".join(endpoints)
    demo.say("The members (IS LEADER is only a name here: every node takes and orders writes)")
    demo.run(["member", "list", "-w", "table"], first)
    demo.run(["endpoint", "status", "-w", "table"], everywhere)
    demo.capture(["del", key], first)
    demo.capture(["del", f"{key}-large"], first)
    _farewell(cluster)


class _Demo:
    """etcdctl, with each command printed as one would type it."""

    def __init__(self, etcdctl: str) -> None:
        self._etcdctl = etcdctl
        clean = {name: text for name, text in os.environ.items() if not name.startswith("ETCD")}
        self._environ = clean | {"ETCDCTL_API": "3"}

    def say(self, title: str) -> None:
        print(f"\n# {title}", flush=True)

    def show(self, words: Sequence[str], endpoint: str, suffix: str = "") -> None:
        # Not --endpoints: etcdctl refuses it where people have exported the variable.
        line = f"ETCDCTL_ENDPOINTS={endpoint} {shlex.join(['etcdctl', *words])}"
        print(f"$ {line} {suffix}".rstrip(), flush=True)

    def run(self, words: Sequence[str], endpoint: str, *, wanted: str = "") -> None:
        """Shows the command and what it answers, which must contain `wanted`."""
        self.show(words, endpoint)
        answer = self.capture(words, endpoint).decode(errors="replace")
        print(answer.rstrip(), flush=True)
        _expect(wanted in answer, f"expected {wanted!r} in the answer above")

    def capture(self, words: Sequence[str], endpoint: str, sent: bytes = b"") -> bytes:
        try:
            done = subprocess.run(
                [self._etcdctl, *words],
                input=sent,
                capture_output=True,
                env=self._environ_for(endpoint),
                timeout=_COMMAND_TIMEOUT,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise ClusterError(f"etcdctl {words[0]} took over {_COMMAND_TIMEOUT:g} s") from None
        if done.returncode != 0:
            problem = done.stderr.decode(errors="replace").strip().splitlines()
            raise ClusterError(f"etcdctl {words[0]} failed: {problem[-1] if problem else '?'}")
        return done.stdout

    def _environ_for(self, endpoint: str) -> dict[str, str]:
        return self._environ | {"ETCDCTL_ENDPOINTS": endpoint}

    def watch(self, key: str, *, watch_at: str, put_at: str) -> None:
        """A watch at one node sees what another node is told after the watch began."""
        answer = json.loads(self.capture(["get", key, "-w", "json"], watch_at))
        # From the next revision on, so that the event is seen however late the watch gets there.
        words = ["watch", key, f"--rev={answer['header']['revision'] + 1}"]
        self.show(words, watch_at, "&")
        with subprocess.Popen(
            [self._etcdctl, *words],
            stdout=subprocess.PIPE,
            env=self._environ_for(watch_at),
        ) as watcher:
            try:
                self.run(["put", key, _WATCHED], put_at)
                print(f"the watch: {' '.join(_output_until(_WATCHED, watcher).split())}")
            finally:
                watcher.kill()


def _output_until(wanted: str, process: subprocess.Popen[bytes]) -> str:
    """What a process prints, up to and with the wanted words. Raises ClusterError in time."""
    assert process.stdout is not None
    poller = select.poll()
    poller.register(process.stdout, select.POLLIN)
    deadline = time.monotonic() + _COMMAND_TIMEOUT
    output = b""
    while wanted.encode() not in output:
        if not poller.poll(max(0.0, deadline - time.monotonic()) * 1000):
            raise ClusterError(f"the watch has not seen the write in {_COMMAND_TIMEOUT:g} s")
        chunk = os.read(process.stdout.fileno(), 65536)
        if not chunk:
            raise ClusterError("the watch ended before it saw the write")
        output += chunk
    return output.decode(errors="replace")


def _digest(value: bytes) -> str:
    return hashlib.sha256(value).hexdigest()[:16] + ".."


def _expect(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ClusterError(f"the demonstration failed: {otherwise}")


def _farewell(cluster: Supervisor) -> None:
    print("\n# Go on with etcdctl:")
    programs = Path(sys.executable).parent
    if shutil.which("racos") is None or shutil.which("etcdctl") is None:
        print(f"export PATH={shlex.quote(str(programs))}:$PATH")
    print(f"export ETCDCTL_ENDPOINTS={','.join(cluster.endpoints())}")
    print("etcdctl put greeting hello")
    print("# Look, break, repair, stop:")
    where = f"--data-dir {shlex.quote(str(cluster.directory))}"
    name = cluster.names[-1]
    for words in ("status", f"kill {name}", f"start {name}", "down"):
        print(f"racos cluster {words} {where}")

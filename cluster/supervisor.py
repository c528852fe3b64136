"""Clusters of real processes on this machine: start, kill, pause, restart single nodes, stop all.

Used by the command line, the tests and the bench, for Racos (`LocalCluster`) and for stock etcd
(`cluster.stock.EtcdCluster`) alike.
"""

from __future__ import annotations

import http.client
import os
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from cluster.process import Process, State
from cluster.spec import (
    STATE_FILE,
    ClusterError,
    ClusterSpec,
    NodeSpec,
    Pid,
    boot_id,
    is_free,
    lay_out,
    load,
    save,
)

__all__ = ["ClusterError", "LocalCluster", "State", "Supervisor"]

READY_TIMEOUT = 30.0  # seconds
_KILL_TIMEOUT = 10.0  # seconds; the kernel needs milliseconds
_PROBE_TIMEOUT = 1.0  # seconds
_PROBE_PAUSE = 0.02  # seconds between probes: a starting server gives us nothing to wait on
_PORT_RELEASE_TIMEOUT = 0.5  # seconds
_LANE_OFF = re.compile(r'racos_lane_off\{lane="\d+",member="([^"]+)"\}')
_LOG_TAIL_BYTES = 4096
_LOG_LINE_MAX = 300  # characters shown of a log line


class Supervisor:
    """n processes of one system. As a context manager: started and ready inside, stopped after.

    `data_dir` None takes a temporary directory, removed at the end. `base_port` 0 takes free ports.
    Unless `detached`, the nodes die with the thread that started them. Raises ClusterError.
    """

    system: ClassVar[str]
    ready_path: ClassVar[str]
    stop_timeout: ClassVar[float] = 10.0  # seconds for an orderly stop, before SIGKILL

    def __init__(
        self,
        n: int = 3,
        *,
        data_dir: Path | str | None = None,
        base_port: int = 0,
        flags: Sequence[str] = (),
        detached: bool = False,
    ) -> None:
        spec = lay_out(n, system=self.system, client_port=base_port, flags=tuple(flags))
        self._temporary = data_dir is None
        directory = Path(tempfile.mkdtemp(prefix="racos-") if data_dir is None else data_dir)
        if (directory / STATE_FILE).exists():
            raise ClusterError(f"{directory} holds a cluster: open it, or choose another directory")
        self._set_up(spec, directory, detached)

    @classmethod
    def open(cls, data_dir: Path | str, *, detached: bool = True) -> Self:
        """The cluster that a directory remembers, with the processes that still run."""
        spec, _ = load(Path(data_dir))
        if spec.system != cls.system:
            raise ClusterError(f"{data_dir} holds a cluster of {spec.system}, not {cls.system}")
        cluster = cls.__new__(cls)
        cluster._temporary = False
        cluster._set_up(spec, Path(data_dir), detached)
        cluster._adopt()
        return cluster

    def _set_up(self, spec: ClusterSpec, directory: Path, detached: bool) -> None:
        self.spec = spec
        self.directory = directory.absolute()
        self._detached = detached
        self._processes: dict[str, Process] = {}

    def __enter__(self) -> Self:
        try:
            self.start_all()
            self.wait_ready()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    # What there is.

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(node.name for node in self.spec.nodes)

    def endpoints(self) -> list[str]:
        """`host:port` of every node's clients, in the order of names."""
        return [node.endpoint for node in self.spec.nodes]

    def ports(self) -> list[int]:
        """The ports of all nodes, for clients and for peers."""
        return [port for node in self.spec.nodes for port in (node.client_port, node.peer_port)]

    def endpoint(self, name: str) -> str:
        return self._node(name).endpoint

    def pids(self) -> list[int]:
        """The pids of the nodes that run (or are paused), in the order of names."""
        alive = (name for name in self.names if self.state(name) is not State.GONE)
        return [self._processes[name].pid for name in alive]

    def pid(self, name: str) -> int:
        return self._alive(name).pid

    def state(self, name: str) -> State:
        process = self._processes.get(self._node(name).name)
        return State.GONE if process is None else process.state()

    def log_path(self, name: str) -> Path:
        return self.directory / f"{self._node(name).name}.log"

    def data_path(self, name: str) -> Path:
        return self.directory / self._node(name).name

    def last_log_line(self, name: str) -> str:
        """The last line that a node wrote, shortened; empty if none."""
        try:
            with open(self.log_path(name), "rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - _LOG_TAIL_BYTES))
                lines = file.read().decode(errors="replace").strip().splitlines()
        except FileNotFoundError:
            return ""
        return lines[-1][:_LOG_LINE_MAX] if lines else ""

    def is_ready(self, name: str) -> bool:
        """Whether the node answers its readiness probe with 200."""
        return self._get(name, self.ready_path) is not None

    def figure(self, name: str, metric: str) -> float | None:
        """A figure at the node's /metrics, labels as they stand there; None if it gives none."""
        return self._figures(name).get(metric)

    def lanes_off(self) -> set[str] | None:
        """The nodes whose lanes are off, by the first one that tells; None if none does."""
        for name in self.names:
            if self.state(name) is State.RUNNING and (figures := self._figures(name)):
                found = ((_LANE_OFF.fullmatch(key), value) for key, value in figures.items())
                return {match[1] for match, value in found if match and value}
        return None

    def _figures(self, name: str) -> dict[str, float]:
        """The node's /metrics by name, labels included; empty if it gives none."""
        figures = {}
        for line in (self._get(name, "/metrics") or b"").decode().splitlines():
            key, _, value = line.rpartition(" ")
            if key and not line.startswith("#"):
                figures[key] = float(value)
        return figures

    def _get(self, name: str, path: str) -> bytes | None:
        """The body of the node's answer if that is 200."""
        node = self._node(name)
        connection = http.client.HTTPConnection(
            "127.0.0.1", node.client_port, timeout=_PROBE_TIMEOUT
        )
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            body = response.read()
            return body if response.status == 200 else None
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()

    # What can be done.

    def start_all(self) -> None:
        """Starts every node that does not run; checks all ports first, so that none half starts."""
        idle = [node for node in self.spec.nodes if self.state(node.name) is State.GONE]
        for node in idle:
            _check_ports(node)
        for node in idle:
            self._start(node)

    def start(self, name: str) -> None:
        node = self._node(name)
        if self.state(name) is not State.GONE:
            raise ClusterError(f"{name} already runs (pid {self.pid(name)})")
        _check_ports(node)
        self._start(node)

    def kill(self, name: str) -> None:
        """SIGKILL; returns when the process is gone."""
        process = self._alive(name)
        process.signal(signal.SIGKILL)
        if not process.wait(_KILL_TIMEOUT):
            raise ClusterError(f"{name} (pid {process.pid}) is still there after SIGKILL")

    def pause(self, name: str) -> None:
        self._alive(name).signal(signal.SIGSTOP)

    def resume(self, name: str) -> None:
        self._alive(name).signal(signal.SIGCONT)

    def stop(self, name: str) -> int | None:
        """Orderly stop: SIGTERM, SIGKILL after `stop_timeout`. The exit code, if it is known."""
        process = self._alive(name)
        _stop([process], self.stop_timeout)
        return process.exit_code

    def stop_all(self) -> None:
        """Stops all nodes at once, as `stop`; also those that another supervisor restarted."""
        self._adopt()
        _stop(self._processes.values(), self.stop_timeout)

    def close(self) -> None:
        """Stops all nodes; removes the data if the directory was temporary."""
        self.stop_all()
        if self._temporary:
            shutil.rmtree(self.directory, ignore_errors=True)

    def wait_ready(
        self,
        timeout: float = READY_TIMEOUT,
        *,
        names: Iterable[str] | None = None,
        on_ready: Callable[[str], None] | None = None,
    ) -> None:
        """Waits until the nodes (all, or those named) are ready; calls `on_ready` for each.

        Raises ClusterError when one of them ends, with its last log line, or when time is up.
        """
        waiting = list(self.names if names is None else names)
        deadline = time.monotonic() + timeout
        while waiting:
            for name in list(waiting):
                if self.is_ready(name):
                    waiting.remove(name)
                    if on_ready is not None:
                        on_ready(name)
                elif self.state(name) is State.GONE:
                    raise ClusterError(f"{name} ended at start: {self._last_words(name)}")
            if waiting and time.monotonic() > deadline:
                raise ClusterError(
                    f"{', '.join(waiting)} not ready after {timeout:g} s; last log line of "
                    f"{waiting[0]}: {self._last_words(waiting[0])}"
                )
            if waiting:
                time.sleep(_PROBE_PAUSE)

    # Helpers.

    def command(self, node: NodeSpec) -> list[str]:
        """The command line of one node; the first word is an absolute path."""
        raise NotImplementedError

    def _start(self, node: NodeSpec) -> None:
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._processes[node.name] = Process.start(
            self.command(node),
            log=self.log_path(node.name),
            environ=_environ(),
            leashed=not self._detached,
        )
        self._save()

    def _adopt(self) -> None:
        """Takes over the nodes that the state file knows and we do not."""
        if not (self.directory / STATE_FILE).exists():
            return  # nothing was ever started here
        _, pids = load(self.directory)
        boot = boot_id()
        for name, pid in pids.items():
            if pid.boot == boot and self.state(name) is State.GONE:
                self._processes[name] = Process(pid.pid, pid.start_ticks)

    def _save(self) -> None:
        boot = boot_id()
        pids = {
            name: Pid(process.pid, process.start_ticks, boot)
            for name, process in self._processes.items()
        }
        save(self.directory, self.spec, pids)

    def _node(self, name: str) -> NodeSpec:
        for node in self.spec.nodes:
            if node.name == name:
                return node
        raise ClusterError(f"no node {name}: the nodes are {', '.join(self.names)}")

    def _alive(self, name: str) -> Process:
        if self.state(name) is State.GONE:
            raise ClusterError(f"{name} does not run")
        return self._processes[name]

    def _last_words(self, name: str) -> str:
        return self.last_log_line(name) or f"its log {self.log_path(name)} is empty"


class LocalCluster(Supervisor):
    """Racos itself."""

    system = "racos"
    ready_path = "/readyz"

    def command(self, node: NodeSpec) -> list[str]:
        flags = self.spec.node_flags(node, self.data_path(node.name))
        # -P: a directory called `cluster` where the command is typed must not be taken for ours.
        return [sys.executable, "-P", "-m", "cluster.cli", "serve", *flags]


def _environ() -> dict[str, str]:
    """The environment of nodes: without ETCD_*, which would clash with the flags, and with us on
    the path, installed or not."""
    environ = {name: text for name, text in os.environ.items() if not name.startswith("ETCD_")}
    root = str(Path(__file__).parent.parent)
    inherited = environ.get("PYTHONPATH")
    environ["PYTHONPATH"] = f"{root}{os.pathsep}{inherited}" if inherited else root
    return environ


def _check_ports(node: NodeSpec) -> None:
    # The kernel may close the sockets of a killed process some milliseconds after the process is
    # reaped (measured: 3 of 6 kills under load).
    deadline = time.monotonic() + _PORT_RELEASE_TIMEOUT
    for port in (node.client_port, node.peer_port):
        while not is_free(port) and time.monotonic() < deadline:
            time.sleep(_PORT_RELEASE_TIMEOUT / 50)
        if not is_free(port):
            raise ClusterError(
                f"port {port} of {node.name} is in use on 127.0.0.1: stop what listens there "
                "(`ss -ltnp`) or choose another --client-port"
            )


def _stop(processes: Iterable[Process], timeout: float) -> None:
    alive = [process for process in processes if process.state() is not State.GONE]
    for process in alive:
        process.signal(signal.SIGTERM)
        process.signal(signal.SIGCONT)  # a paused process would never see the first
    deadline = time.monotonic() + timeout
    for process in alive:
        if not process.wait(deadline - time.monotonic()):
            process.signal(signal.SIGKILL)
            process.wait(_KILL_TIMEOUT)

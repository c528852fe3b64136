"""What a local cluster consists of, and the file that remembers it: DIR/cluster.json."""

from __future__ import annotations

import json
import os
import secrets
import socket
from dataclasses import asdict, dataclass
from pathlib import Path

STATE_FILE = "cluster.json"
NODES_MAX = 9
_FORMAT = 1
_PORTS_TRIED_MAX = 1000


class ClusterError(Exception):
    """A local cluster cannot do what was asked; the text is one line."""


@dataclass(frozen=True, slots=True)
class NodeSpec:
    name: str
    client_port: int
    peer_port: int

    @property
    def endpoint(self) -> str:
        return f"127.0.0.1:{self.client_port}"

    @property
    def peer_url(self) -> str:
        return f"http://127.0.0.1:{self.peer_port}"


@dataclass(frozen=True, slots=True)
class ClusterSpec:
    system: str  # "racos" or "etcd"
    nodes: tuple[NodeSpec, ...]
    token: str  # sets this cluster apart from any other on the same ports
    flags: tuple[str, ...] = ()  # further flags of every node

    def node_flags(self, node: NodeSpec, data_dir: Path) -> list[str]:
        """The flags of one member, the same for Racos and for etcd."""
        client_url = f"http://{node.endpoint}"
        members = ",".join(f"{member.name}={member.peer_url}" for member in self.nodes)
        return [
            f"--name={node.name}",
            f"--data-dir={data_dir}",
            f"--listen-client-urls={client_url}",
            f"--advertise-client-urls={client_url}",
            f"--listen-peer-urls={node.peer_url}",
            f"--initial-advertise-peer-urls={node.peer_url}",
            f"--initial-cluster={members}",
            f"--initial-cluster-token={self.token}",
            *self.flags,
        ]


@dataclass(frozen=True, slots=True)
class Pid:
    """A process as the file remembers it; `boot` tells whether start_ticks still mean anything."""

    pid: int
    start_ticks: int
    boot: str


def lay_out(n: int, *, system: str, client_port: int, flags: tuple[str, ...] = ()) -> ClusterSpec:
    """Nodes n1..nN; node i (from 0) on client_port+10*i and the port after; 0 takes free ports."""
    if not 1 <= n <= NODES_MAX:
        raise ClusterError(f"{n} nodes: from 1 to {NODES_MAX} are supported")
    if client_port == 0:
        ports = free_ports(2 * n)
        pairs = list(zip(ports[::2], ports[1::2], strict=True))
    else:
        pairs = [(client_port + 10 * i, client_port + 10 * i + 1) for i in range(n)]
        if not 1 <= client_port <= 65535 or pairs[-1][1] > 65535:
            raise ClusterError(f"ports {client_port} to {pairs[-1][1]}: there are 1 to 65535")
    nodes = tuple(NodeSpec(f"n{i + 1}", *pair) for i, pair in enumerate(pairs))
    return ClusterSpec(system, nodes, secrets.token_hex(16), flags)


def is_free(port: int) -> bool:
    with socket.socket() as listener:
        # As servers do: connections in TIME_WAIT do not make a port busy.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def free_ports(count: int) -> list[int]:
    """Distinct free loopback ports below the kernel's ephemeral range.

    A port of that range could be taken by any outgoing connection while its node is down; a peer
    dialling it could even connect to itself.
    """
    low, high = 10_000, _ephemeral_start()
    found: list[int] = []
    for _ in range(_PORTS_TRIED_MAX):
        port = low + secrets.randbelow(high - low)
        if port not in found and is_free(port):
            found.append(port)
            if len(found) == count:
                return found
    raise ClusterError(f"no {count} free ports between {low} and {high}")


def save(directory: Path, spec: ClusterSpec, pids: dict[str, Pid]) -> None:
    """Writes the state file; readers see the old one or the new one."""
    nodes = [asdict(node) | {"process": _pid_record(pids.get(node.name))} for node in spec.nodes]
    record = {
        "format": _FORMAT,
        "system": spec.system,
        "token": spec.token,
        "flags": list(spec.flags),
        "nodes": nodes,
    }
    path = directory / STATE_FILE
    new = path.with_suffix(".new")
    with open(new, "w", opener=_private) as file:
        json.dump(record, file, indent=1)
        file.write("\n")
    new.replace(path)


def load(directory: Path) -> tuple[ClusterSpec, dict[str, Pid]]:
    """Reads the state file. Raises ClusterError if there is none or it cannot be understood."""
    path = directory / STATE_FILE
    try:
        record = json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError):
        raise ClusterError(
            f"no cluster in {directory}: start one with `racos cluster up --data-dir {directory}`"
        ) from None
    except (OSError, ValueError) as error:
        raise ClusterError(f"cannot read {path}: {error}") from None
    try:
        if record["format"] != _FORMAT:
            raise ClusterError(f"{path} is of format {record['format']}, not {_FORMAT}")
        nodes = tuple(
            NodeSpec(str(node["name"]), int(node["client_port"]), int(node["peer_port"]))
            for node in record["nodes"]
        )
        flags = tuple(str(flag) for flag in record["flags"])
        spec = ClusterSpec(str(record["system"]), nodes, str(record["token"]), flags)
        pids = {
            str(node["name"]): Pid(**node["process"]) for node in record["nodes"] if node["process"]
        }
    except (KeyError, TypeError, ValueError) as error:
        raise ClusterError(f"{path} is damaged: {type(error).__name__} {error}") from None
    return spec, pids


def boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _pid_record(pid: Pid | None) -> dict[str, object] | None:
    return None if pid is None else asdict(pid)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)  # the token keys the common coin


def _ephemeral_start() -> int:
    text = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text()
    start = int(text.split()[0])
    return start if start > 12_000 else 65_536

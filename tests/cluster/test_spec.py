"""Addresses of a local cluster, and the file that remembers it."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from cluster.spec import (
    STATE_FILE,
    ClusterError,
    Pid,
    boot_id,
    free_ports,
    is_free,
    lay_out,
    load,
    save,
)


def test_ports_follow_the_rule() -> None:
    spec = lay_out(3, system="racos", client_port=2379)
    assert [(node.name, node.client_port, node.peer_port) for node in spec.nodes] == [
        ("n1", 2379, 2380),
        ("n2", 2389, 2390),
        ("n3", 2399, 2400),
    ]


@pytest.mark.parametrize(
    ("n", "port", "text"),
    [
        (0, 2379, "0 nodes: from 1 to 9"),
        (10, 2379, "10 nodes: from 1 to 9"),
        (3, 65530, "ports 65530 to 65551"),
        (1, -1, "ports -1 to 0"),
    ],
)
def test_what_cannot_be_laid_out_is_refused(n: int, port: int, text: str) -> None:
    with pytest.raises(ClusterError, match=text):
        lay_out(n, system="racos", client_port=port)


def test_node_flags_name_all_members() -> None:
    spec = lay_out(2, system="racos", client_port=7000, flags=("--data-fragments=1",))
    flags = spec.node_flags(spec.nodes[1], Path("/data/n2"))
    assert "--name=n2" in flags
    assert "--data-dir=/data/n2" in flags
    assert "--listen-client-urls=http://127.0.0.1:7010" in flags
    assert "--initial-cluster=n1=http://127.0.0.1:7001,n2=http://127.0.0.1:7011" in flags
    assert flags[-1] == "--data-fragments=1"


def test_free_ports_are_different_and_below_the_ephemeral_range() -> None:
    ports = free_ports(18)
    assert len(set(ports)) == 18
    assert all(is_free(port) for port in ports)
    low = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert low <= 12_000 or max(ports) < low


def test_a_port_in_use_is_not_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert not is_free(listener.getsockname()[1])


def test_the_state_file_is_read_back(tmp_path: Path) -> None:
    spec = lay_out(3, system="racos", client_port=2379, flags=("--log-level=debug",))
    pids = {"n2": Pid(17, 4711, boot_id())}
    save(tmp_path, spec, pids)
    assert load(tmp_path) == (spec, pids)
    assert (tmp_path / STATE_FILE).stat().st_mode & 0o077 == 0


def test_a_missing_file_tells_how_to_start_a_cluster(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="racos cluster up --data-dir"):
        load(tmp_path / "nothing")


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"format": 1}'])
def test_a_damaged_file_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / STATE_FILE).write_text(text)
    with pytest.raises(ClusterError, match=r"cluster\.json"):
        load(tmp_path)


def test_a_file_of_another_format_is_told(tmp_path: Path) -> None:
    save(tmp_path, lay_out(1, system="racos", client_port=2379), {})
    path = tmp_path / STATE_FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 2}))
    with pytest.raises(ClusterError, match="is of format 2, not 1"):
        load(tmp_path)

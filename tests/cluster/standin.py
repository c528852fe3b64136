"""Clusters of stand-in nodes: real processes that start in milliseconds."""

from __future__ import annotations

import sys
from pathlib import Path

from cluster.spec import NodeSpec, free_ports, is_free, lay_out
from cluster.supervisor import Supervisor

_NODE = Path(__file__).with_name("standin_node.py")


class StandInCluster(Supervisor):
    system = "standin"
    ready_path = "/readyz"

    def command(self, node: NodeSpec) -> list[str]:
        return standin_command(self, node)


def standin_command(cluster: Supervisor, node: NodeSpec) -> list[str]:
    flags = cluster.spec.node_flags(node, cluster.data_path(node.name))
    return [sys.executable, "-I", "-S", str(_NODE), *flags]


def free_base_port(n: int) -> int:
    """A first port such that all ports of a cluster of n laid out from it are free."""
    while True:
        (base,) = free_ports(1)
        nodes = lay_out(n, system="any", client_port=base).nodes
        if all(is_free(node.client_port) and is_free(node.peer_port) for node in nodes):
            return base

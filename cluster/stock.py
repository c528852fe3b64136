"""Stock etcd on this machine, behind the same interface as Racos: for comparisons and oracles."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cluster.find import find_program
from cluster.spec import NodeSpec
from cluster.supervisor import Supervisor


class EtcdCluster(Supervisor):
    """n stock etcd processes. `etcd` names the binary; None searches. Raises NotFound."""

    system = "etcd"
    ready_path = "/health"  # /readyz came with 3.5.11; this one answers 200 from 3.0 on
    # Its orderly stop hands leadership to a peer, and waits long when the peers stop too.
    stop_timeout = 1.0
    _etcd: str | None = None

    def __init__(
        self,
        n: int = 3,
        *,
        data_dir: Path | str | None = None,
        base_port: int = 0,
        flags: Sequence[str] = (),
        detached: bool = False,
        etcd: str | None = None,
    ) -> None:
        self._etcd = find_program("etcd", etcd)  # early: before anything is made
        super().__init__(n, data_dir=data_dir, base_port=base_port, flags=flags, detached=detached)

    def command(self, node: NodeSpec) -> list[str]:
        return [
            self._etcd or find_program("etcd"),
            *self.spec.node_flags(node, self.data_path(node.name)),
        ]

"""The systems that can be loaded: a cluster of Racos, or one of stock etcd, on equal terms.

Both sync to disk before they acknowledge, run on one file system, and get the same space quota.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from cluster.stock import EtcdCluster
from cluster.supervisor import LocalCluster, Supervisor

RACOS: Final = "racos"
ETCD: Final = "etcd"
QUEUE: Final = "racos-queue"  # the published algorithm
SYSTEMS: Final = (RACOS, ETCD, QUEUE)
# etcd's default of 2 GiB ends a longer run of large puts.
_FLAGS: Final = ("--quota-backend-bytes=8589934592",)
_OWN_FLAGS: Final = {
    RACOS: ("--log-level=warn",),
    ETCD: ("--log-level=error",),
    QUEUE: ("--log-level=warn", "--engine=queue"),
}


def cluster_of(system: str, nodes: int, data_dir: Path, etcd: str | None = None) -> Supervisor:
    """A cluster that is not started yet: use it as a context manager. Raises ClusterError."""
    flags = (*_FLAGS, *_OWN_FLAGS[system])
    if system == ETCD:
        return EtcdCluster(nodes, data_dir=data_dir, flags=flags, etcd=etcd)
    return LocalCluster(nodes, data_dir=data_dir, flags=flags)


def filesystem_of(path: Path) -> str:
    """The type of the file system that holds a path, such as ext4."""
    best, kind = "", "unknown"
    resolved = str(path.resolve())
    for line in Path("/proc/mounts").read_text().splitlines():
        _, mount, fstype, *_ = line.split()
        inside = mount == "/" or resolved == mount or resolved.startswith(mount + "/")
        if inside and len(mount) >= len(best):
            best, kind = mount, fstype
    return kind

"""Nodes whose disk fills up: a small tmpfs in a mount namespace of their own.

Where namespaces are not permitted, a limit on the size of files stands in for it: the kernel then
refuses to let the log grow in the same way, with another error.
"""

from __future__ import annotations

import contextlib
import resource
import shutil
import subprocess
from pathlib import Path
from typing import Self

from cluster.spec import NodeSpec
from cluster.supervisor import LocalCluster

_MOUNT = 'mount -t tmpfs -o size="$2",mode=0700 none "$1" && echo mounted && exec sleep infinity'
_SECONDS = 10.0


class Tmpfs:
    """A directory that is a small file system for whoever runs inside; gone when closed."""

    def __init__(self, directory: Path, size: int) -> None:
        """Raises OSError where it is not permitted."""
        self._directory = directory
        unshare, nsenter = shutil.which("unshare"), shutil.which("nsenter")
        if unshare is None or nsenter is None:
            raise OSError("no unshare")
        directory.mkdir(parents=True, exist_ok=True)
        words = [unshare, "--mount", "sh", "-c", _MOUNT, "sh", str(directory), str(size)]
        self._holder = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert self._holder.stdout is not None
        if self._holder.stdout.readline() != b"mounted\n":
            self.close()
            raise OSError("mount namespaces are not permitted")
        self.prefix = [nsenter, f"--mount=/proc/{self._holder.pid}/ns/mnt"]

    def resize(self, size: int) -> None:
        words = ["mount", "-o", f"remount,size={size}", str(self._directory)]
        subprocess.run([*self.prefix, *words], check=True, timeout=_SECONDS)

    def close(self) -> None:
        self._holder.kill()
        self._holder.wait(_SECONDS)
        assert self._holder.stdout is not None
        self._holder.stdout.close()


class SmallDiskCluster(LocalCluster):
    """A cluster, some of whose nodes have so many bytes of disk, once it is started."""

    def __init__(self, n: int, small: dict[str, int]) -> None:
        super().__init__(n)
        self._small = small
        self._disks: dict[str, Tmpfs] = {}
        with contextlib.suppress(OSError):
            for name, size in small.items():
                self._disks[name] = Tmpfs(self.data_path(name), size)

    @property
    def kind(self) -> str:
        return "tmpfs" if self._disks else "limit on the size of files"

    def command(self, node: NodeSpec) -> list[str]:
        """As usual, inside the namespace of its disk."""
        disk = self._disks.get(node.name)
        return [*(disk.prefix if disk else ()), *super().command(node)]

    def __enter__(self) -> Self:
        super().__enter__()
        if not self._disks:
            for name, size in self._small.items():
                resource.prlimit(self.pid(name), resource.RLIMIT_FSIZE, (size, size))
        return self

    def give_space(self, name: str, size: int) -> None:
        """More room, for a node that is started from now on (a limit ends with its process)."""
        if name in self._disks:
            self._disks[name].resize(size)

    def close(self) -> None:
        super().close()
        for disk in self._disks.values():
            disk.close()
        self._disks.clear()

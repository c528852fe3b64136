"""Nodes whose disk fills up: a small tmpfs in a mount namespace of their own."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from cluster.spec import NodeSpec
from cluster.supervisor import LocalCluster

_MOUNT = 'mount -t tmpfs -o size="$2",mode=0700 none "$1" && echo mounted && exec sleep infinity'
_SECONDS = 10.0
HOG = "somebody-elses"
HOG_BYTES = 64 << 10


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

    @property
    def inside(self) -> Path:
        """The directory, as it is seen from here."""
        return Path(f"/proc/{self._holder.pid}/root{self._directory}")

    def free_bytes(self) -> int:
        found = os.statvfs(self.inside)
        return found.f_bavail * found.f_frsize

    def fill(self) -> int:
        """Take all that is left, to the last page; how many bytes that were."""
        taken = 0
        with open(self.inside / HOG, "ab", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                taken += file.write(bytes(HOG_BYTES))
        return taken

    def give_back(self) -> None:
        (self.inside / HOG).unlink()

    def close(self) -> None:
        self._holder.kill()
        self._holder.wait(_SECONDS)
        assert self._holder.stdout is not None
        self._holder.stdout.close()


class SmallDiskCluster(LocalCluster):
    """A cluster, some of whose nodes have so many bytes of disk. A test that makes one is skipped
    where namespaces are not permitted."""

    def __init__(self, n: int, small: dict[str, int], flags: Sequence[str] = ()) -> None:
        super().__init__(n, flags=flags)
        self._disks: dict[str, Tmpfs] = {}
        try:
            for name, size in small.items():
                self._disks[name] = Tmpfs(self.data_path(name), size)
        except OSError as error:
            self.close()
            pytest.skip(str(error))

    def disk(self, name: str) -> Tmpfs:
        return self._disks[name]

    def command(self, node: NodeSpec) -> list[str]:
        """As usual, inside the namespace of its disk."""
        disk = self._disks.get(node.name)
        return [*(disk.prefix if disk else ()), *super().command(node)]

    def close(self) -> None:
        super().close()
        for disk in self._disks.values():
            disk.close()
        self._disks.clear()

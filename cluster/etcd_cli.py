"""The `racos-etcd` command: a Racos node for launchers that expect a program called etcd."""

from __future__ import annotations

import os
import platform
import sys

from cluster.serve import serve
from racos import __version__

# What tools compare with the versions they need (Kubernetes: 3.6.10 and above).
ETCD_VERSION = "3.6.11"


def version_text() -> str:
    """The four lines of `etcd --version`, which launchers parse by their first words."""
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    return (
        f"etcd Version: {ETCD_VERSION}\n"
        f"Git SHA: racos-{__version__}\n"
        f"Go Version: none (Python {platform.python_version()})\n"
        f"Go OS/Arch: {platform.system().lower()}/{machine}"
    )


def main() -> int:
    return serve(sys.argv[1:], os.environ, program="racos-etcd", version=version_text())


if __name__ == "__main__":
    sys.exit(main())

"""Finds stock etcd and etcdctl: named, on PATH, or beside this Python (where the etcd extra puts
them)."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path


class NotFound(Exception):
    """The program is not on this machine; the text says how to get it."""


def find_program(name: str, given: str | None = None) -> str:
    """Absolute path of `etcd`, `etcdctl` or `etcdutl`. Raises NotFound."""
    if given is not None:
        found = shutil.which(given)
        if found is None:
            raise NotFound(f"{given} is not an executable file")
        return os.path.abspath(found)
    beside = str(Path(sys.executable).parent)
    found = shutil.which(name) or shutil.which(name, path=beside)
    if found is None:
        raise NotFound(f"{name} is neither on PATH nor in {beside}: pip install 'racos[etcd]'")
    return os.path.abspath(found)

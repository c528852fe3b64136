"""Whose data directory this is, and that only one process uses it."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path
from typing import NamedTuple

from racos.storage.disk import OsDisk

__all__ = ["DirectoryLock", "Identity", "IdentityError", "check_or_create", "read_identity"]

IDENTITY_VERSION = 1
_NAME = "identity.json"
_TEMPORARY = "identity.json.new"
_LOCK = "LOCK"


class IdentityError(Exception):
    """The data directory is not this process's to use; one line says why."""


class Identity(NamedTuple):
    """Written once, when the directory is made."""

    member_id: int
    cluster_id: int
    name: str


class DirectoryLock:
    """Held as long as this object is open; the kernel drops it when the process ends, however."""

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        """Make the directory (mode 0700) if it is missing, and lock it. IdentityError if taken."""
        try:
            path = OsDisk(directory).path(_LOCK)
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise IdentityError(f"data directory {directory}: {error.strerror}") from None
        self._take(directory, fcntl.LOCK_EX)

    @classmethod
    def shared(cls, directory: str | os.PathLike[str]) -> DirectoryLock | None:
        """As `DirectoryLock(directory)`, but nothing is made, and several may look at once; None
        if no process ever used the directory."""
        lock = cls.__new__(cls)
        try:
            lock._fd = os.open(Path(directory) / _LOCK, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise IdentityError(f"data directory {directory}: {error.strerror}") from None
        lock._take(directory, fcntl.LOCK_SH)
        return lock

    def close(self) -> None:
        os.close(self._fd)

    def __enter__(self) -> DirectoryLock:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _take(self, directory: str | os.PathLike[str], how: int) -> None:
        try:
            fcntl.flock(self._fd, how | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._fd)
            raise IdentityError(
                f"data directory {directory} is in use by another process"
            ) from None


def check_or_create(
    directory: str | os.PathLike[str], *, member_id: int, cluster_id: int, name: str
) -> bool:
    """Check that the directory is this member's, or make it so; returns whether it was made.

    Hold the directory's lock. IdentityError names both values when they differ.
    """
    wanted = Identity(member_id, cluster_id, name)
    path = Path(directory) / _NAME
    if path.exists():
        _compare(path, read_identity(directory), wanted)
        return False
    _write(directory, wanted)
    return True


def read_identity(directory: str | os.PathLike[str]) -> Identity:
    """Whose directory it is. IdentityError if that cannot be read."""
    path = Path(directory) / _NAME
    try:
        fields = json.loads(path.read_bytes())
        version = int(fields["version"])
        if version > IDENTITY_VERSION:
            raise IdentityError(
                f"{path}: format version {version} is newer than {IDENTITY_VERSION}"
            )
        member_id = int(fields["member_id"], 16)
        return Identity(member_id, int(fields["cluster_id"], 16), str(fields["name"]))
    except (ValueError, KeyError, TypeError) as error:
        raise IdentityError(f"{path}: damaged: {error}") from None
    except OSError as error:
        raise IdentityError(f"{path}: {error.strerror}") from None


def _compare(path: Path, found: Identity, wanted: Identity) -> None:
    if found.cluster_id != wanted.cluster_id:
        difference = f"cluster {found.cluster_id:x}, not {wanted.cluster_id:x}"
    elif found.member_id != wanted.member_id:
        difference = f"member {found.member_id:x}, not {wanted.member_id:x}"
    elif found.name != wanted.name:
        difference = f"the member named {found.name}, not {wanted.name}"
    else:
        return
    raise IdentityError(f"{path.parent}: data directory belongs to {difference}")


def _write(directory: str | os.PathLike[str], identity: Identity) -> None:
    """All or nothing, also across a power loss."""
    fields = {
        "version": IDENTITY_VERSION,
        "member_id": f"{identity.member_id:x}",
        "cluster_id": f"{identity.cluster_id:x}",
        "name": identity.name,
    }
    disk = OsDisk(directory)
    if _TEMPORARY in disk.list():
        disk.remove(_TEMPORARY)
    file = disk.create(_TEMPORARY)
    file.write_sync([json.dumps(fields, indent=2).encode() + b"\n"], 0)
    file.close()
    disk.rename(_TEMPORARY, _NAME)
    disk.sync_directory()

"""What the state machine can refuse, by etcd's names; the shim knows each one's code and text."""

from __future__ import annotations


class StoreError(Exception):
    """A command that was refused deterministically: it changed nothing, on any replica."""


class KeyNotFound(StoreError):
    """ignore_value or ignore_lease on a key that does not exist."""


class LeaseNotFound(StoreError):
    """The lease named by a put or a revocation does not exist."""


class LeaseExists(StoreError):
    """A grant names an id that is taken."""


class Compacted(StoreError):
    """The requested revision is below the compaction revision (or, for Compact, not above it)."""


class FutureRevision(StoreError):
    """The requested revision is above the current one."""


class SpaceExceeded(StoreError):
    """The NOSPACE alarm is raised, and the command could make the store grow."""


class ClusterCorrupt(StoreError):
    """The CORRUPT alarm is raised: nothing may change until somebody has looked."""

"""What one put does to the index: for the single put, which is the hot path, and transactions."""

from __future__ import annotations

from collections.abc import Container

from racos.mvcc.command import KeyValue, Put
from racos.mvcc.errors import KeyNotFound, LeaseNotFound
from racos.mvcc.keyindex import KeyIndex


def write_put(index: KeyIndex, put: Put, revision: int, previous: KeyValue | None) -> KeyValue:
    """Write a checked put as part of `revision`; returns the key's new version.

    A put without a lease detaches the key from the one it had, by the new version's lease of 0.
    """
    key, value, lease, _, ignore_value, ignore_lease = put
    if previous is None:
        kv = KeyValue(key, revision, revision, 1, value, lease)
    else:
        old_key, created, _, version, old_value, old_lease = previous
        kv = KeyValue(
            old_key,  # every version of a key shares one key object
            created,
            revision,
            version + 1,
            old_value if ignore_value else value,
            old_lease if ignore_lease else lease,
        )
    index.put(kv, previous)
    return kv


def check_previous(put: Put, index: KeyIndex) -> None:
    """Raise KeyNotFound if the put takes something over from a version that does not exist."""
    if (put.ignore_value or put.ignore_lease) and index.get(put.key) is None:
        raise KeyNotFound("a put that ignores its value or lease needs the key to exist")


def check_lease(put: Put, leases: Container[int]) -> None:
    """Raise LeaseNotFound if the put names a lease that does not exist."""
    if put.lease and put.lease not in leases:
        raise LeaseNotFound(f"lease {put.lease} does not exist")

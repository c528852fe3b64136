"""Commands without values as they travel in a batch: compaction and leases."""

from __future__ import annotations

from typing import TypeAlias

from racos.mvcc.command import (
    Compact,
    LeaseCommand,
    LeaseExpire,
    LeaseGrant,
    LeaseRenew,
    LeaseRevoke,
)
from racos.pb import batch_pb2 as pb

PlainCommand: TypeAlias = Compact | LeaseCommand


def encode_plain(target: pb.Command, command: PlainCommand) -> None:
    """Fill `target`. SetInParent throughout: a message of zeros is still there."""
    if isinstance(command, Compact):
        target.compact.SetInParent()
        target.compact.revision = command.revision
        target.compact.physical = command.physical
    elif isinstance(command, LeaseGrant):
        target.lease_grant.SetInParent()
        target.lease_grant.id = command.id
        target.lease_grant.ttl = command.ttl
    elif isinstance(command, LeaseRevoke):
        target.lease_revoke.SetInParent()
        target.lease_revoke.id = command.id
    elif isinstance(command, LeaseRenew):
        target.lease_renew.SetInParent()
        target.lease_renew.ids.extend(command.ids)
    else:
        target.lease_expire.SetInParent()
        target.lease_expire.id = command.id
        target.lease_expire.renewal = command.renewal


def decode_plain(command: pb.Command, kind: str | None) -> PlainCommand:
    """The command of that kind. ValueError for a kind this version does not know."""
    match kind:
        case "compact":
            return Compact(command.compact.revision, command.compact.physical)
        case "lease_grant":
            return LeaseGrant(command.lease_grant.id, command.lease_grant.ttl)
        case "lease_revoke":
            return LeaseRevoke(command.lease_revoke.id)
        case "lease_renew":
            return LeaseRenew(tuple(command.lease_renew.ids))
        case "lease_expire":
            return LeaseExpire(command.lease_expire.id, command.lease_expire.renewal)
    raise ValueError(f"a batch holds a command of unknown kind {kind}")

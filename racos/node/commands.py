"""Commands without values as they travel in a batch: compaction, leases and alarms."""

from __future__ import annotations

from typing import TypeAlias

from racos.mvcc.command import (
    Alarm,
    AlarmSwitch,
    Compact,
    LeaseCommand,
    LeaseExpire,
    LeaseGrant,
    LeaseRenew,
    LeaseRevoke,
)
from racos.pb import batch_pb2 as pb

PlainCommand: TypeAlias = Compact | LeaseCommand | AlarmSwitch


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
    elif isinstance(command, AlarmSwitch):
        target.alarm_switch.on = command.on
        target.alarm_switch.alarm.member, target.alarm_switch.alarm.kind = command.alarm
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
        case "alarm_switch":
            alarm = command.alarm_switch.alarm
            return AlarmSwitch(Alarm(alarm.member, alarm.kind), command.alarm_switch.on)
    raise ValueError(f"a batch holds a command of unknown kind {kind}")

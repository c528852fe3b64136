"""Fills an empty store with a state from elsewhere, with the revisions it had there.

The state comes in pieces, each a command, so that what a restored cluster starts from is part of
its log as everything else is. Versions come in revision order, those of one revision in the order
of its changes and never in two pieces. After each piece the store is at the revision of its last
version; until the last piece it is not a state that anybody ever saw.
"""

from __future__ import annotations

from racos.mvcc.alarms import AlarmTable
from racos.mvcc.command import AlarmSwitch, Event, KeyValue, Load
from racos.mvcc.history import History
from racos.mvcc.keyindex import KeyIndex
from racos.mvcc.lease import LeaseTable

__all__ = ["load"]


def load(
    piece: Load, index: KeyIndex, history: History, leases: LeaseTable, alarms: AlarmTable
) -> None:
    """Take in one piece. Versions below its compact_revision are kept, their events are not."""
    for grant in piece.leases:
        leases.grant(grant.id, grant.ttl)
    for alarm in piece.alarms:
        alarms.switch(AlarmSwitch(alarm, True))
    history.skip_to(piece.compact_revision)
    for kv in piece.versions:
        previous = index.get(kv.key)
        _write(index, kv, previous)
        held = 0 if previous is None else previous.lease
        leases.move(kv.key, held, kv.lease if kv.lease in leases else 0)
        if kv.mod_revision >= piece.compact_revision:
            history.join(kv.mod_revision, Event(kv.version == 0, kv, previous))
    if piece.revision:
        history.extend_to(piece.revision)


def _write(index: KeyIndex, kv: KeyValue, previous: KeyValue | None) -> None:
    if kv.version:
        index.put(kv, previous)
    elif previous is not None:
        index.delete(kv.key, b"", kv.mod_revision)
    else:
        index.bury(kv)

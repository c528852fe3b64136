"""Fills an empty store with a state from elsewhere, with the revisions it had there.

The state comes in pieces, each a command, so that what a restored cluster starts from is part of
its log as everything else is. Versions come in revision order, those of one revision in the order
of its changes. Until the last piece nobody reads the store: it is not one state before.
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
        previous = index.live.get(kv.key)
        _write(index, kv, previous)
        if kv.mod_revision >= history.first:
            history.join(kv.mod_revision, Event(kv.version == 0, kv, previous))
    if piece.revision:
        history.extend_to(piece.revision)
        for key in list(index.past):  # what an unfinished compaction there had still to drop
            index.compact_key(key, piece.compact_revision)
        _attach(index, leases)


def _write(index: KeyIndex, kv: KeyValue, previous: KeyValue | None) -> None:
    if kv.version:
        index.put(kv, previous)
    elif previous is not None:
        index.delete(kv.key, b"", kv.mod_revision)
    else:
        index.bury(kv)


def _attach(index: KeyIndex, leases: LeaseTable) -> None:
    """Give each lease its keys; a key whose lease did not come with it has none from now on."""
    for kv in index.select(b"\0", b"\0"):
        if kv.lease in leases:
            leases.move(kv.key, 0, kv.lease)
        elif kv.lease:
            index.live[kv.key] = kv._replace(lease=0)

"""Alarms as replicated state: which member raised which, and what the cluster refuses meanwhile.

The refusals are etcd's. With NOSPACE nothing may grow: puts, transactions that could put, grants.
With CORRUPT nothing may change at all. Reads are not commands and go on under both.
"""

from __future__ import annotations

from collections.abc import Iterator

from racos.mvcc.command import (
    Alarm,
    AlarmKind,
    AlarmSwitch,
    Command,
    Compact,
    DeleteRange,
    LeaseExpire,
    LeaseGrant,
    LeaseRevoke,
    Operation,
    Put,
    Txn,
)
from racos.mvcc.encoding import ALARMS, after, alarm_key, alarm_of
from racos.mvcc.errors import ClusterCorrupt, SpaceExceeded
from racos.mvcc.shelf import Shelf

_CHANGES = (Put, DeleteRange, Txn, Compact, LeaseGrant, LeaseRevoke, LeaseExpire)


class AlarmTable:
    """The alarms of one replica; changed only by decided commands, through the store."""

    __slots__ = ("_corrupt", "_shelf", "no_space", "raised")

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self.raised = {alarm_of(entry) for entry, _ in shelf.scan(ALARMS, after(ALARMS))}
        self._note_kinds()

    def __iter__(self) -> Iterator[Alarm]:
        """By kind, then by member."""
        return iter(sorted(self.raised, key=lambda alarm: (alarm.kind, alarm.member)))

    def switch(self, request: AlarmSwitch) -> bool:
        """Raise or clear an alarm; whether it is raised now, or was until now."""
        known = request.alarm in self.raised
        if request.on:
            self.raised.add(request.alarm)
            self._shelf.put(alarm_key(request.alarm), b"")
        elif known:
            self.raised.discard(request.alarm)
            self._shelf.delete(alarm_key(request.alarm))
        self._note_kinds()
        return known or request.on

    def check(self, command: Command) -> None:
        """Raise ClusterCorrupt or SpaceExceeded if the alarms forbid this command."""
        if self._corrupt and isinstance(command, _CHANGES):
            raise ClusterCorrupt("an alarm says that members differ")
        if self.no_space and may_grow(command):
            raise SpaceExceeded("an alarm says that a member is out of space")

    def _note_kinds(self) -> None:
        kinds = {alarm.kind for alarm in self.raised}
        self.no_space = AlarmKind.NOSPACE in kinds
        self._corrupt = AlarmKind.CORRUPT in kinds


def may_grow(command: Command | Operation) -> bool:
    """Whether a command can bring something new into the store: a put in any branch, a grant."""
    if isinstance(command, Txn):
        return any(may_grow(operation) for operation in command.success + command.failure)
    return isinstance(command, Put | LeaseGrant)

"""A node's figures at one moment, for its metrics and for Status."""

from __future__ import annotations

from typing import NamedTuple

from racos.node.auditor import AuditStatistics
from racos.node.cleaner import SpaceStatistics
from racos.node.driver import Driver
from racos.node.healer import HealerStatistics
from racos.node.room import RoomStatistics
from racos.node.scrubber import ScrubStatistics
from racos.node.silence import Progress
from racos.storage.log import Log


class Statistics(NamedTuple):
    """A node's figures at one moment."""

    db_bytes: int  # of log and index
    used_bytes: int  # of these, for what can still be read
    decided_slots: int
    applied_slots: int
    applied_commands: int
    waiting_commands: int
    revision: int
    compact_revision: int
    decisions: dict[str, int]
    leases: int
    leases_granted: int  # applied here, as are the next ones
    leases_ended: int
    lease_renewals: int
    waiting_keep_alives: int
    connected: int  # peers
    synced_batches: int
    written_bytes: int
    fragments: HealerStatistics
    space: SpaceStatistics
    scrub: ScrubStatistics
    log_segments: int
    epoch: int  # of the newest configuration
    lanes_off: int  # bit set of the lanes switched off in it
    audits: AuditStatistics
    room: RoomStatistics
    silence: Progress | None  # of a member that has lost its memory, until it takes part again


def collect(
    driver: Driver, log: Log, index_bytes: int, used_bytes: int, room: RoomStatistics
) -> Statistics:
    """Some of them are counted on the way: not for the hot path."""
    logged = log.statistics()
    leases = driver.store.leases
    return Statistics(
        db_bytes=logged.size_bytes + index_bytes,
        used_bytes=min(used_bytes, logged.size_bytes + index_bytes),
        decided_slots=driver.replica.window.frontier,
        applied_slots=driver.replica.window.frontier - driver.applier.waiting,
        applied_commands=driver.applier.commands,
        waiting_commands=len(driver.batcher),
        revision=driver.store.revision,
        compact_revision=driver.store.compact_revision,
        decisions=dict(driver.replica.agreement.statistics),
        leases=len(leases),
        leases_granted=leases.granted,
        leases_ended=leases.granted - len(leases),
        lease_renewals=leases.renewals - leases.granted,
        waiting_keep_alives=driver.leases.waiting,
        connected=driver.connected.bit_count(),
        synced_batches=logged.synced_batches,
        written_bytes=logged.written_bytes,
        fragments=driver.healer.statistics(),
        space=driver.keeper.statistics(),
        scrub=driver.keeper.scrubber.statistics(),
        log_segments=logged.segments,
        epoch=driver.replica.configs.newest.epoch,
        lanes_off=driver.replica.configs.newest.off,
        audits=driver.auditor.statistics(),
        room=room,
        silence=driver.silence.progress if driver.silence is not None else None,
    )

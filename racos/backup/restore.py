"""Makes the data directory of a new cluster's member from a backup.

The state becomes the beginning of the member's log: batches that load it piece by piece (see
racos.mvcc.load), recorded as decided. So a restored member is a member that has these batches, and
nothing else is special about it: it replays them, serves them to one that is behind, heals their
fragments and codes values as any other. The pieces depend on the file and on the cluster's shape
alone, so all members that are restored from one file have the same ones.

The directory gets its name when it is complete, so that what a crash leaves is not taken for one.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from racos.backup.source import BackupError, Source, State
from racos.core.messages import AppliedRecord, PayRecord
from racos.core.quorum import Quorum
from racos.erasure.codec import Codec
from racos.mvcc.command import KeyValue, Load
from racos.node.batch import BatchEncoder
from racos.node.config import NodeConfig
from racos.node.datadir import LOG_FOLDER, may_ask
from racos.node.identity import Identity, identify
from racos.node.records import encode
from racos.storage.disk import OsDisk
from racos.storage.identity import DirectoryLock, check_or_create
from racos.storage.log import Log
from racos.storage.vow import open_vow

__all__ = ["Restored", "restore"]

INLINE_LIMIT = 4096  # bytes; fixed, since the members' pieces must not differ
_PIECE_VERSIONS_MAX = 1000
_PIECE_BYTES_MAX = 1 << 20  # of keys and values, but never less than one revision
_PIECE_LEASES_MAX = 10_000
_QUEUE_BYTES_MAX = 16 << 20
_REVISION_MAX = (1 << 63) - 1


class Restored(NamedTuple):
    """What was made."""

    directory: Path
    versions: int
    leases: int
    revision: int
    compact_revision: int


def restore(
    source: Source,
    config: NodeConfig,
    *,
    bump_revision: int = 0,
    mark_compacted: bool = False,
    progress: Callable[[int], None] = lambda _versions: None,
) -> Restored:
    """Restore into config.data_dir, which must be empty or not there.

    Raises BackupError, BadDatabase, ConfigError, IdentityError, LogError or OSError; nothing is at
    config.data_dir then. `progress` is told now and then how many versions are written.
    """
    if mark_compacted != (bump_revision > 0):
        raise BackupError("--mark-compacted required if --revision-bump > 0")
    state = _bumped(_restorable(source), bump_revision)
    target = config.data_dir
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise BackupError(f'data-dir "{target}" not empty or could not be read')
    draft = target.with_name(target.name + ".restoring")
    if draft.exists():
        shutil.rmtree(draft)  # of an attempt that did not end
    draft.mkdir(parents=True, mode=0o700)
    try:
        versions = _write(draft, source, state, config, progress)
        os.rename(draft, target)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    OsDisk(target.parent).sync_directory()
    return Restored(target, versions, len(state.leases), state.revision, state.compact_revision)


def _restorable(source: Source) -> State:
    state = source.state()
    if state.auth_enabled:
        raise BackupError(
            f"{source.path}: authentication is enabled in this backup ({state.users} users), and "
            "is not supported yet: restored, the data would be open to everyone"
        )
    return state


def _bumped(state: State, bump: int) -> State:
    if not bump:
        return state
    revision = state.revision + bump
    if bump < 0 or revision >= _REVISION_MAX:
        raise BackupError(f"--bump-revision {bump} is out of range")
    return state._replace(revision=revision, compact_revision=revision)


def _write(
    directory: Path,
    source: Source,
    state: State,
    config: NodeConfig,
    progress: Callable[[int], None],
) -> int:
    """Write the directory's files; returns the number of versions."""
    identity = identify(config)
    with DirectoryLock(directory):
        check_or_create(
            directory,
            member_id=identity.member_id,
            cluster_id=identity.cluster_id,
            name=config.name,
        )
        disk = OsDisk(directory / LOG_FOLDER)
        open_vow(disk, may_ask=may_ask(config))  # it may replace one that has spoken since
        log = Log.open(
            disk,
            member_id=identity.member_id,
            cluster_id=identity.cluster_id,
        )
        try:
            for _ in log.replay():
                raise AssertionError("a new log is empty")
            writer = _Writer(log, config, identity)
            versions = 0
            for piece in _pieces(source, state):
                writer.add(piece)
                versions += len(piece.versions)
                progress(versions)
            writer.flush()
        finally:
            log.close()
    OsDisk(directory).sync_directory()
    return versions


def _pieces(source: Source, state: State) -> Iterator[Load]:
    """Leases and alarms, then versions, then the word that this was all."""
    compacted = state.compact_revision
    yield Load(alarms=state.alarms, compact_revision=compacted)
    for start in range(0, len(state.leases), _PIECE_LEASES_MAX):
        leases = state.leases[start : start + _PIECE_LEASES_MAX]
        yield Load(leases=leases, compact_revision=compacted)
    taken: list[KeyValue] = []
    size = 0
    for kv in source.versions():
        full = len(taken) >= _PIECE_VERSIONS_MAX or size >= _PIECE_BYTES_MAX
        if full and kv.mod_revision > taken[-1].mod_revision:  # a revision stays in one piece
            yield Load(tuple(taken), compact_revision=compacted)
            taken, size = [], 0
        taken.append(kv)
        size += len(kv.key) + len(kv.value)
    yield Load(tuple(taken), compact_revision=compacted, revision=state.revision)


class _Writer:
    """Puts pieces into the log as the batches of its first slots, each with this member's part."""

    def __init__(self, log: Log, config: NodeConfig, identity: Identity) -> None:
        self._log = log
        self._quorum = Quorum(config.n, config.f, config.k)
        self._encoder = BatchEncoder(Codec(config.k, config.n), INLINE_LIMIT)
        self._held = self._quorum.share(identity.lane, 1)
        self._position = 0

    def add(self, piece: Load) -> None:
        payload = self._encoder.prepare([piece]).payload
        round_, lane = divmod(self._position, self._quorum.total)
        for record in (
            PayRecord(lane, round_, payload, self._held, says_one=False),
            AppliedRecord(self._position, self._position + 1, (self._position,)),
        ):
            self._log.append(*encode(record))
        self._position += 1
        if self._log.queued_bytes >= _QUEUE_BYTES_MAX:
            self.flush()

    def flush(self) -> None:
        """Make durable what was added."""
        batch = self._log.take()
        if batch is not None:
            batch.run()
            self._log.done(batch)

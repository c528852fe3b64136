"""Checks the data directory of a node that does not run: everything in it, changing nothing.

The log record by record (racos.storage.survey); in each coded batch the fragments against the
digests in its descriptor; the index entry by entry, what it says about the log against the log, and
what it counts against what there is. What is not checked: that a value is the one the cluster
agreed on (the members compare themselves for that), and files this version does not know.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import NamedTuple

from google.protobuf.message import DecodeError

from racos.core.messages import PayRecord
from racos.erasure.verify import BadFragment, check_fragment
from racos.errors import ShelfError
from racos.mvcc import encoding
from racos.mvcc.command import CodedValue
from racos.node import batch as batches
from racos.node import entries, records
from racos.node.checkpoint import read_applied, read_configs
from racos.node.datadir import LOG_FOLDER
from racos.node.retention import read_start
from racos.storage.disk import File, ReadOnlyDisk
from racos.storage.frozen import FrozenIndex
from racos.storage.identity import DirectoryLock, Identity, IdentityError, read_identity
from racos.storage.log import Place
from racos.storage.scan import Scan, Stored
from racos.storage.segment import segment_name
from racos.storage.staging import INDEX_FOLDER
from racos.storage.survey import Finding, Survey

__all__ = ["Checked", "NotChecked", "fsck"]

_UNREADABLE = (ValueError, KeyError, IndexError, struct.error, DecodeError)
_HEALED = "it comes again from the other members when it is read, scrubbed or moved"
_UNKNOWN = "its fragments cannot be made again here: rebuild this member from the others"
_STOPS = "the node refuses to start with it"
_ANEW = "the next start makes it anew from the log"
_NEEDED = "the node refuses to start with it, or rebuilds this member from the others"


class NotChecked(Exception):
    """There is nothing that can be checked; one line says why."""


class Checked(NamedTuple):
    """What was looked at."""

    segments: int
    records: int  # sound ones
    fragments: int  # likewise; each as often as it is there
    entries: int  # of the index
    bytes: int  # of the log
    damage: int  # findings
    notes: int


def fsck(
    directory: Path,
    tell: Callable[[Finding], None],
    progress: Callable[[str, int, int], None] = lambda _what, _done, _all: None,
) -> Checked:
    """Check a data directory. `tell` gets each finding, `progress` what is being looked at and how
    much of it was and is to be (0: not known). NotChecked, if it is none, or is in use.
    """
    if not (directory / LOG_FOLDER).is_dir():
        raise NotChecked(f"{directory}: not the data directory of a node (it has no {LOG_FOLDER}/)")
    with ExitStack() as stack:
        try:
            lock = DirectoryLock.shared(directory)
        except IdentityError as error:
            raise NotChecked(str(error)) from None
        if lock is not None:
            stack.enter_context(lock)
        return _Check(directory, tell, progress).run()


class _Check:
    """One run. Findings are counted on their way out."""

    def __init__(
        self,
        directory: Path,
        tell: Callable[[Finding], None],
        progress: Callable[[str, int, int], None],
    ) -> None:
        self._directory = directory
        self._tell_on = tell
        self._progress = progress
        self._disk = ReadOnlyDisk(directory / LOG_FOLDER)
        self._file: tuple[int, File] | None = None  # the segment read last, by its number
        self._damage = self._notes = 0
        self._fragments = self._entries = 0
        self._bytes = 0
        self._bytes_all = sum(
            path.stat().st_size for path in (directory / LOG_FOLDER).iterdir() if path.is_file()
        )
        self._references: Counter[int] = Counter()  # position -> versions that refer to it

    def run(self) -> Checked:
        owner = self._identity()
        index, failure = self._open_index(owner)
        start = 1
        if index is not None:
            try:
                start = read_start(index)
            except (ShelfError, struct.error) as error:
                index.close()
                index, failure = None, str(error)
        survey = Survey(self._disk, owner, start, self._tell, self._record, self._read)
        survey.run()
        if failure is not None:
            self._tell(Finding(str(self._index_path()), None, failure, _replaced(survey)))
        if index is not None:
            with closing(index):
                self._index(index, survey, start)
        if self._file is not None:
            self._file[1].close()
        return Checked(
            len(survey.headers),
            survey.records,
            self._fragments,
            self._entries,
            self._bytes,
            self._damage,
            self._notes,
        )

    def _tell(self, finding: Finding) -> None:
        self._damage += finding.is_damage
        self._notes += not finding.is_damage
        self._tell_on(finding)

    def _read(self, count: int) -> None:
        self._bytes += count
        self._progress("log", self._bytes, self._bytes_all)

    def _identity(self) -> Identity | None:
        try:
            return read_identity(self._directory)
        except IdentityError as error:
            path, _, why = str(error).partition(": ")
            self._tell(Finding(path, None, why, _STOPS))
            return None

    # -- records -----------------------------------------------------------------------------------

    def _record(self, scan: Scan, stored: Stored) -> None:
        """What a record of the log says; its checksums are right."""

        def wrong(what: str, means: str) -> None:
            place = Place(scan.number, stored.body, 0)
            self._tell_of(place, f"record {stored.head.sequence}: {what}", means)

        try:
            record, values = records.decode(stored.kind, stored.header)
            if not isinstance(record, PayRecord):
                return
            descriptor = records.unseal(scan.read(stored.blob_places[0]))
            found = entries.joined(record.held, stored.blob_places, values) if values else {}
            bad = list(self._bad_fragments(descriptor, found, scan.read)) if found else []
        except records.BadDescriptor as error:
            wrong(str(error), _UNKNOWN)
        except _UNREADABLE as error:
            wrong(f"makes no sense: {error}", _STOPS)
        else:
            for index, place, _ in bad:
                what = f"fragment {index} of round {record.round} lane {record.lane} is not"
                self._tell_of(place, f"{what} what its digest says", _HEALED)

    def _bad_fragments(
        self,
        descriptor: bytes,
        found: dict[int, tuple[Place, ...]],
        read: Callable[[Place], bytes],
    ) -> Iterator[tuple[int, Place, str]]:
        """Fragments that do not match the digests in the descriptor: index, place, how."""
        named = batches.coded_values(descriptor, 0, 0)
        for index, places in found.items():
            for place, value in zip(places, named, strict=True):
                try:
                    check_fragment(read(place), value.fragment_digests[index])
                    self._fragments += 1
                except (BadFragment, IndexError) as error:
                    yield index, place, str(error)

    # -- the index ---------------------------------------------------------------------------------

    def _index_path(self) -> Path:
        """Where the index is, or would be after what a crash interrupted is finished."""
        path = self._directory / INDEX_FOLDER
        other = [self._directory / f"{INDEX_FOLDER}.{name}" for name in ("new", "old")]
        if path.exists() or not other[1].exists():
            return path
        return other[0] if other[0].exists() else other[1]

    def _open_index(self, owner: Identity | None) -> tuple[FrozenIndex | None, str | None]:
        """The index, or what is wrong with it; neither, if there is none."""
        path = self._index_path()
        if not path.exists():
            self._tell(Finding(str(path), None, "there is no index", _ANEW, is_damage=False))
            return None, None
        try:
            index = FrozenIndex(path)
        except ShelfError as error:
            return None, str(error).removeprefix(f"{path}: ")
        try:
            if owner is None or index.belongs_to(owner.member_id, owner.cluster_id):
                return index, None
            failure = "index of another member, cluster or version"
        except ShelfError as error:
            failure = str(error).removeprefix(f"{path}: ")
        index.close()
        return None, failure

    def _index(self, index: FrozenIndex, survey: Survey, start: int) -> None:
        path = str(index.directory)
        try:
            self._books(index, survey, start)
            for prefix in sorted(_DECODERS):
                self._decode(index, prefix)
            self._batches(index, survey)
        except ShelfError as error:
            text = str(error).removeprefix(f"{path}: ")
            self._tell(Finding(path, None, text, _replaced(survey)))
            return
        for position, count in sorted(self._references.items()):
            what = f"{count} versions refer to slot {position}, of which it names nothing"
            self._tell(Finding(path, None, what, "their values come from the other members"))

    def _books(self, index: FrozenIndex, survey: Survey, start: int) -> None:
        applied = read_applied(index)
        read_configs(index)
        if applied.sequence > survey.last_sequence:
            what = (
                f"it rests on record {applied.sequence} of the log, which ends at record "
                f"{survey.last_sequence}"
            )
            self._tell(Finding(str(index.directory), None, what, _STOPS))
        if survey.headers and start not in survey.headers:
            what = f"a start has to read log segment {start}, which is not there"
            self._tell(Finding(str(index.directory), None, what, _STOPS))

    def _decode(self, index: FrozenIndex, prefix: bytes) -> None:
        decode = _DECODERS[prefix]
        for key, data in index.scan(prefix, encoding.after(prefix)):
            self._entries += 1
            if not self._entries & 0xFFF:
                self._progress("index", self._entries, 0)
            try:
                value = decode(key, data)
            except _UNREADABLE as error:
                what = f"entry {key[:64]!r} makes no sense: {error}"
                self._tell(Finding(str(index.directory), None, what, "the node ends on reading it"))
                continue
            if value is not None:
                # The number of fragments is the number of lanes.
                self._references[value.round * len(value.fragment_digests) + value.lane] += 1

    def _batches(self, index: FrozenIndex, survey: Survey) -> None:
        """What it says about coded batches, against the log and against what refers to them."""
        for key, data in index.scan(entries.PREFIX, entries.END):
            self._entries += 1
            self._progress("values", self._entries, 0)
            try:
                position, entry = entries.position_of(key), entries.decode(data)
            except _UNREADABLE as error:
                what = f"entry {key!r} makes no sense: {error}"
                self._tell(Finding(str(index.directory), None, what, _STOPS))
                continue
            there = self._references.pop(position, 0)
            if there != entry.references:
                what = f"slot {position} is referred to {there} times, not {entry.references}"
                means = "its space comes back too early or never: rebuild this member"
                self._tell(Finding(str(index.directory), None, what, means))
            self._parts(position, entry, survey)

    def _parts(self, position: int, entry: entries.Entry, survey: Survey) -> None:
        name = f"slot {position}"
        gone = [place for place in entry.places() if place.segment not in survey.headers]
        for place in gone:
            self._tell_of(place, f"{name}: the index names what is not there", _HEALED)
        if gone:
            return
        try:
            descriptor = records.unseal(self._read_place(entry.descriptor))
            bad = list(self._bad_fragments(descriptor, entry.fragments, self._read_place))
        except (OSError, records.BadDescriptor, *_UNREADABLE) as error:
            self._tell_of(entry.descriptor, f"{name}: {error}", _UNKNOWN)
            return
        for index, place, why in bad:
            self._tell_of(place, f"{name}: fragment {index}, which is needed: {why}", _HEALED)

    def _read_place(self, place: Place) -> bytes:
        if self._file is None or self._file[0] != place.segment:
            if self._file is not None:
                self._file[1].close()
            self._file = place.segment, self._disk.open(segment_name(place.segment))
        return self._file[1].read(place.offset, place.length)

    def _tell_of(self, place: Place, what: str, means: str) -> None:
        path = self._disk.path(segment_name(place.segment))
        self._tell(Finding(path, place.offset, what, means))


def _replaced(survey: Survey) -> str:
    """What becomes of an index that cannot be used."""
    return _ANEW if survey.is_whole else _NEEDED


def _version(key: bytes, data: bytes) -> CodedValue | None:
    value = encoding.decode_record(key, data).value
    return value if isinstance(value, CodedValue) else None


def _changes(key: bytes, data: bytes) -> None:
    encoding.revision_of_changes(key)
    encoding.decode_changes(data)


def _lease(key: bytes, data: bytes) -> None:
    encoding.lease_id(key)
    encoding.decode_lease(data)


def _attached(key: bytes, _data: bytes) -> None:
    encoding.lease_id(key)


def _counters(_key: bytes, data: bytes) -> None:
    encoding.decode_counters(data)


def _alarm(key: bytes, _data: bytes) -> None:
    encoding.alarm_of(key)


_DECODERS: dict[bytes, Callable[[bytes, bytes], CodedValue | None]] = {
    encoding.LIVE: _version,
    encoding.PAST: _version,
    encoding.CHANGES: _changes,
    encoding.LEASES: _lease,
    encoding.ATTACHED: _attached,
    encoding.COUNTERS: _counters,
    encoding.ALARMS: _alarm,
}

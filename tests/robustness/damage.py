"""Damage to a stopped node's log, aimed and at random: what a disk, or a person, may do to it."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from racos.storage.disk import OsDisk
from racos.storage.mark import read_mark
from racos.storage.record import (
    HEAD_BYTES,
    SEGMENT_HEADER_BYTES,
    Head,
    parse_head,
    parse_segment_header,
)
from racos.storage.segment import segment_name

LOG = "log"
FIRST = segment_name(1)

# Where the fields of a record's head lie (racos.storage.record), in bytes from its beginning.
_HEAD_CRC, _BODY_CRC, _LENGTH, _SEQUENCE = 4, 8, 20, 24


class Record(NamedTuple):
    """A record of the first segment: from `start` up to `end`."""

    start: int
    end: int
    head: Head


class Log:
    """The first segment of a node's log, to be changed in memory and written back."""

    def __init__(self, data_dir: Path, draw: random.Random) -> None:
        self.path = data_dir / LOG / FIRST
        self.content = bytearray(self.path.read_bytes())
        self.draw = draw
        self.records = list(self._walk())
        self._mark = read_mark(OsDisk(data_dir / LOG))

    def _walk(self) -> Iterator[Record]:
        salt = parse_segment_header(bytes(self.content[:SEGMENT_HEADER_BYTES])).salt
        at = SEGMENT_HEADER_BYTES
        while (head := parse_head(self.content, at, salt)) is not None:
            end = at + HEAD_BYTES + head.body_length
            yield Record(at, end, head)
            at = end

    def write(self) -> None:
        self.path.write_bytes(self.content)

    def flip(self, offset: int) -> None:
        self.content[offset] ^= 1 << self.draw.randrange(8)

    def last(self) -> Record:
        """The last record that was promised: a killed node may leave one more, written and synced,
        that it said nothing about, and which may go like any torn tail."""
        return [each for each in self.records if each.head.sequence <= self._mark][-1]

    def middle(self) -> Record:
        """A record with a large body, not among the last."""
        return self.draw.choice([each for each in self.records[:-20] if each.head.blob_count])


def _segment_header(log: Log) -> None:
    log.flip(log.draw.randrange(16, 52))


def _head_field(offset: int, size: int) -> Callable[[Log], None]:
    def flip(log: Log) -> None:
        log.flip(log.middle().start + offset + log.draw.randrange(size))

    return flip


def _body(log: Log) -> None:
    record = log.middle()
    log.flip(log.draw.randrange(record.start + HEAD_BYTES, record.end))


def _tail(log: Log) -> None:
    """In the last promised record, which only the mark proves."""
    record = log.last()
    log.flip(log.draw.randrange(record.start, record.start + HEAD_BYTES + 1))


def _cut_middle(log: Log) -> None:
    record = log.middle()
    del log.content[log.draw.randrange(record.start, record.end) :]


def _cut_tail(log: Log) -> None:
    del log.content[log.last().start :]


def _delete_record(log: Log) -> None:
    record = log.middle()
    del log.content[record.start : record.end]


def _swap_records(log: Log) -> None:
    index = log.draw.randrange(len(log.records) - 20)
    one, other = log.records[index : index + 2]
    log.content[one.start : other.end] = (
        log.content[other.start : other.end] + log.content[one.start : one.end]
    )


def _swap_blocks(log: Log) -> None:
    """Two 4 KiB blocks, as a file system may confuse them."""
    blocks = range(1, log.records[-20].start // 4096)
    one, other = (4096 * block for block in log.draw.sample(blocks, 2))
    content = log.content
    content[one : one + 4096], content[other : other + 4096] = (
        content[other : other + 4096],
        content[one : one + 4096],
    )


def _zero_block(log: Log) -> None:
    block = 4096 * log.draw.randrange(1, log.records[-20].start // 4096)
    log.content[block : block + 4096] = bytes(4096)


def _delete_all(log: Log) -> None:
    log.content.clear()


def _rot(rate: float) -> Callable[[Log], None]:
    def flip(log: Log) -> None:
        """At least one flip, each of the bytes in records with this chance."""
        count = max(1, round(rate * log.records[-1].end))
        for _ in range(count):
            log.flip(log.draw.randrange(log.records[-1].end))

    return flip


AIMED: dict[str, Callable[[Log], None]] = {
    "a bit of the segment's header": _segment_header,
    "a bit of a record's magic number": _head_field(0, 4),
    "a bit of a head's checksum": _head_field(_HEAD_CRC, 4),
    "a bit of a body's checksum": _head_field(_BODY_CRC, 4),
    "a bit of a record's length": _head_field(_LENGTH, 4),
    "a bit of a record's sequence": _head_field(_SEQUENCE, 8),
    "a bit of a body": _body,
    "a bit of the last record": _tail,
    "cut in the middle": _cut_middle,
    "cut before the last record": _cut_tail,
    "a record gone": _delete_record,
    "two records swapped": _swap_records,
    "two blocks swapped": _swap_blocks,
    "a block of zeros": _zero_block,
    "an empty file": _delete_all,
}
RANDOM: dict[str, Callable[[Log], None]] = {
    f"{rate:g} of all bytes": _rot(rate) for rate in (1e-5, 1e-4, 1e-3)
}

"""What a run did and saw: operations of recording clients, and the events of a watch from 1.

Values are named by a tag that no other write uses; the bytes follow from the tag, so a history
holds tags only and a value that was not read back bit by bit shows as one that nobody wrote.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

_counter = itertools.count(1)
_FILLER = bytes(range(256)) * 16


def new_value(size: int = 32) -> bytes:
    """A value unlike any other of this process; `size` bytes, more if its tag is longer."""
    return expand(f"v{next(_counter)}/{size}")


def expand(tag: str) -> bytes:
    """The bytes that a tag stands for: the tag, a line end, and filler that depends on the tag."""
    head = tag.encode() + b"\n"
    size = int(tag.rpartition("/")[2])
    shift = sum(head) % 256
    missing = max(0, size - len(head))
    filler = _FILLER[shift : shift + 256] * (missing // 256 + 1)
    return head + filler[:missing]


def tag_of(value: bytes) -> str:
    """The tag of a value; what no tag stands for is named by its size and beginning."""
    tag = value.partition(b"\n")[0].decode(errors="replace")
    size = tag.rpartition("/")[2]
    if size.isascii() and size.isdigit() and expand(tag) == value:
        return tag
    return f"not a written value: {len(value)} bytes, {value[:40]!r}"


class Kind(Enum):
    PUT = "put"
    DELETE = "delete"
    SWAP = "swap"  # put if the key's mod revision is as expected, else get it
    GET = "get"


class Outcome(Enum):
    OK = "ok"
    DEFINITE = "definite"  # refused: it never took effect
    UNKNOWN = "unknown"  # it may have taken effect, or may yet


class Found(NamedTuple):
    """A key's state as a client sees it."""

    tag: str
    create_revision: int
    mod_revision: int
    version: int


@dataclass(slots=True)
class Operation:
    """One call. Times are monotonic nanoseconds of one clock; `end` of an unknown one means
    nothing."""

    kind: Kind
    key: str
    member: str
    begin: int
    end: int = 0
    outcome: Outcome = Outcome.UNKNOWN
    tag: str = ""  # of PUT and SWAP: the value written
    expected: int = 0  # of SWAP: the mod revision compared with
    revision: int = 0  # of the answer's header
    succeeded: bool = True  # of SWAP and DELETE: whether it changed anything
    found: Found | None = None  # of GET, and of SWAP that did not succeed
    error: str = ""


class Event(NamedTuple):
    """One change by a watcher's word; tag None for a delete."""

    revision: int
    key: str
    tag: str | None
    create_revision: int
    version: int

"""What a scan of the log lacks is fetched off the node's loop, one read at a time."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol

from racos.storage.scan import Scan


class Reader(Protocol):
    def start(self, work: Callable[[], None], done: Callable[[], None]) -> None:
        """Run `work`, which waits for the disk and raises nothing, off this thread, and then call
        `done` in it; or both at once."""


class AtOnce:
    """A Reader where nothing ever waits: for disks in memory."""

    def start(self, work: Callable[[], None], done: Callable[[], None]) -> None:
        work()
        done()


class Fetching:
    """Of one background job: `busy` while a read is under way."""

    __slots__ = ("_reader", "busy")

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self.busy = False

    def start(self, scan: Scan) -> None:
        """Have fetched what the scan wanted when it raised NotYet."""
        self.busy = True
        scan.file.begin()
        self._reader.start(scan.file.fetch, partial(self._done, scan))

    def _done(self, scan: Scan) -> None:
        self.busy = False
        scan.file.fetched()

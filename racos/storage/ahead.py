"""A file that never makes its reader wait for the disk: what is not in memory is fetched by others.

Whoever reads what the kernel would have to fetch gets NotYet. It then has `fetch` called, in any
thread, and reads the same again. Background work on the node's loop reads the log that way, so that
a slow disk never holds up agreement.
"""

from __future__ import annotations

from racos.storage.disk import File

__all__ = ["Ahead", "NotYet"]


class NotYet(Exception):
    """The bytes are on the disk only: have `Ahead.fetch` called."""


class Ahead:
    """Implements `racos.storage.disk.Readable`. One thread uses it; another one may be in
    `fetch` meanwhile, and `close` waits for that one's end (`fetched`)."""

    __slots__ = ("_bytes", "_closing", "_error", "_fetching", "_file", "_wanted", "may_wait")

    def __init__(self, file: File) -> None:
        self._file = file
        self._wanted = (0, 0)  # offset and length of the read that could not be served, or was last
        self._bytes: bytes | None = None  # what was fetched for it
        self._error: OSError | None = None  # or why not
        self._fetching = False
        self._closing = False
        self.may_wait = False  # read from the disk at once, as any other file

    def read(self, offset: int, length: int) -> bytes:
        """As `File.read`. NotYet if that would have to wait for the disk."""
        assert not self._fetching, "read before the fetch has ended"
        if (offset, length) == self._wanted:
            if self._error is not None:
                error, self._error = self._error, None
                raise error
            if self._bytes is not None:
                return self._bytes
        if self.may_wait:
            return self._file.read(offset, length)
        found = self._file.read_now(offset, length)
        if found is None:
            self._wanted, self._bytes, self._error = (offset, length), None, None
            raise NotYet
        return found

    def begin(self) -> None:
        """Somebody is going to call `fetch`, and after that `fetched`, in this thread."""
        self._fetching = True

    def fetch(self) -> None:
        """Read what was wanted last. In any thread."""
        try:
            self._bytes = self._file.read(*self._wanted)
        except OSError as error:
            self._error = error

    def fetched(self) -> None:
        self._fetching = False
        if self._closing:
            self._file.close()

    def size(self) -> int:
        return self._file.size()

    def close(self) -> None:
        self._closing = True
        if not self._fetching:
            self._file.close()

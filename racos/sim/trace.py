"""What happened, as a running hash always and as readable lines on demand."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b


class Trace:
    """Equal seeds must give equal hashes. `write` gets each line, if it is not None."""

    def __init__(self, write: Callable[[str], None] | None = None) -> None:
        self._hash = blake2b(digest_size=12)
        self._write = write
        self.lines = write is not None

    def mix(self, now: float, *parts: bytes) -> None:
        """Something happened."""
        self._hash.update(b"%.9f" % now)
        for part in parts:
            self._hash.update(part)

    def line(self, now: float, text: str) -> None:
        """Something worth reading happened; it counts for the hash, too."""
        self._hash.update(text.encode())
        if self._write is not None:
            self._write(f"{now:10.6f} {text}")

    def digest(self) -> str:
        return self._hash.hexdigest()

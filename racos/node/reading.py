"""Reading parts of batches back from the log: what it does not give back is named, once each."""

from __future__ import annotations

from collections.abc import Callable

from racos.node.records import BadDescriptor, unseal
from racos.storage.log import Log, LogError, Place


class Unreadable(Exception):
    """A batch's descriptor cannot be had from this log; one line says which and why."""


class Reading:
    """`report` is told in one line of what is damaged or gone."""

    __slots__ = ("_log", "_report", "_reported")

    def __init__(self, log: Log, report: Callable[[str], None]) -> None:
        self._log = log
        self._report = report
        self._reported: set[int] = set()  # positions whose descriptor was reported

    def descriptor(self, position: int, place: Place) -> bytes:
        """A batch's descriptor, checked. Raises Unreadable."""
        try:
            return unseal(self._log.read(place))
        except (BadDescriptor, LogError, OSError) as error:
            where = f"{self._log.name(place.segment)}: offset {place.offset}: {_reason(error)}"
            if position not in self._reported:
                self._reported.add(position)
                self._report(f"log.unreadable position={position} {where}")
            raise Unreadable(where) from None

    def fragment(self, position: int, index: int, place: Place) -> bytes | None:
        """A fragment of one value, not verified; None if it cannot be read."""
        try:
            return self._log.read(place)
        except (LogError, OSError) as error:
            where = f"{self._log.name(place.segment)}: offset {place.offset}"
            text = f"position={position} fragment={index} {where}: {_reason(error)}"
            self._report(f"log.unreadable {text}")
            return None

    def now(self, place: Place) -> bytes | None:
        """Bytes of the log, not verified; None if they are not in memory, or cannot be read."""
        try:
            return self._log.read_now(place)
        except (LogError, OSError):
            return None  # whoever then waits for them learns why

    def later(self, place: Place) -> Callable[[], bytes | None]:
        """Reads the same in any thread; None if that fails."""
        return self._log.elsewhere(place)


def _reason(error: Exception) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)

"""One replica's constants."""

from __future__ import annotations

from typing import Final, NamedTuple

from racos.core.agreement import Patience
from racos.core.quorum import Quorum

ROUNDS_MAX: Final = 128  # W where nothing else is said; the same on all members, and for ever


class Settings(NamedTuple):
    """One replica's constants. Times in seconds; none of them matters to safety."""

    quorum: Quorum
    lane: int
    secret: bytes
    incarnation: int = 0  # differs between lives of one replica; numbers its read probes
    rounds_max: int = ROUNDS_MAX  # W
    suspect_after: float = 0.25
    ask_after: float = 0.03  # stuck for so long: ask the others
    ask_every: float = 0.1
    beat_every: float = 0.04
    probe_again: float = 0.2
    lane_off_after: float = 5.0  # of suspicion: switch the lane off
    patience: Patience = Patience()

"""How much these tests do: a part of it by default, all of it with RACOS_CAMPAIGN=1.

docs/robustness.md says what the whole takes, and holds its record. RACOS_SEED draws other victims
and other damage.
"""

from __future__ import annotations

import os
from typing import TypeVar

T = TypeVar("T")

SEED = int(os.environ.get("RACOS_SEED", "1"))
_ALL = os.environ.get("RACOS_CAMPAIGN", "0") != "0"


def amount(usual: T, campaign: T) -> T:
    """The amount for this run."""
    return campaign if _ALL else usual

"""What every checker raises."""

from __future__ import annotations


class Violation(Exception):
    """An invariant does not hold. `invariant` is its name in the list of the checkers."""

    def __init__(self, invariant: str, text: str) -> None:
        super().__init__(f"{invariant}: {text}")
        self.invariant = invariant

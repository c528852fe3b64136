"""What replicas of the queue engine say about slots (docs/queue-engine.md); lanes never use it.

There a slot is a plain number, and any replica may propose any batch for it. A batch has a name
that no slot is part of: `stamp * n + lane` of the replica that took it, so that the order of names
is the order of queues.
"""

from __future__ import annotations

from typing import Final, NamedTuple

NONE: Final = -1  # the name of no batch
PROPOSAL: Final = 0  # a slot's first step; STATE and VOTE of each phase follow


class Ballot(NamedTuple):
    """One replica's word in one step of one slot; the log keeps it in the same form.

    Every 1 carries the batch's name, so whoever learns a decision can name what was decided.
    """

    slot: int
    step: int  # 0: PROPOSAL; 2p+1: STATE of phase p; 2p+2: VOTE of phase p
    value: int  # 0, 1 or UNSURE (a vote)
    name: int  # NONE unless the value is 1


class Settled(NamedTuple):
    """The slot is decided: for this batch, or for none."""

    slot: int
    name: int


class Pull(NamedTuple):
    """Please send the batch of this name."""

    name: int


def is_state(step: int) -> bool:
    return step % 2 == 1


def phase_of(step: int) -> int:
    """The phase of a STATE or VOTE."""
    return (step - 1) // 2

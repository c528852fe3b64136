"""What replicas say to each other about slots, and what each writes down before it says it.

A slot is (round, lane). Internally it is one integer, its position `round * n + lane`, which is
also the total order in which batches are applied. State, Vote and Decide speak about a range of
rounds of one lane, so that all open slots of a dead owner are settled by one message each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, TypeAlias

from racos.core.ballots import Ballot, Pull, Settled

UNSURE: Final = 2  # the vote '?'

Buffer: TypeAlias = bytes | bytearray | memoryview


class Payload:
    """A batch: its descriptor, which every holder gets whole, and those fragments that are at hand.

    `fragments[i]` lists fragment i of each coded value of the batch, in the batch's order; `coded`
    says whether the batch has coded values at all. The core never looks inside.
    """

    __slots__ = ("coded", "descriptor", "fragments")

    def __init__(
        self,
        descriptor: bytes,
        coded: bool = False,
        fragments: Mapping[int, Sequence[Buffer]] | None = None,
    ) -> None:
        self.descriptor = descriptor
        self.coded = coded
        self.fragments: Mapping[int, Sequence[Buffer]] = fragments or {}


class Pay(NamedTuple):
    """The owner's batch for one slot. Rounds between `previous` and `round` of the lane are
    skipped.
    """

    lane: int
    round: int
    previous: int
    payload: Payload
    held: int  # bit set of the fragments that come with it


class State(NamedTuple):
    lane: int
    first: int
    last: int
    phase: int
    value: int
    held: int  # the sender's durable fragments


class Vote(NamedTuple):
    lane: int
    first: int
    last: int
    phase: int
    value: int  # 0, 1 or UNSURE


class Decide(NamedTuple):
    lane: int
    first: int
    last: int
    value: int


class Hold(NamedTuple):
    """More fragments became durable at `holder`: the sender, or one whose word it passes on."""

    lane: int
    round: int
    holder: int
    held: int


class Skip(NamedTuple):
    """A chain link: the owner never proposed, and never will, in rounds previous+1 .. upto."""

    lane: int
    previous: int
    upto: int


class Ask(NamedTuple):
    """The sender is stuck at this position: tell it what you know from there on."""

    position: int


class Probe(NamedTuple):
    """Read barrier: which is the highest position for which you said STATE 1 or know decision 1?"""

    number: int


class ProbeReply(NamedTuple):
    number: int
    position: int


class Beat(NamedTuple):
    """Sign of life: highest round seen, and the position below which everything is applied.

    Below `whole` the sender holds its own fragment of every coded batch, durably. 0 claims nothing.
    `epoch` is the newest configuration it knows; `back` asks for its own lane, which is off there.
    """

    round: int
    frontier: int
    whole: int = 0
    epoch: int = 0
    back: bool = False


class VowRequest(NamedTuple):
    """The sender has lost its memory, or has none yet, and is silent: how far may it have spoken?

    Once it knows (`upto` >= 0), it waits for everyone to get beyond that round.
    """

    nonce: int  # names the sender's directory
    number: int  # of the question
    upto: int


class VowReply(NamedTuple):
    """The answer to one such question."""

    nonce: int  # of the one who asked
    number: int
    own: int  # the sender's own
    fresh: bool  # the sender has said nothing yet, either
    met: bool  # the cluster began when both had said nothing
    round: int  # the highest that the sender knows of; -1: it has no memory itself


Message: TypeAlias = (
    Pay | State | Vote | Decide | Hold | Skip | Ask | Probe | ProbeReply | Beat
    | VowRequest | VowReply | Ballot | Settled | Pull
)  # fmt: skip


class PayRecord(NamedTuple):
    """A batch in the log. With `says_one`, the same record is the promise STATE(slot, 0, 1)."""

    lane: int
    round: int
    payload: Payload
    held: int
    says_one: bool


class StateRecord(NamedTuple):
    lane: int
    first: int
    last: int
    phase: int
    value: int


class VoteRecord(NamedTuple):
    lane: int
    first: int
    last: int
    phase: int
    value: int


class ReserveRecord(NamedTuple):
    """Rounds of the own lane up to `upto` may be used or skipped from now on; never again after a
    restart.
    """

    upto: int


class AppliedRecord(NamedTuple):
    """Every slot in [start, end) is decided; those with a batch are `ones`. Not a promise: only
    spares asking peers after a restart."""

    start: int
    end: int
    ones: tuple[int, ...]
    names: tuple[int, ...] = ()  # of these batches, if they are not named by their slots


Record: TypeAlias = PayRecord | StateRecord | VoteRecord | ReserveRecord | AppliedRecord | Ballot

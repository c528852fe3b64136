"""Rules broken on purpose, and the invariant that then fails, for explorations of one slot."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from racos.core import agreement
from racos.core.messages import Message, Record
from racos.core.outbox import ALL, Outbox
from racos.core.quorum import Quorum, bits
from racos.core.slot import Slot, vote
from racos.sim.explore import Shape
from tests.core import one_slot

N3 = Quorum(3, 1, 2)
INLINE = Shape("inline", N3, coded=False)
CODED = Shape("coded", N3, coded=True)
NARROW = Shape("coded, never widened", N3, coded=True, spread=False)

promise = Outbox.promise
cover = Quorum.cover


def said_at_once(self: Outbox, record: Record, message: Message) -> None:
    """The promise leaves before its record is durable."""
    promise(self, record, message)
    self.send(ALL, message)


def cover_of_one_loss_less(self: Quorum, held: Iterable[int], *, coded: bool) -> bool:
    """As if f-1 losses had to be survived."""
    return cover(Quorum(self.total, self.faults - 1, self.data), held, coded=coded)


def zero_of_a_holder(self: agreement.Agreement, slot: Slot) -> None:
    """A STATE that is written down, but not synced yet, does not keep it from saying 0."""
    if slot.decided is None and not slot.phases[0].states >> self.me & 1:
        slot.promised_state = 0
        self._say_state(slot, 0, 0)


def vote_without_its_own(
    slot: Slot, quorum: Quorum, me: int, *, absent: int, wait_rest: bool, wait_cover: bool
) -> one_slot.Verdict:
    """As if n-f STATEs of others were as good."""
    phase = slot.at(slot.phase)
    me = next(iter(bits(phase.states))) if phase.states else me
    return vote(slot, quorum, me, absent=absent, wait_rest=wait_rest, wait_cover=wait_cover)


BREAKS: list[tuple[str, type | object, str, Callable[..., object], Shape, tuple[str, ...]]] = [
    ("? without a 0", agreement, "vote", one_slot.unsure_without_a_zero, NARROW, ("P-1",)),
    ("vote 1 without cover", agreement, "vote", one_slot.vote_one_without_cover, CODED, ("P-7",)),
    ("coin 1", agreement, "next_state", one_slot.coin_one_without_cover, NARROW, ("P-7",)),
    ("fast", agreement, "decision", one_slot.fast_decision_of_a_quorum, INLINE, ("P-1",)),
    ("f votes", agreement, "decision", one_slot.decision_of_f_votes, INLINE, ("P-1", "P-7")),
    ("holder", agreement.Agreement, "say_zero", zero_of_a_holder, INLINE, ("P-5",)),
    ("own state", agreement, "vote", vote_without_its_own, INLINE, ("P-5",)),
    ("said early", Outbox, "promise", said_at_once, INLINE, ("P-5",)),
    ("cover", Quorum, "cover", cover_of_one_loss_less, CODED, ("P-7",)),
]

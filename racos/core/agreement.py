"""Drives slots through their phases: asks `slot` for verdicts, writes promises down, finds
coverage.

Effects leave through the outbox; fragments this replica lacks are asked of the node (`rebuilds`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from racos.core.coin import coin
from racos.core.messages import (
    Hold,
    Pay,
    Payload,
    PayRecord,
    State,
    StateRecord,
    Vote,
    VoteRecord,
)
from racos.core.outbox import Outbox
from racos.core.pace import Pace
from racos.core.peers import Peers
from racos.core.quorum import Quorum, bits
from racos.core.slot import Need, Slot, decision, next_state, vote
from racos.core.transitions import NAMES, state_taken, vote_taken


class Patience(NamedTuple):
    """How long a slot waits, in seconds. Never matters to safety."""

    rest: float = 0.15  # for the remaining states once n-f are there; until times are measured
    cover: float = 0.3  # for coverage, where giving up is allowed


class Agreement:
    __slots__ = (
        "_became_decided",
        "_waiting",
        "me",
        "now",
        "outbox",
        "pace",
        "patience",
        "peers",
        "quorum",
        "rebuilds",
        "secret",
        "silent_upto",
        "statistics",
    )

    def __init__(
        self,
        me: int,
        quorum: Quorum,
        secret: bytes,
        outbox: Outbox,
        peers: Peers,
        patience: Patience,
        became_decided: Callable[[Slot], None],
    ) -> None:
        self.me = me
        self.quorum = quorum
        self.secret = secret
        self.outbox = outbox
        self.peers = peers
        self.patience = patience
        self.pace = Pace(quorum.total, me, quorum.answers, patience.rest)
        self.now = 0.0
        self.silent_upto = -1  # the highest round about which nothing is said: see `vow`
        self.rebuilds: list[tuple[int, int]] = []  # (position, fragments this replica should hold)
        self.statistics = {**dict.fromkeys(NAMES, 0), "phases": 0}  # see `transitions`
        self._became_decided = became_decided
        self._waiting: dict[int, Slot] = {}

    # -- what this replica says ------------------------------------------------------------------

    def accept(self, slot: Slot, payload: Payload, held: int) -> None:
        """A batch, or more of its fragments, came for an undecided slot (rule 1)."""
        merged = _merge(slot.payload, payload)
        slot.payload = merged
        if slot.round <= self.silent_upto:
            slot.stored |= held  # written down when it is decided
            return
        new = held & ~slot.stored
        if payload.coded and not held and not slot.recorded:
            self._want(slot, self.quorum.share(self.me, 1))
            return
        if not slot.recorded:
            slot.recorded = True
            slot.stored = held
            says_one = slot.promised_state < 0
            record = PayRecord(slot.lane, slot.round, merged, held, says_one)
            self.statistics["stores" if says_one else "stores_late"] += 1
            if says_one:
                slot.promised_state = 0
                said = State(slot.lane, slot.round, slot.round, 0, 1, held)
                self.outbox.promise(record, said)
            else:
                self.outbox.promise(record, Hold(slot.lane, slot.round, self.me, held))
        elif new:
            self.statistics["holds_more"] += 1
            slot.stored |= new
            record = PayRecord(slot.lane, slot.round, payload, new, False)
            self.outbox.promise(record, Hold(slot.lane, slot.round, self.me, new))
        slot.rebuilding &= ~held

    def break_silence(self, upto: int, slots: Iterable[Slot]) -> None:
        """Nothing is said about rounds up to here, for ever; about the open `slots` above, what
        would have been said before.
        """
        self.silent_upto = upto
        for slot in slots:
            if slot.payload is not None and slot.decided is None and not slot.recorded:
                held, slot.stored = slot.stored, 0
                self.accept(slot, slot.payload, held)
                self.advance(slot)

    def say_zero(self, slot: Slot) -> None:
        """STATE(s, 0, 0): nothing of this slot is here, and it should not hold up the others."""
        if slot.decided is not None or slot.promised_state >= 0 or slot.recorded:
            return
        if slot.round <= self.silent_upto:
            return
        slot.promised_state = 0
        self._say_state(slot, 0, 0)
        self.statistics["says_zero"] += 1

    def _say_state(self, slot: Slot, phase: int, value: int) -> None:
        held = slot.held.get(self.me, 0)
        lane, round_ = slot.lane, slot.round
        self.outbox.promise(
            StateRecord(lane, round_, round_, phase, value),
            State(lane, round_, round_, phase, value, held),
        )

    def time_state(self, slot: Slot, sender: int) -> None:
        """STATE(s, 0, 1) of `sender`, for the first time: how long after this replica's own?"""
        if sender == self.me:
            slot.said_at = self.now
            for peer in bits(slot.phases[0].ones & ~(1 << self.me)):
                self.pace.sample(peer, 0.0)
        elif slot.said_at is not None:
            self.pace.sample(sender, self.now - slot.said_at)

    # -- progress --------------------------------------------------------------------------------

    def advance(self, slot: Slot) -> None:
        """Do what the slot's messages allow now."""
        if slot.decided is not None:
            return
        value = decision(slot, self.quorum)
        if value is not None:
            self._decide(slot, value)
        elif slot.round <= self.silent_upto:
            return
        elif slot.promised_vote < slot.phase:
            self._maybe_vote(slot)
        else:
            self._maybe_next_phase(slot)

    def _decide(self, slot: Slot, value: int) -> None:
        fast = slot.phases[0].ones == self.quorum.everyone and slot.promised_vote < 0
        self.statistics["fast" if fast else ("voted_zero", "voted_one")[value]] += 1
        if fast:
            self.peers.all_in_time()
        self.statistics["phases"] += slot.phase + 1
        slot.decided = value
        self._waiting.pop(slot.position, None)
        self._became_decided(slot)

    def _maybe_vote(self, slot: Slot) -> None:
        verdict = vote(
            slot,
            self.quorum,
            self.me,
            absent=self.peers.absent(self.now),
            wait_rest=self._lasts(slot.rest_since, self.pace.rest),
            wait_cover=self._lasts(slot.cover_since, self.patience.cover),
        )
        if isinstance(verdict, Need):
            self._wait(slot, verdict)
            return
        if slot.cover_since is None or slot.covered(self.quorum):
            self._waiting.pop(slot.position, None)
        self.statistics[vote_taken(slot, self.quorum, verdict)] += 1
        slot.promised_vote = slot.phase
        lane, round_ = slot.lane, slot.round
        self.outbox.promise(
            VoteRecord(lane, round_, round_, slot.phase, verdict),
            Vote(lane, round_, round_, slot.phase, verdict),
        )

    def _maybe_next_phase(self, slot: Slot) -> None:
        bit = coin(self.secret, slot.position, slot.phase)
        wait_cover = self._lasts(slot.cover_since, self.patience.cover)
        verdict = next_state(slot, self.quorum, self.me, bit, wait_cover=wait_cover)
        if isinstance(verdict, Need):
            self._wait(slot, verdict)
            return
        self._waiting.pop(slot.position, None)
        self.statistics[state_taken(slot, bit, verdict)] += 1
        slot.phase += 1
        slot.promised_state = slot.phase
        slot.cover_since = None
        self._say_state(slot, slot.phase, verdict)

    def _lasts(self, since: float | None, limit: float) -> bool:
        return since is None or self.now - since < limit

    def _wait(self, slot: Slot, need: Need) -> None:
        if need is Need.MORE:
            return
        self._waiting[slot.position] = slot
        if need is Need.REST and slot.rest_since is None:
            slot.rest_since = self.now
            self.statistics["waits_rest"] += 1
        elif need is Need.COVER:
            if slot.cover_since is None:
                slot.cover_since = self.now
                self.statistics["waits_cover"] += 1
            self._spread(slot)

    def cover_stuck(self, slot: Slot) -> None:
        """The frontier waits at this slot, which is held here: see that it gets covered.

        Even if this replica itself has voted '?' or is phases ahead (perhaps before a restart):
        another one may have seen no 0, and then cannot vote before the batch is covered.
        """
        if slot.decided is None and slot.recorded and not slot.covered(self.quorum):
            self._wait(slot, Need.COVER)

    def tick(self) -> None:
        """Look again at slots whose patience may be over.

        A slot that lacked coverage goes on spreading after this replica voted '?': another one may
        have seen no 0, and then cannot vote before the batch is covered.
        """
        self.pace.settle()
        for slot in list(self._waiting.values()):
            if slot.decided is not None:
                self._waiting.pop(slot.position, None)
                continue
            if slot.rest_since is not None and not self._lasts(slot.rest_since, self.pace.rest):
                self._blame(slot)
            if slot.cover_since is not None and not slot.covered(self.quorum):
                self._spread(slot)
            self.advance(slot)

    def _blame(self, slot: Slot) -> None:
        """Whoever kept this slot waiting is not waited for during the next while."""
        missing = self.quorum.everyone & ~slot.phases[0].states & ~self.peers.absent(self.now)
        for peer in bits(missing):
            self.peers.mark_slow(peer, self.now)
            self.pace.sample(peer, 2 * self.pace.rest)  # at least; when it comes is not waited for

    # -- coverage (docs/protocol.md, dispersal and width) ------------------------------------------

    def width(self) -> int:
        """Fragments per replica for a new batch, so that those who answer cover it."""
        return self.quorum.width_for(self.quorum.total - self.peers.absent(self.now).bit_count())

    def _width_within(self, slot: Slot) -> int:
        """The same for one slot: whoever said 0 there and holds nothing is not counted on either.

        One that is away is never counted on, though it may hold a fragment: it cannot take more.
        """
        empty = slot.phases[0].zeros
        for holder in slot.held:
            empty &= ~(1 << holder)
        out = self.peers.absent(self.now) | empty
        return self.quorum.width_for(self.quorum.total - out.bit_count())

    def _spread(self, slot: Slot) -> None:
        """Cover is missing: widen the batch over those who answer."""
        width = self._width_within(slot)
        payload = slot.payload
        if payload is None:
            return
        if not payload.coded:
            width = 1
        if slot.lane == self.me and len(payload.fragments) == self.quorum.total:
            self._spread_as_owner(slot, payload, width)
        elif self._owner_gone(slot):
            share = self.quorum.share(self.me, width)
            if payload.coded:
                self._want(slot, share)
            else:  # it is all here, noted from a chunk of history by somebody who said nothing
                self.accept(slot, payload, share)

    def _owner_gone(self, slot: Slot) -> bool:
        """Nobody but this replica will widen its share: the owner is away, or has forgotten how."""
        absent = bool(self.peers.absent(self.now) >> slot.lane & 1)
        return (
            absent or slot.lane == self.me or not self._lasts(slot.cover_since, self.patience.cover)
        )

    def _spread_as_owner(self, slot: Slot, payload: Payload, width: int) -> None:
        if width <= slot.cover_width:
            return
        slot.cover_width = width
        self.statistics["widened"] += 1
        absent = self.peers.absent(self.now)
        for peer in range(self.quorum.total):
            more = self.quorum.share(peer, width) & ~slot.held.get(peer, 0)
            if peer == self.me:
                self.accept(slot, payload, self.quorum.share(peer, width))
            elif more and not absent >> peer & 1:
                pay = Pay(slot.lane, slot.round, slot.round - 1, payload, more)
                self.outbox.send(peer, pay)

    def _want(self, slot: Slot, share: int) -> None:
        """Ask the node to rebuild fragments of this replica's share from what others hold."""
        missing = share & ~slot.stored & ~slot.rebuilding
        if missing:
            slot.rebuilding |= missing
            self.statistics["asks_rebuild"] += 1
            self.rebuilds.append((slot.position, missing))


def _merge(known: Payload | None, new: Payload) -> Payload:
    if known is None or known is new:
        return new
    return Payload(new.descriptor, new.coded, {**known.fragments, **new.fragments})

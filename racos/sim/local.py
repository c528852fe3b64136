"""One replica's side of one slot as a hashable value, and the production core as its transitions.

A transition builds a real `Replica` from the value, feeds it one event through the same handlers as
in production (`receive`, `persisted`, `rebuilt`, and the replay of its log on restart), and reads
the value back. So nothing of the rules is written twice. Distinct values of one replica are few
compared with the states of all, and transitions depend on the value alone: each is run once and
remembered, which is what makes exploring fast enough in Python.

Time is not part of the value. Patience lasts, except in the events that say it is over; these may
happen at any moment, as may suspicion (`ZERO`) and the rebuilding of fragments (`REBUILT`).
"""

from __future__ import annotations

from typing import Final, NamedTuple

from racos.core.coin import coin
from racos.core.messages import (
    Hold,
    Message,
    Pay,
    Payload,
    PayRecord,
    Record,
    State,
    StateRecord,
    Vote,
    VoteRecord,
)
from racos.core.outbox import ALL
from racos.core.quorum import Quorum
from racos.core.recovery import Recovered
from racos.core.replica import Replica, Settings
from racos.core.slot import Phase, Slot

OWNER: Final = 0  # the slot explored is r0.l0
PHASES: Final = 2  # explored at most; entering the next one is the last promise
LONG_AGO: Final = -1e9  # patience that began then is over

# Events besides the delivery of a message, which is the message's number (0, 1, ..).
SYNC, ZERO, CRASH, RESTART, REST_OVER, COVER_OVER, BOTH_OVER, LOOK = range(-1, -9, -1)
REBUILT: Final = -10  # at width w: REBUILT - w
NAMES: Final = {
    SYNC: "its oldest record becomes durable",
    ZERO: "suspects the owner",
    CRASH: "crashes",
    RESTART: "restarts",
    REST_OVER: "no longer waits for the remaining states",
    COVER_OVER: "no longer waits for cover",
    BOTH_OVER: "no longer waits for anything",
    LOOK: "looks at what it knows",
}

_BLANK: Final = (-1,) * (PHASES + 1)
_SILENCE: Final = (0, 0, 0, 0, 0)

Heard = tuple[int, int, int, int, int]  # of a phase: ones, zeros, vote_ones, vote_zeros, unsure
Promise = tuple[Record, Message]


class Broken(Exception):
    """An invariant does not hold."""


class Durable(NamedTuple):
    """What is synced: fragments, whether the batch is recorded, promises by phase (-1: none)."""

    held: int = 0
    recorded: bool = False
    states: tuple[int, ...] = _BLANK
    votes: tuple[int, ...] = _BLANK

    def add(self, record: Record) -> Durable:
        if isinstance(record, PayRecord):
            grown = self._replace(held=self.held | record.held, recorded=True)
            states = _put(self.states, 0, 1) if record.says_one else self.states
            return grown._replace(states=states)
        if isinstance(record, StateRecord):
            return self._replace(states=_put(self.states, record.phase, record.value))
        assert isinstance(record, VoteRecord), record
        return self._replace(votes=_put(self.votes, record.phase, record.value))

    def records(self, payload: Payload) -> list[Record]:
        """A log with this content."""
        log: list[Record] = []
        says_one = self.states[0] == 1  # a 1 in phase 0 is said by the batch's own record
        if self.recorded:
            log.append(PayRecord(OWNER, 0, payload, self.held, says_one))
        for phase in range(PHASES + 1):
            if self.states[phase] >= 0 and not (says_one and phase == 0):
                log.append(StateRecord(OWNER, 0, 0, phase, self.states[phase]))
            if self.votes[phase] >= 0:
                log.append(VoteRecord(OWNER, 0, 0, phase, self.votes[phase]))
        return log

    def backs(self, message: Message) -> bool:
        """P-5: whether the replica could repeat this after a crash."""
        if isinstance(message, State):
            held = message.held & ~self.held == 0
            return held and self.states[message.phase] == message.value
        if isinstance(message, Vote):
            return self.votes[message.phase] == message.value
        return isinstance(message, Hold) and self.recorded and message.held & ~self.held == 0


def _put(known: tuple[int, ...], phase: int, value: int) -> tuple[int, ...]:
    if known[phase] not in (-1, value):
        raise Broken(f"P-5: the log says {known[phase]} in phase {phase}, and now {value}")
    return (*known[:phase], value, *known[phase + 1 :])


class Local(NamedTuple):
    """One replica. All but `durable` and `said` is lost in a crash."""

    me: int
    up: bool = True
    whole: bool = False  # the owner before its first crash: has all fragments at hand
    known: bool = False  # has the descriptor
    recorded: bool = False
    stored: int = 0
    phase: int = 0
    promised_state: int = -1
    promised_vote: int = -1
    decided: int = -1
    heard: tuple[Heard, ...] = (_SILENCE,) * (PHASES + 1)
    held: tuple[int, ...] = ()  # by holder: fragments known to be durable there, -1: no holder
    pending: tuple[Promise, ...] = ()  # written down, not durable
    durable: Durable = Durable()
    said: int = 0  # bit set of the messages it ever sent: may be delivered at any time, or never


class Machine:
    """The transitions of one replica's value, for one cluster shape."""

    def __init__(self, quorum: Quorum, *, coded: bool, phases: int = PHASES) -> None:
        self.quorum = quorum
        self.phases = phases  # explored to their end
        self.payload = Payload(b"batch", coded)
        self.terse = False  # whether STATEs after the first are taken as naming no fragments
        self.messages: list[tuple[int, int, Message]] = []  # (sender, receiver or ALL, message)
        self.audible = [0] * quorum.total  # per replica: bit set of the messages it may get
        self.contrary = [(0, 0)] * (PHASES + 1)  # per phase: bit sets of votes 1 and votes 0
        self._numbers: dict[tuple[int, int, Message], int] = {}
        self._secrets = [_secret(bit) for bit in (0, 1)]
        self._replicas = [[self._replica(me, bit) for bit in (0, 1)] for me in range(quorum.total)]

    def _replica(self, me: int, bit: int, past: Recovered | None = None) -> Replica:
        return Replica(Settings(self.quorum, me, self._secrets[bit]), 0.0, past)

    # -- messages --------------------------------------------------------------------------------

    def number(self, sender: int, receiver: int, message: Message) -> int:
        """The message's number; equal messages of one sender are one message, delivered at will."""
        key = (sender, receiver, message)
        known = self._numbers.get(key)
        if known is None:
            known = self._numbers[key] = len(self.messages)
            self.messages.append(key)
            self._file(known, sender, receiver, message)
        return known

    def _file(self, number: int, sender: int, receiver: int, message: Message) -> None:
        bit = 1 << number
        beyond = isinstance(message, State | Vote) and message.phase >= self.phases
        for replica in range(self.quorum.total):
            wanted = replica != sender if receiver == ALL else replica == receiver
            if wanted and not beyond:
                self.audible[replica] |= bit
        if isinstance(message, Vote) and message.value in (0, 1):
            ones, zeros = self.contrary[message.phase]
            one = bool(message.value)
            self.contrary[message.phase] = (ones | bit * one, zeros | bit * (not one))

    def start(self, me: int, *, proposes: bool) -> Local:
        """The replica before anything happened; the owner has just proposed, if it does."""
        blank = Local(me, held=(-1,) * self.quorum.total)
        if me != OWNER or not proposes:
            return blank
        replica = self._replicas[me][0]
        slot = _install(replica, blank)
        replica.agreement.accept(slot, self.payload, self.quorum.share(me, 1))
        return self._collect(blank._replace(whole=True, said=self._pays()), replica, slot, ())

    def _pays(self) -> int:
        """The owner's Pays: any width it might choose, or spread to, for each other replica."""
        said = 0
        for width in range(1, self.widths + 1):
            for peer in range(self.quorum.total):
                if peer != OWNER:
                    pay = Pay(OWNER, 0, -1, self.payload, self.quorum.share(peer, width))
                    said |= 1 << self.number(OWNER, peer, pay)
        return said

    @property
    def widths(self) -> int:
        return self.quorum.data if self.payload.coded else 1

    # -- transitions -----------------------------------------------------------------------------

    def step(self, local: Local, event: int, bit: int) -> Local:
        """The replica after the event, if its current phase's coin is `bit`."""
        if event == CRASH:
            fallen = Local(local.me, up=False, held=(-1,) * self.quorum.total)
            return fallen._replace(durable=local.durable, said=local.said)
        if event == RESTART:
            return self._restart(local, bit)
        replica = self._replicas[local.me][bit]
        slot = _install(replica, local, self.payload)
        if event == SYNC:
            return self._sync(local, replica, slot)
        self._feed(local, event, replica, slot)
        return self._collect(local, replica, slot, local.pending)

    def _feed(self, local: Local, event: int, replica: Replica, slot: Slot) -> None:
        if event >= 0:
            sender, _, message = self.messages[event]
            replica.receive(sender, message)
        elif event == ZERO:
            replica.agreement.say_zero(slot)
        elif event < REBUILT:
            share = self.quorum.share(local.me, REBUILT - event)
            if slot.payload is not None and slot.stored & share != share:
                replica.rebuilt(slot.position, slot.payload, share)
        elif slot.phase < self.phases:
            slot.rest_since = LONG_AGO if event in (REST_OVER, BOTH_OVER) else None
            slot.cover_since = LONG_AGO if event in (COVER_OVER, BOTH_OVER) else None
            replica.agreement.advance(slot)

    def _sync(self, local: Local, replica: Replica, slot: Slot) -> Local:
        """The oldest record becomes durable; a group commit is several of these in a row."""
        (record, message), *rest = local.pending
        durable = local.durable.add(record)
        replica.outbox.promise(record, message)
        first = replica.outbox.seal()
        replica.persisted(first.token)
        after = local._replace(durable=durable)
        return self._collect(after, replica, slot, tuple(rest))

    def _restart(self, local: Local, bit: int) -> Local:
        past = Recovered(self.quorum.total)
        for record in local.durable.records(self.payload):
            past.add(record)
        replica = self._replica(local.me, bit, past)
        slot = replica.window.open(0)
        return self._collect(local._replace(up=True), replica, slot, ())

    def _collect(
        self, before: Local, replica: Replica, slot: Slot, pending: tuple[Promise, ...]
    ) -> Local:
        """Read the value back, and what was promised and said meanwhile."""
        sealed = replica.outbox.seal()
        promised = replica.outbox.durable(sealed.token)
        said = before.said
        for receiver, message in sealed.sends:
            if isinstance(message, State | Vote | Hold):
                said |= self._said(before, receiver, message)
        new = tuple(zip(sealed.records, promised, strict=True))
        return _normal(before, slot, pending + new, said, self)

    def _said(self, local: Local, receiver: int, message: Message) -> int:
        if not local.durable.backs(message):
            raise Broken(f"P-5: replica {local.me} says {message}, which is not durable")
        if self.terse and isinstance(message, State) and message.phase:
            message = message._replace(held=0)
        said = 1 << self.number(local.me, receiver, message)
        if local.durable.recorded:
            for peer in self._asking(local.me):
                held = 0 if self.payload.coded else self.quorum.share(peer, 1)
                pay = Pay(OWNER, 0, -1, self.payload, held)
                said |= 1 << self.number(local.me, peer, pay)
        return said

    def _asking(self, asked: int) -> list[int]:
        """Whom a holder sends the batch on to, a coded one without fragments (see `repeat`).

        All but the owner can have an inline one from the owner itself, which is the same.
        """
        others = [peer for peer in range(self.quorum.total) if peer != asked]
        return others if self.payload.coded else [peer for peer in others if peer == OWNER]


def check_uncounted(local: Local) -> None:
    """P-5: the replica does not count what it has promised, but not synced yet."""
    for _, message in local.pending:
        if isinstance(message, Hold):
            early = max(local.held[local.me], 0) & message.held
        else:
            assert isinstance(message, State | Vote), message
            ones, zeros, *votes = local.heard[message.phase]
            masks = (ones, zeros) if isinstance(message, State) else votes
            early = any(mask >> local.me & 1 for mask in masks)
        if early:
            raise Broken(f"P-5: replica {local.me} counts {message}, which is not durable")


def _secret(bit: int) -> bytes:
    """A cluster's secret whose coins for the explored phases are all this bit."""
    number = 0
    while any(coin(b"%d" % number, 0, phase) != bit for phase in range(PHASES)):
        number += 1
    return b"%d" % number


def _install(replica: Replica, local: Local, payload: Payload | None = None) -> Slot:
    """Give the replica the slot that the value describes, and nothing else."""
    replica.window.slots.clear()
    replica.agreement.rebuilds.clear()
    slot = replica.window.open(0)
    slot.payload = payload if local.known else None
    slot.recorded, slot.stored, slot.phase = local.recorded, local.stored, local.phase
    slot.promised_state, slot.promised_vote = local.promised_state, local.promised_vote
    slot.decided = None if local.decided < 0 else local.decided
    for phase, heard in enumerate(local.heard):
        if any(heard):
            known = slot.at(phase)
            known.ones, known.zeros, known.vote_ones, known.vote_zeros, known.unsure = heard
    slot.held = {holder: mask for holder, mask in enumerate(local.held) if mask >= 0}
    return slot


def _normal(
    before: Local, slot: Slot, pending: tuple[Promise, ...], said: int, machine: Machine
) -> Local:
    """The value in normal form: knowledge that no rule asks for any more is made all alike."""
    quorum = machine.quorum
    value = before._replace(
        known=slot.payload is not None,
        recorded=slot.recorded,
        stored=slot.stored,
        phase=slot.phase,
        promised_state=slot.promised_state,
        promised_vote=slot.promised_vote,
        decided=-1 if slot.decided is None else slot.decided,
        pending=pending,
        said=said,
    )
    if slot.decided is not None:
        rest = Local(before.me, known=True, recorded=True, held=(-1,) * quorum.total, said=said)
        return rest._replace(decided=slot.decided, pending=pending, durable=before.durable)
    phases = slot.phases + [Phase() for _ in range(PHASES + 1 - len(slot.phases))]
    heard = tuple(_needed(slot, number, phase, quorum) for number, phase in enumerate(phases))
    held = [slot.held.get(holder, -1) for holder in range(quorum.total)]
    if slot.covered(quorum) or slot.phase == machine.phases:
        # Once covered, always covered; only the own fragments are still spoken of.
        held = [quorum.everyone] * quorum.total
        held[before.me] = slot.held.get(before.me, -1)
    return value._replace(heard=heard, held=tuple(held))


def _needed(slot: Slot, number: int, phase: Phase, quorum: Quorum) -> Heard:
    """What the rules may still ask of a phase; the rest as if everything had been heard.

    After the vote in a phase only rule 3 asks for its states, and only while no 0 is known. Votes
    '?' count for nothing once the phase is left.
    """
    ones, zeros = phase.ones, phase.zeros
    if slot.promised_vote >= number and (number or zeros):
        ones, zeros = 0, quorum.everyone
    unsure = quorum.everyone if slot.phase > number else phase.unsure
    return ones, zeros, phase.vote_ones, phase.vote_zeros, unsure

"""How messages, records and slots are written in a play: one readable line each."""

from __future__ import annotations

from racos.core.effects import Chunk
from racos.core.messages import (
    UNSURE,
    Ask,
    Beat,
    Decide,
    Hold,
    Message,
    Pay,
    PayRecord,
    Probe,
    ProbeReply,
    Record,
    ReserveRecord,
    Skip,
    State,
    StateRecord,
    Vote,
    VoteRecord,
    VowReply,
    VowRequest,
)
from racos.core.quorum import bits
from racos.core.slot import Slot

_VALUES = {0: "0", 1: "1", UNSURE: "?"}


def slot_name(position: int, total: int) -> str:
    round_, lane = divmod(position, total)
    return f"r{round_}.l{lane}"


def members(mask: int) -> str:
    return "{" + ",".join(str(member) for member in bits(mask)) + "}"


def slots_name(first: int, last: int, lane: int) -> str:
    return f"r{first}.l{lane}" if first == last else f"r{first}..r{last}.l{lane}"


def kind(message: Message | Chunk) -> str:
    return type(message).__name__.upper()


def message_text(message: Message | Chunk, total: int) -> str:
    match message:
        case Pay(lane, round_, previous, payload, held):
            name = payload.descriptor.decode()
            return f"PAY r{round_}.l{lane} prev={previous} held={members(held)} {name}"
        case State(lane, first, last, phase, value, held):
            tail = f" held={members(held)}" if held else ""
            return f"STATE {slots_name(first, last, lane)} p{phase}={value}{tail}"
        case Vote(lane, first, last, phase, value):
            return f"VOTE {slots_name(first, last, lane)} p{phase}={_VALUES[value]}"
        case Decide(lane, first, last, value):
            return f"DECIDE {slots_name(first, last, lane)}={value}"
        case Hold(lane, round_, holder, held):
            return f"HOLD r{round_}.l{lane} at {holder}: {members(held)}"
        case Skip(lane, previous, upto):
            return f"SKIP l{lane} after r{previous} upto r{upto}"
        case Ask(position):
            return f"ASK from {slot_name(position, total)}"
        case Probe(number):
            return f"PROBE {probe_name(number)}"
        case ProbeReply(number, position):
            highest = "nothing" if position < 0 else slot_name(position, total)
            return f"PROBEREPLY {probe_name(number)} highest={highest}"
        case Beat(round_, frontier):
            return f"BEAT r{round_} {slot_name(frontier, total)}"
        case Chunk(start, end, batches):
            names = ",".join(payload.descriptor.decode() for _, payload in batches)
            return f"CHUNK {slot_name(start, total)}..<{slot_name(end, total)} [{names}]"
        case _:
            return vow_text(message)


def vow_text(message: Message) -> str:
    """What is said about a replica without memory."""
    if isinstance(message, VowRequest):
        waits = f", waits for the end of r{message.upto}" if message.upto >= 0 else ""
        return f"VOWREQUEST #{message.number}{waits}"
    if not isinstance(message, VowReply):
        return repr(message)  # of the queue engine: see queue_stage
    known = f"knows r{message.round}" if message.round >= 0 else "has no memory"
    words = ["", ", fresh"][message.fresh] + ["", ", met"][message.met]
    return f"VOWREPLY #{message.number} {known}{words}"


def probe_name(number: int) -> str:
    """Life and count of a probe."""
    return f"#{number >> 32}.{number & 0xFFFFFFFF}"


def record_text(record: Record) -> str | None:
    """None for what only repeats the trace (what was applied)."""
    match record:
        case PayRecord(lane, round_, payload, held, says_one):
            promise = ", says 1" if says_one else ""
            name = payload.descriptor.decode()
            return f"PAY r{round_}.l{lane} held={members(held)} {name}{promise}"
        case StateRecord(lane, first, last, phase, value):
            return f"STATE {slots_name(first, last, lane)} p{phase}={value}"
        case VoteRecord(lane, first, last, phase, value):
            return f"VOTE {slots_name(first, last, lane)} p{phase}={_VALUES[value]}"
        case ReserveRecord(upto):
            return f"RESERVE upto r{upto}"
        case _:
            return None


def decision_text(slot: Slot, faults: int, everyone: int) -> str:
    """What a decision rests on, in the terms of rules 3 and 6."""
    for number, phase in enumerate(slot.phases):
        for voters in (phase.vote_ones, phase.vote_zeros):
            if voters.bit_count() > faults:
                return f"votes of {members(voters)} in p{number}"
    return "all said 1" if slot.phases[0].ones == everyone and slot.decided else "was told"


def slot_text(slot: Slot, total: int) -> str:
    """An open slot: who said what, who holds what."""
    parts = [slot_name(slot.position, total)]
    for number, phase in enumerate(slot.phases):
        said = {
            "1": phase.ones,
            "0": phase.zeros,
            "vote 1": phase.vote_ones,
            "vote 0": phase.vote_zeros,
            "vote ?": phase.unsure,
        }
        words = [f"{name} by {members(mask)}" for name, mask in said.items() if mask]
        parts.append(f"p{number}: " + (", ".join(words) or "nothing"))
    holders = [f"{holder}:{members(mask)}" for holder, mask in sorted(slot.held.items())]
    if holders:
        parts.append("held " + " ".join(holders))
    return " | ".join(parts)

"""Messages, records and effects in the words of docs/protocol.md, for whoever reads a trace.

A slot is `r3.l1`: round 3 of lane 1; several rounds are `r3-7.l1`.
"""

from __future__ import annotations

from racos.core.effects import Chunk
from racos.core.messages import (
    UNSURE,
    AppliedRecord,
    Ask,
    Beat,
    Decide,
    Hold,
    Pay,
    PayRecord,
    Probe,
    ProbeReply,
    ReserveRecord,
    Skip,
    State,
    StateRecord,
    Vote,
    VoteRecord,
)
from racos.core.quorum import bits


def tell(what: object) -> str:
    """One line without the bytes of batches. Anything unknown as Python shows it."""
    if isinstance(what, State | StateRecord | Vote | VoteRecord):
        return _promise(what)
    if isinstance(what, Pay):
        link = f" after r{what.previous}" if what.previous >= 0 else ""
        return f"PAY r{what.round}.l{what.lane}{link}{_fragments(what.held)}"
    if isinstance(what, PayRecord):
        says = ", STATE 1" if what.says_one else ""
        return f"batch r{what.round}.l{what.lane}{_fragments(what.held)}{says}"
    if isinstance(what, Hold):
        return f"HOLD r{what.round}.l{what.lane} by n{what.holder}{_fragments(what.held)}"
    if isinstance(what, Decide):
        return f"DECIDE {_slots(what.lane, what.first, what.last)}: {what.value}"
    if isinstance(what, Skip):
        return f"SKIP {_slots(what.lane, what.previous + 1, what.upto)}"
    if isinstance(what, AppliedRecord):
        return f"slots {what.start} to {what.end - 1} decided, 1: {list(what.ones)}"
    return _plain(what)


def _promise(what: State | StateRecord | Vote | VoteRecord) -> str:
    kind = "STATE" if isinstance(what, State | StateRecord) else "VOTE"
    value = "?" if what.value == UNSURE else str(what.value)
    held = _fragments(what.held) if isinstance(what, State) else ""
    return f"{kind} {_slots(what.lane, what.first, what.last)} phase {what.phase}: {value}{held}"


def _plain(what: object) -> str:
    if isinstance(what, Ask):
        return f"ASK from slot {what.position}"
    if isinstance(what, Probe):
        return f"PROBE {what.number & 0xFFFF}"
    if isinstance(what, ProbeReply):
        return f"PROBE {what.number & 0xFFFF}: slot {what.position}"
    if isinstance(what, Beat):
        return f"BEAT r{what.round}, applied below slot {what.frontier}, whole below {what.whole}"
    if isinstance(what, ReserveRecord):
        return f"own rounds to r{what.upto} reserved"
    if isinstance(what, Chunk):
        return f"CHUNK slots {what.start} to {what.end - 1}, {len(what.batches)} batches"
    return repr(what)


def _slots(lane: int, first: int, last: int) -> str:
    return f"r{first}.l{lane}" if first == last else f"r{first}-{last}.l{lane}"


def _fragments(held: int) -> str:
    return f", fragments {list(bits(held))}" if held else ""

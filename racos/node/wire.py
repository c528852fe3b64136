"""Frames: messages of the core, and the node's own, to protobuf and back.

Serialized protobufs that are joined parse as one message, so what goes to every peer is serialized
once and each peer's own part is appended. Descriptors and fragments travel as blobs behind the
header, without a copy, in the order in which `decode` reads them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import ge
from typing import Any, Final, NamedTuple, TypeAlias

from racos.core.ballots import NONE, Ballot, Pull, Settled
from racos.core.effects import Chunk
from racos.core.messages import (
    Ask,
    Beat,
    Buffer,
    Decide,
    Hold,
    Message,
    Pay,
    Payload,
    Probe,
    ProbeReply,
    Skip,
    State,
    Vote,
    VowReply,
    VowRequest,
)
from racos.core.quorum import bits
from racos.pb import peer_pb2 as pb


class WireError(Exception):
    """A peer sent a frame that does not make sense; its connection is to be dropped."""


class FragmentRequest(NamedTuple):
    """Please send what you hold, among `want`, of one coded value."""

    number: int
    position: int
    value_index: int
    want: int  # bit set of fragments


class FragmentReply(NamedTuple):
    number: int
    fragments: dict[int, Buffer]


class Hello(NamedTuple):
    """Once per connection: what others cannot know from their own configuration."""

    name: str
    client_urls: tuple[str, ...]


class Behind(NamedTuple):
    """You asked for history that is forgotten here, below `floor`: take the state instead."""

    floor: int


class StateRequest(NamedTuple):
    """Please send the part of your state that comes after this key (from the first on, if empty).

    `number` names the attempt; all parts of one are of the same moment.
    """

    number: int
    after: bytes


class StateChunk(NamedTuple):
    """A part of the state in which all slots below `frontier`, and no others, are applied."""

    number: int
    frontier: int  # 0: forgotten here, begin again
    entries: tuple[tuple[bytes, bytes], ...]  # ascending keys
    last: bool


class HashRequest(NamedTuple):
    """What is the hash of all that a compaction at one revision keeps up to another?"""

    number: int
    revision: int
    compact_revision: int


class HashReply(NamedTuple):
    number: int
    hash: int  # u32
    known: bool = True  # False: it cannot be told here any more


NodeMessage: TypeAlias = (
    Message
    | Chunk
    | FragmentRequest
    | FragmentReply
    | Hello
    | Behind
    | StateRequest
    | StateChunk
    | HashRequest
    | HashReply
)


OFTEN: Final = (State, Skip)  # what nearly all messages are


def encode(messages: Iterable[NodeMessage]) -> tuple[bytes, list[Buffer]]:
    """Header and blobs of one frame; at most one Chunk in it."""
    frame = pb.Frame()
    blobs: list[Buffer] = []
    for message in messages:
        _ADD[type(message)](frame, message, blobs)
    return frame.SerializeToString(), blobs


def _add_pay(frame: pb.Frame, pay: Pay, blobs: list[Buffer]) -> None:
    assert not frame.HasField("chunk")
    assert not frame.fragment_replies
    payload = pay.payload
    parts = [payload.fragments[index] for index in bits(pay.held)] if payload.coded else []
    frame.pays.add(
        lane=pay.lane,
        round=pay.round,
        previous=pay.previous,
        held=pay.held,
        values=len(parts[0]) if parts else 0,
        coded=payload.coded,
    )
    blobs.append(payload.descriptor)
    for part in parts:
        blobs.extend(part)


def _add_state(frame: pb.Frame, state: State, _blobs: list[Buffer]) -> None:
    lane, first, last, phase, value, held = state
    frame.states.add(lane=lane, first=first, last=last, phase=phase, value=value, held=held)


def _add_vote(frame: pb.Frame, vote: Vote, _blobs: list[Buffer]) -> None:
    lane, first, last, phase, value = vote
    frame.votes.add(lane=lane, first=first, last=last, phase=phase, value=value)


def _add_decide(frame: pb.Frame, decide: Decide, _blobs: list[Buffer]) -> None:
    lane, first, last, value = decide
    frame.decides.add(lane=lane, first=first, last=last, value=value)


def _add_hold(frame: pb.Frame, hold: Hold, _blobs: list[Buffer]) -> None:
    lane, round_, holder, held = hold
    frame.holds.add(lane=lane, round=round_, holder=holder, held=held)


def _add_skip(frame: pb.Frame, skip: Skip, _blobs: list[Buffer]) -> None:
    frame.skips.add(lane=skip.lane, previous=skip.previous, upto=skip.upto)


def _add_ask(frame: pb.Frame, ask: Ask, _blobs: list[Buffer]) -> None:
    frame.asks.append(ask.position)


def _add_probe(frame: pb.Frame, probe: Probe, _blobs: list[Buffer]) -> None:
    frame.probes.append(probe.number)


def _add_probe_reply(frame: pb.Frame, reply: ProbeReply, _blobs: list[Buffer]) -> None:
    frame.probe_replies.add(number=reply.number, position=reply.position)


def _add_beat(frame: pb.Frame, beat: Beat, _blobs: list[Buffer]) -> None:
    frame.beat.CopyFrom(pb.Beat(**beat._asdict()))


def _add_vow_request(frame: pb.Frame, request: VowRequest, _blobs: list[Buffer]) -> None:
    frame.vow_requests.add(**request._asdict())


def _add_vow_reply(frame: pb.Frame, reply: VowReply, _blobs: list[Buffer]) -> None:
    frame.vow_replies.add(**reply._asdict())


def _add_ballot(frame: pb.Frame, ballot: Ballot, _blobs: list[Buffer]) -> None:
    slot, step, value, name = ballot
    frame.ballots.add(slot=slot, step=step, value=value, name=name)


def _add_settled(frame: pb.Frame, settled: Settled, _blobs: list[Buffer]) -> None:
    frame.settled.add(slot=settled.slot, name=settled.name)


def _add_pull(frame: pb.Frame, pull: Pull, _blobs: list[Buffer]) -> None:
    frame.pulls.append(pull.name)


def _add_chunk(frame: pb.Frame, chunk: Chunk, blobs: list[Buffer]) -> None:
    assert not frame.HasField("chunk")
    frame.chunk.start, frame.chunk.end = chunk.start, chunk.end
    frame.chunk.frontier = chunk.frontier
    frame.chunk.names.extend(chunk.names)
    for position, payload in chunk.batches:
        frame.chunk.positions.append(position)
        frame.chunk.coded.append(payload.coded)
        blobs.append(payload.descriptor)


def _add_fragment_request(frame: pb.Frame, request: FragmentRequest, _blobs: list[Buffer]) -> None:
    number, position, index, want = request
    frame.fragment_requests.add(number=number, position=position, index=index, want=want)


def _add_fragment_reply(frame: pb.Frame, reply: FragmentReply, blobs: list[Buffer]) -> None:
    held = sum(1 << index for index in reply.fragments)
    frame.fragment_replies.add(number=reply.number, held=held)
    blobs.extend(reply.fragments[index] for index in bits(held))


def _add_hello(frame: pb.Frame, hello: Hello, _blobs: list[Buffer]) -> None:
    frame.hello.name = hello.name
    frame.hello.client_urls.extend(hello.client_urls)
    frame.hello.SetInParent()


def _add_behind(frame: pb.Frame, behind: Behind, _blobs: list[Buffer]) -> None:
    frame.behind.floor = behind.floor
    frame.behind.SetInParent()


def _add_state_request(frame: pb.Frame, request: StateRequest, _blobs: list[Buffer]) -> None:
    frame.state_request.number, frame.state_request.after = request


def _add_state_chunk(frame: pb.Frame, chunk: StateChunk, _blobs: list[Buffer]) -> None:
    target = frame.state_chunk
    target.number, target.frontier, target.last = chunk.number, chunk.frontier, chunk.last
    target.keys.extend([key for key, _ in chunk.entries])
    target.values.extend([value for _, value in chunk.entries])


def _add_hash_request(frame: pb.Frame, request: HashRequest, _blobs: list[Buffer]) -> None:
    frame.hash_requests.add(**request._asdict())


def _add_hash_reply(frame: pb.Frame, reply: HashReply, _blobs: list[Buffer]) -> None:
    frame.hash_replies.add(**reply._asdict())


_ADD: dict[type, Callable[[pb.Frame, Any, list[Buffer]], None]] = {
    Pay: _add_pay,
    State: _add_state,
    Vote: _add_vote,
    Decide: _add_decide,
    Hold: _add_hold,
    Skip: _add_skip,
    Ask: _add_ask,
    Probe: _add_probe,
    ProbeReply: _add_probe_reply,
    Beat: _add_beat,
    VowRequest: _add_vow_request,
    VowReply: _add_vow_reply,
    Ballot: _add_ballot,
    Settled: _add_settled,
    Pull: _add_pull,
    Chunk: _add_chunk,
    FragmentRequest: _add_fragment_request,
    FragmentReply: _add_fragment_reply,
    Hello: _add_hello,
    Behind: _add_behind,
    StateRequest: _add_state_request,
    StateChunk: _add_state_chunk,
    HashRequest: _add_hash_request,
    HashReply: _add_hash_reply,
}


def decode(header: bytes, blobs: Sequence[Buffer], total: int) -> list[NodeMessage]:
    """The messages of a frame. Raises WireError on anything a correct peer cannot have sent."""
    try:
        frame = pb.Frame.FromString(header)
    except Exception as error:
        raise WireError(f"unreadable frame header: {error}") from None
    # Only what is there: a frame has one kind of message or two, and each kind that is asked for
    # costs as much as a message.
    fields = frame.ListFields()
    if len(fields) > 1:
        fields = sorted(fields, key=_rank)
    rest = iter(blobs)
    messages: list[NodeMessage] = []
    try:
        for field, content in fields:
            messages += _READ[field.number](content, rest, total)
    except StopIteration:
        raise WireError("frame has fewer blobs than it names") from None
    return messages


def _checked(lane: int, total: int) -> int:
    if lane >= total:
        raise WireError(f"lane {lane} of {total}")
    return lane


_Blobs: TypeAlias = Iterator[Buffer]


def _pays(pays: Sequence[pb.Pay], blobs: _Blobs, total: int) -> list[Pay]:
    found = []
    for pay in pays:
        if pay.held >> total:
            raise WireError(f"fragments {pay.held:b} of {total}")
        if bool(pay.values) != bool(pay.coded and pay.held):
            raise WireError(f"batch with {pay.values} values per fragment, coded {pay.coded}")
        descriptor = bytes(next(blobs))
        fragments: dict[int, list[Buffer]] = {}
        if pay.values:
            for index in bits(pay.held):
                fragments[index] = [next(blobs) for _ in range(pay.values)]
        payload = Payload(descriptor, pay.coded, fragments)
        lane = _checked(pay.lane, total)
        found.append(Pay(lane, pay.round, pay.previous, payload, pay.held))
    return found


def _chunk(chunk: pb.Chunk, blobs: _Blobs, _total: int) -> list[Chunk]:
    batches = tuple(
        [
            (position, Payload(bytes(next(blobs)), coded))
            for position, coded in zip(chunk.positions, chunk.coded, strict=True)
        ]
    )
    names = tuple(chunk.names)
    if names and (len(names) != len(batches) or min(names) < 0):
        raise WireError(f"{len(batches)} batches with {len(names)} names")
    return [Chunk(chunk.start, chunk.end, batches, chunk.frontier, names)]


def _fragment_replies(
    replies: Sequence[pb.FragmentReply], blobs: _Blobs, total: int
) -> list[FragmentReply]:
    found = []
    for reply in replies:
        if reply.held >> total:
            raise WireError(f"fragments {reply.held:b} of {total}")
        found.append(FragmentReply(reply.number, {i: next(blobs) for i in bits(reply.held)}))
    return found


def _skips(skips: Sequence[pb.Skip], _blobs: _Blobs, total: int) -> list[Skip]:
    return [Skip(_checked(skip.lane, total), skip.previous, skip.upto) for skip in skips]


def _states(states: Sequence[pb.State], _blobs: _Blobs, total: int) -> list[State]:
    return [
        State(_checked(s.lane, total), s.first, s.last, s.phase, s.value, s.held) for s in states
    ]


def _holds(holds: Sequence[pb.Hold], _blobs: _Blobs, total: int) -> list[Hold]:
    return [
        Hold(_checked(h.lane, total), h.round, _checked(h.holder, total), h.held) for h in holds
    ]


def _votes(votes: Sequence[pb.Vote], _blobs: _Blobs, total: int) -> list[Vote]:
    return [Vote(_checked(v.lane, total), v.first, v.last, v.phase, v.value) for v in votes]


def _decides(decides: Sequence[pb.Decide], _blobs: _Blobs, total: int) -> list[Decide]:
    return [Decide(_checked(d.lane, total), d.first, d.last, d.value) for d in decides]


def _ballots(ballots: Sequence[pb.Ballot], _blobs: _Blobs, _total: int) -> list[Ballot]:
    for ballot in ballots:
        if (ballot.name == NONE) == (ballot.value == 1) or ballot.name < NONE:
            raise WireError(f"ballot {ballot.value} for batch {ballot.name}")
    return [Ballot(b.slot, b.step, b.value, b.name) for b in ballots]


def _settled(settled: Sequence[pb.Settled], _blobs: _Blobs, _total: int) -> list[Settled]:
    for each in settled:
        if each.name < NONE:
            raise WireError(f"slot decided for batch {each.name}")
    return [Settled(each.slot, each.name) for each in settled]


def _pulls(names: Sequence[int], _blobs: _Blobs, _total: int) -> list[Pull]:
    return [Pull(name) for name in names]


def _asks(positions: Sequence[int], _blobs: _Blobs, _total: int) -> list[Ask]:
    return [Ask(position) for position in positions]


def _probes(numbers: Sequence[int], _blobs: _Blobs, _total: int) -> list[Probe]:
    return [Probe(number) for number in numbers]


def _probe_replies(
    replies: Sequence[pb.ProbeReply], _blobs: _Blobs, _total: int
) -> list[ProbeReply]:
    return [ProbeReply(reply.number, reply.position) for reply in replies]


def _fragment_requests(
    requests: Sequence[pb.FragmentRequest], _blobs: _Blobs, _total: int
) -> list[FragmentRequest]:
    return [FragmentRequest(r.number, r.position, r.index, r.want) for r in requests]


def _beat(beat: pb.Beat, _blobs: _Blobs, _total: int) -> list[Beat]:
    return [Beat(beat.round, beat.frontier, beat.whole, beat.epoch, beat.back)]


def _vow_requests(
    requests: Sequence[pb.VowRequest], _blobs: _Blobs, _total: int
) -> list[VowRequest]:
    return [VowRequest(r.nonce, r.number, r.upto) for r in requests]


def _vow_replies(replies: Sequence[pb.VowReply], _blobs: _Blobs, _total: int) -> list[VowReply]:
    return [VowReply(r.nonce, r.number, r.own, r.fresh, r.met, r.round) for r in replies]


def _hello(hello: pb.Hello, _blobs: _Blobs, _total: int) -> list[Hello]:
    return [Hello(hello.name, tuple(hello.client_urls))]


def _hash_requests(
    requests: Sequence[pb.HashRequest], _blobs: _Blobs, _total: int
) -> list[HashRequest]:
    return [HashRequest(r.number, r.revision, r.compact_revision) for r in requests]


def _hash_replies(replies: Sequence[pb.HashReply], _blobs: _Blobs, _total: int) -> list[HashReply]:
    return [HashReply(reply.number, reply.hash, reply.known) for reply in replies]


def _behind(behind: pb.Behind, _blobs: _Blobs, _total: int) -> list[Behind]:
    return [Behind(behind.floor)]


def _state_request(request: pb.StateRequest, _blobs: _Blobs, _total: int) -> list[StateRequest]:
    return [StateRequest(request.number, request.after)]


def _state_chunk(chunk: pb.StateChunk, _blobs: _Blobs, _total: int) -> list[StateChunk]:
    if len(chunk.keys) != len(chunk.values) or any(map(ge, chunk.keys, chunk.keys[1:])):
        raise WireError("a part of a state without order")
    pairs = tuple(zip(chunk.keys, chunk.values, strict=True))
    return [StateChunk(chunk.number, chunk.frontier, pairs, chunk.last)]


# In the order in which a frame's messages are taken up: first those that have blobs.
_READERS: dict[str, Callable[[Any, _Blobs, int], Sequence[NodeMessage]]] = {
    "pays": _pays,
    "chunk": _chunk,
    "fragment_replies": _fragment_replies,
    "skips": _skips,
    "states": _states,
    "holds": _holds,
    "votes": _votes,
    "decides": _decides,
    "ballots": _ballots,
    "settled": _settled,
    "pulls": _pulls,
    "asks": _asks,
    "probes": _probes,
    "probe_replies": _probe_replies,
    "fragment_requests": _fragment_requests,
    "beat": _beat,
    "vow_requests": _vow_requests,
    "vow_replies": _vow_replies,
    "hello": _hello,
    "hash_requests": _hash_requests,
    "hash_replies": _hash_replies,
    "behind": _behind,
    "state_request": _state_request,
    "state_chunk": _state_chunk,
}
_NUMBERS = {field.name: field.number for field in pb.Frame.DESCRIPTOR.fields}
_READ = {_NUMBERS[name]: reader for name, reader in _READERS.items()}
_RANKS = {_NUMBERS[name]: rank for rank, name in enumerate(_READERS)}


def _rank(field: tuple[Any, Any]) -> int:
    return _RANKS[field[0].number]

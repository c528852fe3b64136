"""Frames: messages of the core, and the node's own, to protobuf and back.

Serialized protobufs that are joined parse as one message, so what goes to every peer is serialized
once and each peer's own part is appended. Descriptors and fragments travel as blobs behind the
header, without a copy, in the order in which `decode` reads them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import ge
from typing import Any, NamedTuple, TypeAlias

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
    frame.beat.round = beat.round
    frame.beat.frontier = beat.frontier
    frame.beat.whole = beat.whole
    frame.beat.epoch = beat.epoch
    frame.beat.back = beat.back
    frame.beat.SetInParent()


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


def decode(header: bytes, blobs: Sequence[Buffer], total: int) -> Iterator[NodeMessage]:
    """The messages of a frame. Raises WireError on anything a correct peer cannot have sent."""
    try:
        frame = pb.Frame.FromString(header)
    except Exception as error:
        raise WireError(f"unreadable frame header: {error}") from None
    rest = iter(blobs)
    try:
        yield from _pays(frame, rest, total)
        yield from _chunk(frame, rest)
        yield from _replies(frame, rest, total)
    except StopIteration:
        raise WireError("frame has fewer blobs than it names") from None
    yield from _plain(frame, total)


def _checked(lane: int, total: int) -> int:
    if lane >= total:
        raise WireError(f"lane {lane} of {total}")
    return lane


def _pays(frame: pb.Frame, blobs: Iterator[Buffer], total: int) -> list[Pay]:
    found = []
    for pay in frame.pays:
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


def _chunk(frame: pb.Frame, blobs: Iterator[Buffer]) -> list[Chunk]:
    if not frame.HasField("chunk"):
        return []
    chunk = frame.chunk
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


def _replies(frame: pb.Frame, blobs: Iterator[Buffer], total: int) -> list[FragmentReply]:
    found = []
    for reply in frame.fragment_replies:
        if reply.held >> total:
            raise WireError(f"fragments {reply.held:b} of {total}")
        found.append(FragmentReply(reply.number, {i: next(blobs) for i in bits(reply.held)}))
    return found


def _plain(frame: pb.Frame, total: int) -> Iterator[NodeMessage]:
    for skip in frame.skips:
        yield Skip(_checked(skip.lane, total), skip.previous, skip.upto)
    for state in frame.states:
        lane = _checked(state.lane, total)
        held = state.held
        yield State(lane, state.first, state.last, state.phase, state.value, held)
    for hold in frame.holds:
        lane, holder = _checked(hold.lane, total), _checked(hold.holder, total)
        yield Hold(lane, hold.round, holder, hold.held)
    for vote in frame.votes:
        yield Vote(_checked(vote.lane, total), vote.first, vote.last, vote.phase, vote.value)
    for decide in frame.decides:
        lane = _checked(decide.lane, total)
        yield Decide(lane, decide.first, decide.last, decide.value)
    yield from _of_queue(frame)
    yield from [Ask(position) for position in frame.asks]
    yield from [Probe(number) for number in frame.probes]
    for reply in frame.probe_replies:
        yield ProbeReply(reply.number, reply.position)
    for request in frame.fragment_requests:
        yield FragmentRequest(request.number, request.position, request.index, request.want)
    if frame.HasField("beat"):
        beat = frame.beat
        yield Beat(beat.round, beat.frontier, beat.whole, beat.epoch, beat.back)
    if frame.HasField("hello"):
        yield Hello(frame.hello.name, tuple(frame.hello.client_urls))
    for asked in frame.hash_requests:
        yield HashRequest(asked.number, asked.revision, asked.compact_revision)
    for said in frame.hash_replies:
        yield HashReply(said.number, said.hash, said.known)
    yield from _states(frame)


def _states(frame: pb.Frame) -> Iterator[NodeMessage]:
    if frame.HasField("behind"):
        yield Behind(frame.behind.floor)
    if frame.HasField("state_request"):
        yield StateRequest(frame.state_request.number, frame.state_request.after)
    if frame.HasField("state_chunk"):
        chunk = frame.state_chunk
        if len(chunk.keys) != len(chunk.values) or any(map(ge, chunk.keys, chunk.keys[1:])):
            raise WireError("a part of a state without order")
        pairs = tuple(zip(chunk.keys, chunk.values, strict=True))
        yield StateChunk(chunk.number, chunk.frontier, pairs, chunk.last)


def _of_queue(frame: pb.Frame) -> Iterator[Ballot | Settled | Pull]:
    for ballot in frame.ballots:
        if (ballot.name == NONE) == (ballot.value == 1) or ballot.name < NONE:
            raise WireError(f"ballot {ballot.value} for batch {ballot.name}")
        yield Ballot(ballot.slot, ballot.step, ballot.value, ballot.name)
    for settled in frame.settled:
        if settled.name < NONE:
            raise WireError(f"slot decided for batch {settled.name}")
        yield Settled(settled.slot, settled.name)
    yield from [Pull(name) for name in frame.pulls]

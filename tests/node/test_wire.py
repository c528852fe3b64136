"""Frames between replicas: everything said arrives, and nonsense is refused by name."""

from __future__ import annotations

import pytest

from racos.core.ballots import Ballot, Pull, Settled
from racos.core.effects import Chunk
from racos.core.messages import (
    UNSURE,
    Ask,
    Beat,
    Decide,
    Hold,
    Pay,
    Payload,
    Probe,
    ProbeReply,
    Skip,
    State,
    Vote,
)
from racos.node.wire import (
    FragmentReply,
    FragmentRequest,
    Hello,
    NodeMessage,
    WireError,
    decode,
    encode,
)
from racos.pb import peer_pb2 as pb

PLAIN: list[NodeMessage] = [
    Skip(2, -1, 40),
    State(1, 5, 9, 0, 1, 0b110),
    State(1, 10, 10, 3, 0, 0),
    Hold(0, 3, 2, 0b11),
    Vote(2, 4, 4, 1, UNSURE),
    Decide(0, 1, 8, 1),
    Ballot(7, 3, 1, 1 << 40),
    Ballot(8, 0, 0, -1),
    Settled(9, -1),
    Pull(12),
    Ask(77),
    Probe(1 << 50),
    ProbeReply(1 << 50, -1),
    FragmentRequest(5, 31, 2, 0b101),
    Beat(-1, 22, 21),
    Hello("n1", ("http://127.0.0.1:2379", "http://[::1]:1")),
]


@pytest.mark.parametrize("message", PLAIN, ids=lambda m: type(m).__name__)
def test_plain_messages_come_back_as_they_were(message: NodeMessage) -> None:
    header, blobs = encode([message])
    assert not blobs
    assert list(decode(header, blobs, 3)) == [message]


def test_a_frame_of_all_plain_messages_keeps_their_order() -> None:
    header, blobs = encode(PLAIN)
    assert list(decode(header, blobs, 3)) == PLAIN


def test_what_everyone_gets_and_what_one_gets_join_by_concatenation() -> None:
    common, _ = encode([State(0, 1, 1, 0, 1, 1)])
    own, blobs = encode([Pay(0, 1, -1, Payload(b"d", True, {1: [b"x", b"y"]}), 0b10), Ask(3)])
    pay, state, ask = decode(common + own, blobs, 3)
    assert state == State(0, 1, 1, 0, 1, 1)
    assert ask == Ask(3)
    assert isinstance(pay, Pay)
    assert (pay.payload.descriptor, dict(pay.payload.fragments)) == (b"d", {1: [b"x", b"y"]})


def test_pays_with_and_without_fragments_share_a_frame() -> None:
    pays = [
        Pay(0, 4, 2, Payload(b"inline"), 0b1),
        Pay(1, 4, 3, Payload(b"coded", True, {0: [b"a"], 2: [b"c"]}), 0b101),
        Pay(2, 4, 3, Payload(b"descriptor only", True), 0),
    ]
    found = list(decode(*encode(pays), 3))
    for pay, came in zip(pays, found, strict=True):
        assert isinstance(came, Pay)
        assert came._replace(payload=pay.payload) == pay
        assert came.payload.descriptor == pay.payload.descriptor
        assert came.payload.coded == pay.payload.coded
        assert dict(came.payload.fragments) == dict(pay.payload.fragments)


def test_chunks_and_fragments_travel() -> None:
    chunk = Chunk(3, 9, ((4, Payload(b"one", True)), (7, Payload(b"two"))), 12)
    (came,) = decode(*encode([chunk]), 3)
    assert isinstance(came, Chunk)
    assert came[:2] == (3, 9)
    assert came.frontier == 12
    assert [(at, p.descriptor, p.coded) for at, p in came.batches] == [
        (4, b"one", True),
        (7, b"two", False),
    ]
    (reply,) = decode(*encode([FragmentReply(8, {2: b"zz", 0: b"aa"})]), 3)
    assert reply == FragmentReply(8, {0: b"aa", 2: b"zz"})


@pytest.mark.parametrize(
    "frame",
    [
        b"\xff\xff\xff",
        pb.Frame(states=[pb.State(lane=3)]).SerializeToString(),
        pb.Frame(pays=[pb.Pay(lane=0, held=0b1000)]).SerializeToString(),
        pb.Frame(pays=[pb.Pay(lane=0)]).SerializeToString(),
        pb.Frame(pays=[pb.Pay(lane=0, held=1, coded=True)]).SerializeToString(),
        pb.Frame(pays=[pb.Pay(lane=0, held=1, values=1)]).SerializeToString(),
        pb.Frame(fragment_replies=[pb.FragmentReply(held=0b11)]).SerializeToString(),
    ],
    ids=[
        "not protobuf",
        "no such lane",
        "no such fragment",
        "no descriptor",
        "no fragments",
        "fragments of nothing",
        "too few blobs",
    ],
)
def test_nonsense_is_refused(frame: bytes) -> None:
    with pytest.raises(WireError):
        list(decode(frame, [], 3))


@pytest.mark.parametrize(
    "frame",
    [
        pb.Frame(ballots=[pb.Ballot(slot=1, step=1, value=1, name=-1)]),
        pb.Frame(ballots=[pb.Ballot(slot=1, step=1, value=0, name=4)]),
        pb.Frame(settled=[pb.Settled(slot=1, name=-2)]),
        pb.Frame(chunk=pb.Chunk(start=0, end=2, names=[5])),
    ],
    ids=["a-1-without-name", "a-0-with-name", "no-such-name", "names-without-batches"],
)
def test_nonsense_of_the_queue_engine_is_refused(frame: pb.Frame) -> None:
    with pytest.raises(WireError):
        list(decode(frame.SerializeToString(), [], 3))


def test_a_chunk_keeps_the_names_of_its_batches() -> None:
    batches = ((4, Payload(b"a")), (6, Payload(b"b", True)))
    (chunk,) = decode(*encode([Chunk(4, 7, batches, 9, (21, 20))]), 3)
    assert isinstance(chunk, Chunk)
    assert (chunk.start, chunk.end, chunk.frontier, chunk.names) == (4, 7, 9, (21, 20))

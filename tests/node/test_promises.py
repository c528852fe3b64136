"""No promise leaves a node before its log has it: what a crash could deny is never said."""

from __future__ import annotations

from racos.core.messages import Decide, Hold, Message, State, Vote
from racos.mvcc.command import Put
from racos.node import wire
from tests.node.cluster import Cluster

PROMISES = (State, Vote, Hold, Decide)


def promises(cluster: Cluster, sender: int) -> list[Message]:
    """What a node has said, and nobody received yet, that must be durable first."""
    return [
        message
        for source, _, header, blobs in cluster.flight
        if source == sender
        for message in wire.decode(header, blobs, cluster.quorum.total)
        if isinstance(message, PROMISES)
    ]


def sync(cluster: Cluster, lane: int) -> None:
    port = cluster.ports[lane]
    batch, port.batch = port.batch, None
    assert batch is not None
    batch.run()
    cluster.driver(lane).flushed(batch)
    cluster.driver(lane).turn()


def deliver(cluster: Cluster, receiver: int) -> None:
    mail = [entry for entry in cluster.flight if entry[1] == receiver]
    cluster.flight = [entry for entry in cluster.flight if entry[1] != receiver]
    for sender, _, header, blobs in mail:
        cluster.driver(receiver).on_frame(sender, header, blobs)
    cluster.driver(receiver).turn()


def test_states_and_votes_wait_for_the_sync() -> None:
    cluster = Cluster(3, 1, 2)
    cluster.run(0.2)  # reservations are made
    outcome = cluster.submit(0, Put(b"k", b"v"))
    cluster.driver(0).turn()
    assert promises(cluster, 0) == []
    deliver(cluster, 1)
    assert promises(cluster, 1) == []
    sync(cluster, 1)
    assert {message.value for message in promises(cluster, 1) if isinstance(message, State)} == {1}
    deliver(cluster, 0)
    assert promises(cluster, 0) == []
    cluster.crash(2)  # two states of three: this one now needs a vote
    cluster.now += 0.1
    sync(cluster, 0)
    assert {type(message) for message in promises(cluster, 0)} == {State}
    sync(cluster, 0)
    assert {type(message) for message in promises(cluster, 0)} == {State, Vote}
    assert not outcome.done()

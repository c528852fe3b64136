"""What a node tells one that is behind is what was decided, whenever it is asked."""

from __future__ import annotations

from collections.abc import Sequence

from racos.core.effects import Chunk
from racos.core.messages import Ask, Buffer
from racos.core.replica import Replica
from racos.mvcc.command import Put
from racos.node import wire
from tests.node.cluster import Cluster, Port


class Overhears(Port):
    """A port that notes the chunks of history it sends."""

    def __init__(self, cluster: Cluster, lane: int) -> None:
        super().__init__(cluster, lane)
        self.chunks: list[Chunk] = []

    def send(self, lane: int, header: bytes, blobs: Sequence[Buffer] = ()) -> bool:
        for message in wire.decode(header, [bytes(blob) for blob in blobs], 3):
            if isinstance(message, Chunk):
                self.chunks.append(message)
        return super().send(lane, header, blobs)


def test_a_node_asked_in_the_turn_in_which_it_decides_leaves_nothing_out() -> None:
    cluster = Cluster(3, 1, 2)
    port = Overhears(cluster, 0)
    driver = cluster.driver(0)
    driver._link = port
    question, _ = wire.encode([Ask(0)])
    for number in range(20):
        outcome = cluster.submit(number % 3, Put(b"k", b"%d" % number))
        while not outcome.done():
            driver.on_frame(1, question, [])
            cluster.step()
            cluster.now += 0.001
    assert isinstance(driver.replica, Replica)
    ones = driver.replica.window.ones
    assert len(ones) == 20
    assert len(port.chunks) > 20
    for chunk in port.chunks:
        told = {position for position, _ in chunk.batches}
        assert told == {position for position in ones if chunk.start <= position < chunk.end}

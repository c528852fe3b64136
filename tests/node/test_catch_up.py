"""What a node tells one that is behind is what was decided, whenever it is asked."""

from __future__ import annotations

from collections.abc import Sequence

from racos.core.effects import Chunk
from racos.core.messages import Ask, Buffer
from racos.core.peers import BEHIND_WINDOWS
from racos.mvcc.command import Put
from racos.node import wire
from tests.node.cluster import Cluster, Port

SUSPECT_AFTER = 0.25  # seconds, Settings.suspect_after


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
    ones = driver.replica.window.ones
    assert len(ones) == 20
    assert len(port.chunks) > 20
    for chunk in port.chunks:
        told = {position for position, _ in chunk.batches}
        assert told == {position for position in ones if chunk.start <= position < chunk.end}


def test_one_that_is_far_behind_and_busy_holds_nobody_up() -> None:
    """It lives and is connected, but takes its time over history: its lane is nobody's concern."""
    cluster = Cluster(3, 1, 2)
    cluster.do(2, Put(b"k", b"before"))
    cluster.run(0.2)
    cluster.crash(2)
    while cluster.driver(0).replica.window.round < BEHIND_WINDOWS * 128 + 50:
        cluster.submit(0, Put(b"k", b"v"))
        cluster.step()
        cluster.now += 0.001
    cluster.run(0.2)
    cluster.start(2)
    cluster.step()
    cluster.step()  # its first beat
    assert 0 < cluster.driver(0).replica.peers.frontiers[2] < 100
    cluster.pause(2)
    behind_since = cluster.now
    while cluster.now < behind_since + 0.8 * SUSPECT_AFTER:
        begun = cluster.now
        cluster.do(0, Put(b"k", b"meanwhile"))
        assert cluster.now - begun < 0.03
    assert not cluster.driver(0).replica.peers.suspected(cluster.now)
    cluster.resume(2)
    cluster.run(1.0)
    assert len({cluster.driver(lane).replica.window.frontier for lane in range(3)}) == 1
    begun = cluster.now
    cluster.do(2, Put(b"k", b"back again"))
    assert cluster.now - begun < 0.05

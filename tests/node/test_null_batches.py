"""A batch whose slot became null is not lost: its owner proposes it again, once."""

from __future__ import annotations

from racos.core.replica import Replica
from racos.mvcc.command import Put, Range
from tests.node.cluster import Cluster


def test_a_write_whose_slot_the_others_gave_up_is_proposed_again() -> None:
    cluster = Cluster(3, 1, 2)
    cluster.run(0.2)  # reservations are made
    outcome = cluster.submit(0, Put(b"k", b"v"))
    cluster.driver(0).turn()
    (position,) = cluster.driver(0)._in_flight
    cluster.flight.clear()  # nobody hears of it
    cluster.split(0, 1)
    cluster.split(0, 2)
    cluster.do(1, Put(b"other", b""))
    replica = cluster.driver(1).replica
    assert isinstance(replica, Replica)
    assert replica.window.value_at(position) == 0
    assert not outcome.done()
    cluster.heal()
    cluster.run(1.0, outcome.done)
    revision = outcome.get().revision
    cluster.run(0.2)
    for lane in cluster.alive():
        (kv,) = cluster.driver(lane).store.range(Range(b"k")).kvs
        assert (kv.value, kv.version, kv.mod_revision) == (b"v", 1, revision)

"""A batch whose slot became null is not lost: its owner proposes it again, once.

What the log has of the slot itself nobody needs any more.
"""

from __future__ import annotations

from racos.core.replica import Replica
from racos.mvcc.command import Put, Range, Result
from tests.node.cluster import Cluster, Outcome


def with_a_null_batch(value: bytes) -> tuple[Cluster, int, Outcome[Result]]:
    """Node 0 logged a batch of which the others, before they heard of it, made a null slot."""
    cluster = Cluster(3, 1, 2)
    cluster.run(0.2)  # reservations are made
    outcome = cluster.submit(0, Put(b"k", value))
    cluster.driver(0).turn()
    (position,) = cluster.driver(0)._in_flight
    cluster.flight.clear()  # nobody hears of it
    cluster.split(0, 1)
    cluster.split(0, 2)
    cluster.do(1, Put(b"other", b""))
    replica = cluster.driver(1).replica
    assert isinstance(replica, Replica)
    assert replica.window.value_at(position) == 0
    return cluster, position, outcome


def test_a_write_whose_slot_the_others_gave_up_is_proposed_again() -> None:
    cluster, _, outcome = with_a_null_batch(b"v")
    assert not outcome.done()
    cluster.heal()
    cluster.run(1.0, outcome.done)
    revision = outcome.get().revision
    cluster.run(0.2)
    for lane in cluster.alive():
        (kv,) = cluster.driver(lane).store.range(Range(b"k")).kvs
        assert (kv.value, kv.version, kv.mod_revision) == (b"v", 1, revision)


def test_a_damaged_fragment_of_a_null_batch_is_not_missed() -> None:
    """The others need not have any of it: if so it could never be healed, and nothing pruned."""
    value = bytes(1000)
    cluster, position, outcome = with_a_null_batch(value)
    driver = cluster.driver(0)
    cluster.heal()
    cluster.run(1.0, outcome.done)
    assert driver.library.held(position), "as long as others might ask"
    driver.library.drop_fragment(position, 0)
    cluster.run(0.01)
    assert not driver.healer.statistics().missing
    assert driver.healer.whole > position
    assert cluster.value(0, b"k") == value

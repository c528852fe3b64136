"""A restart stands where the log says it stood."""

from __future__ import annotations

import pytest

from racos.core.ballots import NONE, Ballot
from racos.core.messages import AppliedRecord, Payload, PayRecord, ReserveRecord, StateRecord
from racos.core.quorum import Quorum
from racos.core.recovery import Recovered as LanesRecovered
from racos.core.replica import Settings
from racos.queue.recovery import Recovered
from racos.queue.replica import QueueReplica


def pay(name: int) -> PayRecord:
    stamp, lane = divmod(name, 3)
    return PayRecord(lane, stamp, Payload(b"%d" % name), 1, False)


def replayed() -> Recovered:
    past = Recovered(3)
    assert past.add(ReserveRecord(64)) == []
    for name in (3, 4, 8):
        assert past.add(pay(name)) == []
    past.add(Ballot(0, 0, 1, 4))
    past.add(Ballot(0, 1, 1, 4))
    assert past.add(AppliedRecord(0, 2, (0,), (4,))) == [4]
    past.add(Ballot(2, 0, 1, 3))
    past.add(Ballot(2, 1, 0, NONE))
    return past


def test_the_log_gives_the_queue_the_words_and_the_order() -> None:
    past = replayed()
    assert past.frontier == 2
    assert sorted(past.slots) == [3, 8]
    assert past.ballots == {2: [Ballot(2, 0, 1, 3), Ballot(2, 1, 0, NONE)]}
    assert past.highest_one == 0
    assert past.add(pay(4)) == []  # a healed fragment of something applied
    assert sorted(past.slots) == [3, 8]


def test_a_restarted_replica_says_nothing_else_and_nothing_twice() -> None:
    replica = QueueReplica(Settings(Quorum(3, 1, 1), 0, b"s"), 0.0, replayed())
    assert sorted(replica.pool.batches) == [3, 8]
    effects = replica.take_effects()
    assert not [record for record in effects.records if isinstance(record, Ballot)]
    replica.peer_up(1)
    said = [m for _, m in replica.take_effects().sends if isinstance(m, Ballot)]
    assert said == [Ballot(2, 0, 1, 3), Ballot(2, 1, 0, NONE)]
    assert not replica.can_propose()  # before a new reservation is durable
    replica.persisted(effects.token)
    assert replica.propose(Payload(b"new")) == 65 * 3


def test_a_log_of_the_other_engine_is_refused() -> None:
    with pytest.raises(ValueError, match="StateRecord is not a record of the queue engine"):
        Recovered(3).add(StateRecord(0, 0, 0, 0, 1))
    with pytest.raises(ValueError, match="Ballot is not a record of this engine"):
        LanesRecovered(3).add(Ballot(0, 0, 0, NONE))


def test_the_published_bound_on_fragments_is_checked() -> None:
    with pytest.raises(AssertionError, match="2f"):
        QueueReplica(Settings(Quorum(3, 1, 2), 0, b"s"), 0.0)

"""What outlives a restart for the read barrier, and when a further reservation counts."""

from __future__ import annotations

import pytest

from racos.core.messages import (
    AppliedRecord,
    Beat,
    Payload,
    PayRecord,
    Probe,
    ProbeReply,
    Record,
    ReserveRecord,
    StateRecord,
)
from racos.core.recovery import Recovered
from tests.core.test_replica import INLINE, hear, make

PAY = PayRecord(1, 1, Payload(b"batch"), 1, True)  # at position 4


@pytest.mark.parametrize(
    ("records", "highest"),
    [
        pytest.param([PAY], 4, id="stored"),
        pytest.param([PAY._replace(says_one=False)], -1, id="stored after a 0"),
        pytest.param([StateRecord(1, 1, 1, 3, 1)], 4, id="said in a later phase"),
        pytest.param([StateRecord(1, 1, 1, 0, 0)], -1, id="said 0"),
        pytest.param([PAY, AppliedRecord(0, 6, (4,))], 4, id="applied"),
    ],
)
def test_a_restarted_replica_answers_probes_with_what_it_said_before(
    records: list[Record], highest: int
) -> None:
    past = Recovered(3)
    for record in records:
        past.add(record)
    assert (2, ProbeReply(9, highest)) in hear(make(recovered=past), 2, Probe(9)).sends


def test_a_further_reservation_counts_only_with_its_own_sync() -> None:
    replica = make(window=8)
    assert replica.own.reserved_durable == 4
    replica.propose(INLINE)
    earlier = replica.take_effects()
    later = hear(replica, 1, Beat(4, 0))
    assert ReserveRecord(8) in later.records
    assert later.token > earlier.token
    replica.persisted(earlier.token)
    assert replica.own.reserved_durable == 4
    replica.persisted(later.token)
    assert replica.own.reserved_durable == 8

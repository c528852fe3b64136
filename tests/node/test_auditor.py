"""Members compare themselves: nothing is found while they agree, and who differs is named."""

from __future__ import annotations

from racos.mvcc.command import Alarm, AlarmKind, AlarmSwitch, Compact, Put
from racos.node.alarms import AlarmKeeper, AutoDisarm
from racos.node.auditor import Auditing
from racos.node.driver import Driver
from tests.node.cluster import Cluster

EVERY = 1.0


class Audited(Cluster):
    """A cluster whose members compare themselves every second; `found` is what they said."""

    def __init__(self, total: int) -> None:
        self.found: list[tuple[int, tuple[int, ...]]] = []
        super().__init__(total, (total - 1) // 2, total - (total - 1) // 2)

    def start(self, lane: int) -> Driver:
        self.options = self.options._replace(auditing=Auditing(EVERY, keys_per_tick=8))
        driver = super().start(lane)
        driver.auditor._differ = lambda lanes, _what: self.found.append((lane, lanes))
        return driver

    def audits(self) -> list[int]:
        return [self.driver(lane).auditor.statistics().audits for lane in self.alive()]


def filled(total: int = 3) -> Audited:
    cluster = Audited(total)
    for number in range(100):
        cluster.do(number % total, Put(b"%d" % (number % 60), bytes(number * 3)))
    return cluster


def spoil(cluster: Audited, lane: int, key: bytes = b"7") -> None:
    """Another value than the one that was written, on one member only."""
    index = cluster.driver(lane).store._index
    kv = index.get(key)
    assert kv is not None
    index._records.put(kv._replace(value=b"rotten"))


def test_members_that_agree() -> None:
    cluster = filled()
    cluster.run(5.0)
    assert cluster.found == []
    assert cluster.audits()[0] >= 3, "the first member asks"
    assert cluster.audits()[1:] == [0, 0], "and it alone"
    assert cluster.driver(0).auditor.statistics().revision == cluster.driver(0).store.revision


def test_they_agree_while_they_write_and_compact() -> None:
    cluster = filled()
    for number in range(150):
        cluster.do(number % 3, Put(b"%d" % (number % 60), b"%d" % number))
        if number % 10 == 0:
            cluster.do(1, Compact(cluster.driver(1).store.revision - 5))
        cluster.run(0.03)
    assert cluster.found == []
    assert cluster.audits()[0] >= 2


def test_the_one_that_differs_is_named() -> None:
    cluster = filled()
    spoil(cluster, 2)
    cluster.run(3.0)
    assert cluster.found[0] == (0, (2,))


def test_who_asks_may_be_the_one() -> None:
    cluster = filled()
    spoil(cluster, 0)
    cluster.run(3.0)
    assert cluster.found[0] == (0, (0,))


def test_without_a_majority_nobody_is_named() -> None:
    cluster = filled()
    spoil(cluster, 1)
    spoil(cluster, 2, b"8")
    cluster.run(3.0)
    assert cluster.found[0] == (0, ())


def test_with_the_first_member_gone_the_next_one_asks() -> None:
    cluster = filled()
    cluster.crash(0)
    spoil(cluster, 2)
    cluster.run(5.0)
    assert cluster.found[0] == (1, ()), "two of three that differ are no majority"


def test_a_member_that_dies_in_the_middle_is_not_waited_for() -> None:
    cluster = filled()
    cluster.run(3.0, lambda: cluster.driver(0).auditor._audit is not None)
    cluster.crash(2)
    before = cluster.audits()[0]
    cluster.run(4.0)
    assert cluster.audits()[0] >= before + 2
    cluster.start(2)
    cluster.run(4.0)
    assert cluster.audits()[0] >= before + 4
    assert cluster.found == []


def test_a_member_that_has_compacted_further_has_no_say() -> None:
    cluster = filled()
    cluster.run(3.0, lambda: cluster.driver(0).auditor._audit is not None)
    for lane in (1, 2):  # the question comes late: they are beyond the revision by then
        cluster.driver(lane).auditor._drop(0)
    outcome = cluster.submit(0, Compact(90))
    cluster.run(0.5, outcome.done)
    asked = cluster.driver(0).auditor._audit
    assert asked is not None
    for lane in (1, 2):
        cluster.driver(lane).auditor.on_message(0, asked.wanted, cluster.now)
    cluster.run(0.2)
    assert asked.asked == 0b001
    before = cluster.audits()[0]
    cluster.run(4.0)
    assert cluster.found == []
    assert cluster.audits()[0] >= before + 2


def test_no_audit_under_the_alarm() -> None:
    cluster = filled()
    spoil(cluster, 1)
    cluster.do(0, AlarmSwitch(Alarm(9, AlarmKind.CORRUPT), True))
    cluster.run(4.0)
    assert cluster.found == []


def test_compactions_drop_what_audits_held_back() -> None:
    cluster = filled()
    cluster.run(3.0)
    for lane in range(3):
        assert cluster.driver(lane).store.usage.versions == 100
    cluster.do(0, Compact(101))
    cluster.run(3.0)
    for lane in range(3):
        assert cluster.driver(lane).store.usage.versions == 60


def keeper(
    proposed: list[AlarmSwitch], raised: set[Alarm], room: int, *, short: bool = False
) -> AlarmKeeper:
    return AlarmKeeper(
        11,
        (11, 12, 13),
        lambda: raised,
        proposed.append,
        lambda: short,
        lambda cost: not short and cost <= room,
        AutoDisarm(True, 1000),
    )


def test_alarms_for_the_members_that_differ() -> None:
    proposed: list[AlarmSwitch] = []
    keeper(proposed, set(), 0).differ((1, 2))
    keeper(proposed, set(), 0).differ(())
    raised = [Alarm(member, AlarmKind.CORRUPT) for member in (12, 13, 0)]
    assert proposed == [AlarmSwitch(alarm, True) for alarm in raised]


def test_only_the_own_alarm_is_taken_back_and_only_with_room() -> None:
    own, others = Alarm(11, AlarmKind.NOSPACE), Alarm(12, AlarmKind.NOSPACE)
    alarms = {others}
    proposed: list[AlarmSwitch] = []
    keeper(proposed, alarms, 1000).tick(5.0)
    alarms.add(own)
    keeper(proposed, alarms, 199).tick(5.0)
    assert proposed == []
    keeper(proposed, alarms, 200, short=True).tick(5.0)
    assert proposed == []
    keeper(proposed, alarms, 200).tick(5.0)
    assert proposed == [AlarmSwitch(own, False)]


def test_a_short_disk_raises_the_own_alarm_once_it_is_known_not_to_be() -> None:
    own, others = Alarm(11, AlarmKind.NOSPACE), Alarm(12, AlarmKind.NOSPACE)
    alarms = {others}
    proposed: list[AlarmSwitch] = []
    minder = keeper(proposed, alarms, 1000, short=True)
    minder.tick(5.0)
    minder.tick(5.5)
    assert proposed == [AlarmSwitch(own, True)]
    minder.tick(6.0)  # nobody heard of the first one
    assert proposed == [AlarmSwitch(own, True)] * 2
    alarms.add(own)
    minder.tick(7.0)
    assert len(proposed) == 2
    alarms.remove(own)  # the operator cleared it too early
    minder.hurry()
    minder.tick(7.1)
    assert proposed == [AlarmSwitch(own, True)] * 3

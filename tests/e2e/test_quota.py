"""Out of space: the same commands to stock etcd and to Racos, and what only Racos does."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cluster.stock import EtcdCluster
from cluster.supervisor import LocalCluster
from tests.compat.endpoints import channel
from tests.e2e.backups import etcdctl
from tests.e2e.etcdctl import Both, Side

pytestmark = [pytest.mark.process, pytest.mark.slow]

QUOTA = "--quota-backend-bytes=400000"
VALUE = bytes(50_000)
PUTS_MAX = 50


@pytest.fixture(scope="module")
def small() -> Iterator[LocalCluster]:
    with LocalCluster(3, flags=(QUOTA,)) as running:
        yield running


@pytest.fixture
def both(small: LocalCluster) -> Iterator[Both]:
    flags = ("--unsafe-no-fsync", "--log-level=error", QUOTA)
    with EtcdCluster(1, flags=flags) as stock:
        ends = small.endpoints()[0], stock.endpoints()[0]
        with channel(ends[1]) as theirs, channel(ends[0]) as own:
            yield Both(Side("etcd", ends[1:], theirs), Side("racos", ends[:1], own))


def fill(side: Side) -> str:
    """Overwrites one key until that is refused; returns why."""
    for _ in range(PUTS_MAX):
        answer = side.run("put k", VALUE)
        if answer.code:
            return answer.error()
    raise AssertionError(f"{PUTS_MAX} puts of {len(VALUE)} bytes fit")


def test_full_and_back_again(both: Both, small: LocalCluster) -> None:
    both.play("""
        put keep 1
        put gone 1
    """)
    assert fill(both.racos) == fill(both.etcd)
    for side in (both.etcd, both.racos):
        side.base = int(side.run("get keep -w fields").out.split('"Revision" : ')[1].split()[0])
        assert "alarm:NOSPACE" in side.run("alarm list").out
    both.play("""
        ! put small x
        ! lease grant 100
        get keep
        del gone
        get gone
        ! put gone x
        compact @1
        ! put small x
        get keep
    """)
    for side in (both.etcd, both.racos):
        assert side.run("defrag").out.startswith("Finished defragmenting etcd member[")
    for name in small.names:
        small.kill(name)
    small.start_all()
    small.wait_ready()
    assert "alarm:NOSPACE" in both.racos.run("alarm list").out, "alarms survive a restart"
    both.run("put small x", code=1)
    for side in (both.etcd, both.racos):
        assert "alarm:NOSPACE" in side.run("alarm disarm").out
    both.play("""
        alarm list
        put small x
        get small
    """)


def test_an_alarm_that_clears_itself() -> None:
    with LocalCluster(1, flags=(QUOTA, "--quota-auto-disarm")) as cluster:
        (endpoint,) = cluster.endpoints()
        one = f"--endpoints={endpoint}"
        with channel(endpoint) as own:
            side = Side("racos", [endpoint], own)
            fill(side)
            assert "alarm:NOSPACE" in etcdctl(one, "alarm", "list")
            revision = side.run("get k -w fields").out.split('"Revision" : ')[1].split()[0]
            etcdctl(one, "compact", revision)
            for _ in range(PUTS_MAX):
                if not side.run("put small x").code:
                    break
            assert etcdctl(one, "alarm", "list") == ""

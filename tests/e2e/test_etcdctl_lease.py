"""Stock etcdctl's lease commands, and what it builds on leases, on both systems."""

from __future__ import annotations

import re
import signal
from typing import NamedTuple

import pytest

from tests.e2e.etcdctl import Answer, Both, Side

pytestmark = [pytest.mark.process, pytest.mark.slow]

_GRANTED = re.compile(r"lease ([0-9a-f]+) granted with TTL\((\d+)s\)")
_REMAINING = re.compile(r"remaining\((\d+)s\)")

_KEYS = re.compile(r"keys\(\[(.*)\]\)")  # in no order that etcd promises


class Lease(NamedTuple):
    """A lease on each system; the ids differ, since the servers chose them."""

    both: Both
    ids: tuple[str, str]  # in hex, as etcdctl prints them

    @classmethod
    def grant(cls, both: Both, ttl: int) -> Lease:
        ids = []
        for side in (both.etcd, both.racos):
            answer = side.run(f"lease grant {ttl}")
            found = _GRANTED.fullmatch(answer.out.strip())
            assert found is not None, answer
            assert int(found[2]) == max(ttl, 2)
            ids.append(found[1])
        return cls(both, (ids[0], ids[1]))

    def run(self, line: str, *, code: int = 0) -> Answer:
        """A command in which ID stands for the lease; the answer that both gave."""
        sides: tuple[Side, Side] = (self.both.etcd, self.both.racos)
        wanted, answer = (
            self._named(side.run(line.replace("ID", id_)), id_)
            for side, id_ in zip(sides, self.ids, strict=True)
        )
        assert answer == wanted, f"{line}\netcd:  {wanted}\nracos: {answer}"
        assert answer.code == code, answer
        return answer

    @staticmethod
    def _named(answer: Answer, id_: str) -> Answer:
        def name(text: object) -> str:
            named = str(text).replace(id_, "ID").replace(str(int(id_, 16)), "ID")
            named = _REMAINING.sub("remaining(_)", named)
            return _KEYS.sub(lambda keys: f"keys({sorted(keys[1].split())})", named)

        return Answer(answer.code, name(answer.out), tuple(map(name, answer.err)))


def test_the_life_of_a_lease(both: Both) -> None:
    lease = Lease.grant(both, 60)
    assert lease.run("lease timetolive ID").out == (
        "lease ID granted with TTL(60s), remaining(_)\n"
    )
    assert lease.run("lease keep-alive ID --once").out == "lease ID keepalived with TTL(60)\n"
    assert lease.run("lease revoke ID").out == "lease ID revoked\n"
    assert lease.run("lease timetolive ID").out == "lease ID already expired\n"
    assert "requested lease not found" in lease.run("lease revoke ID", code=1).err[-1]
    lease.run("lease keep-alive ID --once", code=2)


@pytest.mark.parametrize("form", ["json", "fields"])
def test_machine_readable(both: Both, form: str) -> None:
    lease = Lease.grant(both, 60)
    for line in ("lease keep-alive ID --once", "lease revoke ID"):
        lease.run(f"{line} -w {form}")


def test_keys_on_leases(both: Both) -> None:
    lease, other = Lease.grant(both, 60), Lease.grant(both, 60)
    lease.run("put b 1 --lease=ID")
    lease.run("put a 1 --lease=ID")
    other.run("put c 1 --lease=ID")
    assert "attached keys(['a', 'b'])" in lease.run("lease timetolive ID --keys").out
    other.run("put b 2 --lease=ID")
    assert "attached keys(['a'])" in lease.run("lease timetolive ID --keys").out
    lease.run("lease revoke ID")
    both.run("get '' --prefix --keys-only")
    other.run("lease revoke ID")
    with both.watch("watch '' --prefix --rev=@5", lines=9):
        pass
    assert both.run("get '' --prefix").out == ""


def test_a_lease_in_a_transaction(both: Both) -> None:
    lease = Lease.grant(both, 60)
    for side, id_ in zip((both.etcd, both.racos), lease.ids, strict=True):
        steps = f"\nput t 1 --lease={id_}\n\n\n".encode()
        assert side.run("txn", steps).code == 0
    assert "attached keys(['t'])" in lease.run("lease timetolive ID --keys").out
    lease.run("lease revoke ID")
    assert both.run("get t").out == ""


def test_leases_are_listed(both: Both) -> None:
    lease = Lease.grant(both, 60)
    for side, id_ in zip((both.etcd, both.racos), lease.ids, strict=True):
        first, *ids = side.run("lease list").out.split("\n")
        assert re.fullmatch(r"found \d+ leases", first)
        assert id_ in ids
    lease.run("lease revoke ID")
    for side, id_ in zip((both.etcd, both.racos), lease.ids, strict=True):
        assert id_ not in side.run("lease list").out


def test_an_abandoned_lease_goes_and_one_kept_alive_stays(both: Both) -> None:
    abandoned, kept = Lease.grant(both, 1), Lease.grant(both, 2)
    abandoned.run("put abandoned 1 --lease=ID")
    kept.run("put kept 1 --lease=ID")
    keepers = [
        side.start(f"lease keep-alive {id_}")
        for side, id_ in zip((both.etcd, both.racos), kept.ids, strict=True)
    ]
    try:
        with both.watch("watch abandoned --rev=@1", lines=6) as watching:
            pass  # ends when both have seen the deletion
        assert watching.out[3] == "DELETE\n"
        assert both.run("get kept").out == "kept\n1\n"
    finally:
        for keeper in keepers:
            keeper.send_signal(signal.SIGINT)
            out, _ = keeper.communicate(timeout=20)
            assert re.match(rb"lease \w+ keepalived with TTL\(2\)\n", out)
    kept.run("lease revoke ID")


def test_etcdctls_own_lock_stands_on_leases(both: Both) -> None:
    """`lock` is made of a lease, transactions and a watch by etcdctl itself."""
    assert both.run("lock name -- /bin/echo held").out == "held\n"
    assert both.run("get name --prefix").out == ""

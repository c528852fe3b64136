"""dbSize is what the disk holds, dbSizeInUse what of that is needed."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import NamedTuple

import grpc
import pytest

from cluster.supervisor import LocalCluster
from etcdshim.pb import rpc_pb2 as pb
from etcdshim.pb.rpc_pb2_grpc import KVStub, MaintenanceStub
from tests.compat.endpoints import channel

pytestmark = [pytest.mark.process, pytest.mark.slow]

KEYS = 60
SIZE = 64 << 10
FRAGMENT = SIZE // 2  # k = 2
PATIENCE = 10.0


class Sizes(NamedTuple):
    db: int
    in_use: int


class Member:
    def __init__(self, endpoint: grpc.Channel) -> None:
        self._kv = KVStub(endpoint)  # type: ignore[no-untyped-call]
        self._maintenance = MaintenanceStub(endpoint)  # type: ignore[no-untyped-call]

    def fill(self) -> int:
        """Every key once; the revision of the last write."""
        revision = 0
        for key in range(KEYS):
            put = pb.PutRequest(key=b"k%d" % key, value=os.urandom(SIZE))
            revision = self._kv.Put(put).header.revision
        return revision

    def compact(self, revision: int) -> None:
        self._kv.Compact(pb.CompactionRequest(revision=revision))

    def clear(self) -> int:
        answer = self._kv.DeleteRange(pb.DeleteRangeRequest(key=b"k", range_end=b"l"))
        return int(answer.header.revision)

    def sizes(self) -> Sizes:
        status = self._maintenance.Status(pb.StatusRequest())
        assert status.dbSizeInUse <= status.dbSize
        return Sizes(status.dbSize, status.dbSizeInUse)

    def await_in_use(self, is_reached: Callable[[int], bool]) -> int:
        """Compaction drops versions beside the traffic; never does more come into use meanwhile."""
        deadline = time.monotonic() + PATIENCE
        seen = [self.sizes().in_use]
        while not is_reached(seen[-1]):
            assert time.monotonic() < deadline, seen[-5:]
            seen.append(self.sizes().in_use)
        assert seen == sorted(seen, reverse=True)
        return seen[-1]


def on_disk(cluster: LocalCluster, name: str) -> int:
    """Bytes of the files of log and index."""
    data = cluster.data_path(name)
    files = [*(data / "log").glob("*.log"), *(data / "index").iterdir()]
    return sum(each.stat().st_size for each in files)


def test_sizes_are_those_of_the_files_and_of_what_is_needed() -> None:
    with LocalCluster(3) as cluster, channel(cluster.endpoints()[0]) as endpoint:
        member = Member(endpoint)
        empty = member.sizes()
        assert empty.in_use < 20_000
        member.fill()
        once = member.sizes()
        assert once.in_use == pytest.approx(KEYS * FRAGMENT, rel=0.05)
        revision = member.fill()
        twice = member.sizes()
        assert twice.in_use == pytest.approx(2 * KEYS * FRAGMENT, rel=0.05)
        assert twice.db == pytest.approx(on_disk(cluster, "n1"), rel=0.01)
        member.compact(revision)
        assert member.await_in_use(lambda used: used < 1.1 * once.in_use) > 0.9 * once.in_use
        member.compact(member.clear())
        member.await_in_use(lambda used: used < 20_000)
        assert member.sizes().db == pytest.approx(on_disk(cluster, "n1"), rel=0.01)

"""What two systems must have in common when one was restored from the other's backup."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import grpc

from cluster.find import find_program
from cluster.spec import NodeSpec
from cluster.stock import EtcdCluster
from cluster.supervisor import LocalCluster
from etcdshim.pb import rpc_pb2 as pb
from etcdshim.pb.rpc_pb2_grpc import KVStub, LeaseStub, MaintenanceStub, WatchStub
from tests.compat.endpoints import channel
from tests.e2e.serving import CLEAN, ROOT, Ended

PATIENCE = 30.0

_Row = tuple[bytes, int, int, int, bytes, int]


class Dump(NamedTuple):
    """Everything a client can see."""

    revision: int
    compact_revision: int
    keys: dict[int, list[_Row]]  # at each revision that can be read
    events: list[tuple[int, bytes, int, int]]  # type, key, mod revision, version
    leases: list[tuple[int, int, tuple[bytes, ...]]]  # id, granted TTL, keys


def dump(endpoint: str) -> Dump:
    with channel(endpoint) as open_channel:
        hashed = MaintenanceStub(open_channel).HashKV(pb.HashKVRequest())  # type: ignore[no-untyped-call]
        first, last = max(hashed.compact_revision, 1), hashed.header.revision
        return Dump(
            last,
            hashed.compact_revision,
            {revision: _keys(open_channel, revision) for revision in range(first, last + 1)},
            list(_events(open_channel, first, last)),
            list(_leases(open_channel)),
        )


def _keys(open_channel: grpc.Channel, revision: int) -> list[_Row]:
    request = pb.RangeRequest(key=b"\0", range_end=b"\0", revision=revision)
    answer = KVStub(open_channel).Range(request)  # type: ignore[no-untyped-call]
    return [
        (kv.key, kv.create_revision, kv.mod_revision, kv.version, kv.value, kv.lease)
        for kv in answer.kvs
    ]


def _events(
    open_channel: grpc.Channel, first: int, last: int
) -> Iterator[tuple[int, bytes, int, int]]:
    if last < max(first + 1, 2):
        return
    create = pb.WatchCreateRequest(key=b"\0", range_end=b"\0", start_revision=first + 1)
    watch = WatchStub(open_channel).Watch(  # type: ignore[no-untyped-call]
        iter([pb.WatchRequest(create_request=create)]), timeout=PATIENCE
    )
    for answer in watch:
        for event in answer.events:
            yield event.type, event.kv.key, event.kv.mod_revision, event.kv.version
        if answer.events and answer.events[-1].kv.mod_revision >= last:
            watch.cancel()
            return


def _leases(open_channel: grpc.Channel) -> Iterator[tuple[int, int, tuple[bytes, ...]]]:
    stub = LeaseStub(open_channel)  # type: ignore[no-untyped-call]
    ids = sorted(lease.ID for lease in stub.LeaseLeases(pb.LeaseLeasesRequest()).leases)
    for id_ in ids:
        lease = stub.LeaseTimeToLive(pb.LeaseTimeToLiveRequest(ID=id_, keys=True))
        yield id_, lease.grantedTTL, tuple(lease.keys)


def etcdctl(*words: str) -> str:
    """stdout of a command that succeeds."""
    done = subprocess.run(
        [find_program("etcdctl"), *words],
        env={"ETCDCTL_API": "3"},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def racos(*words: str) -> Ended:
    """What a `racos` command told."""
    done = subprocess.run(
        [sys.executable, "-m", "cluster.cli", *words],
        cwd=ROOT,
        env=CLEAN,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    return Ended(done.returncode, done.stdout, done.stderr)


def member_flags(cluster: LocalCluster | EtcdCluster, node: NodeSpec) -> list[str]:
    """The flags that a restore takes; both systems call them the same."""
    taken = ("--name", "--data-dir", "--initial")
    flags = cluster.spec.node_flags(node, cluster.data_path(node.name))
    return [flag for flag in flags if flag.startswith(taken)]


def restore_into(cluster: LocalCluster, file: Path, flags: Sequence[str] = ()) -> None:
    """Every member of a cluster that was not started yet."""
    for node in cluster.spec.nodes:
        ended = racos("restore", str(file), *member_flags(cluster, node), *flags)
        assert ended.code == 0, ended

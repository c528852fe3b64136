"""Members that compare themselves: one whose disk says something else is found and named."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator

import pytest

from cluster.supervisor import LocalCluster
from etcdshim.pb import rpc_pb2 as pb
from etcdshim.pb.rpc_pb2_grpc import KVStub, MaintenanceStub
from racos.mvcc.command import KeyValue
from racos.mvcc.encoding import LIVE, decode_record, encode_record
from racos.storage.index import Index
from racos.storage.staging import INDEX_FOLDER
from tests.compat.endpoints import channel
from tests.e2e.backups import etcdctl

pytestmark = [pytest.mark.process, pytest.mark.slow]

PATIENCE = 30.0


@pytest.fixture
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster(3, flags=("--corrupt-check-time=300ms",)) as running:
        yield running


def until(cluster: LocalCluster, name: str, figure: str, least: float) -> None:
    """Wait for a figure of a member."""
    deadline = time.monotonic() + PATIENCE
    while (cluster.figure(name, figure) or 0.0) < least:
        assert time.monotonic() < deadline, f"{figure} of {name} below {least} for {PATIENCE} s"
        time.sleep(0.05)


def spoil(cluster: LocalCluster, name: str, key: bytes) -> int:
    """Change a value in a stopped member's index, where no checksum tells; the member's id."""
    directory = cluster.data_path(name)
    fields = json.loads((directory / "identity.json").read_bytes())
    member_id, cluster_id = int(fields["member_id"], 16), int(fields["cluster_id"], 16)
    index = Index(directory / INDEX_FOLDER, member_id=member_id, cluster_id=cluster_id)
    data = index.get(LIVE + key)
    assert data is not None
    record: KeyValue = decode_record(key, data)
    index.put(LIVE + key, encode_record(record._replace(value=b"rotten")))
    sequence = index.flushed_sequence
    index.commit(sequence)
    index.durable(sequence)
    index.close()
    return member_id


def first(cluster: LocalCluster) -> str:
    """The member that asks: the one with the lowest id."""
    lines = etcdctl(f"--endpoints={','.join(cluster.endpoints())}", "endpoint", "status")
    leader = next(line.split(", ")[0] for line in lines.splitlines() if ", true, false, " in line)
    return cluster.names[cluster.endpoints().index(leader)]


def test_a_member_with_another_value_is_named(cluster: LocalCluster) -> None:
    endpoints = f"--endpoints={','.join(cluster.endpoints())}"
    for number in range(20):
        etcdctl(endpoints, "put", f"k{number}", "right")
    asker = first(cluster)
    until(cluster, asker, "racos_audits_total", 2)
    assert cluster.figure(asker, "racos_audits_differing_total") == 0
    assert etcdctl(endpoints, "alarm", "list") == ""

    victim = next(name for name in cluster.names if name != asker)
    cluster.stop(victim)
    wrong = spoil(cluster, victim, b"k7")
    cluster.start(victim)
    cluster.wait_ready(names=[victim])
    until(cluster, asker, "racos_alarms", 1)
    assert etcdctl(endpoints, "alarm", "list") == f"memberID:{wrong} alarm:CORRUPT \n"
    with channel(cluster.endpoint(asker)) as open_channel:
        kv = KVStub(open_channel)  # type: ignore[no-untyped-call]
        assert kv.Range(pb.RangeRequest(key=b"k7")).kvs[0].value == b"right"
        with pytest.raises(Exception, match="etcdserver: corrupt cluster"):
            kv.Put(pb.PutRequest(key=b"k7"))
        status = MaintenanceStub(open_channel).Status(pb.StatusRequest())  # type: ignore[no-untyped-call]
        assert list(status.errors) == [f"memberID:{wrong} alarm:CORRUPT "]
    connection = http.client.HTTPConnection(cluster.endpoint(asker), timeout=PATIENCE)
    connection.request("GET", "/health")
    answer = connection.getresponse()
    assert answer.status == 503
    assert json.loads(answer.read()) == {"health": "false", "reason": "ALARM CORRUPT"}
    connection.close()

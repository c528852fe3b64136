"""What only a store without a past shows: the first revisions and the first compaction."""

from __future__ import annotations

from pathlib import Path

import pytest

from etcdshim.pb import rpc_pb2 as pb
from tests.compat.endpoints import channel, memory_server, real_etcd
from tests.compat.pair import Server

pytestmark = [pytest.mark.process, pytest.mark.slow]

CALLS = (
    ("KV/Range", pb.RangeRequest(key=b"a")),
    ("KV/Range", pb.RangeRequest(key=b"a", revision=1)),
    ("KV/Range", pb.RangeRequest(key=b"a", revision=2)),
    ("KV/DeleteRange", pb.DeleteRangeRequest(key=b"a")),
    ("KV/Txn", pb.TxnRequest()),
    ("KV/Compact", pb.CompactionRequest(revision=2)),
    ("KV/Compact", pb.CompactionRequest(revision=0)),
    ("KV/Compact", pb.CompactionRequest(revision=0)),
    ("KV/Range", pb.RangeRequest(key=b"a", revision=1)),
    ("KV/Put", pb.PutRequest(key=b"a")),
    ("KV/Range", pb.RangeRequest(key=b"a", revision=1)),
    ("KV/Compact", pb.CompactionRequest(revision=1)),
    ("KV/Compact", pb.CompactionRequest(revision=2, physical=True)),
    ("KV/Range", pb.RangeRequest(key=b"a", revision=1)),
    ("KV/Range", pb.RangeRequest(key=b"a", revision=2)),
    ("Maintenance/Alarm", pb.AlarmRequest()),
    ("Auth/AuthStatus", pb.AuthStatusRequest()),
)


def test_first_revisions(tmp_path: Path) -> None:
    with (
        real_etcd(tmp_path / "data") as etcd,
        memory_server() as ours,
        channel(etcd) as theirs,
        channel(ours) as own,
    ):
        pair = Server("etcd", theirs), Server("ours", own)
        for name, request in CALLS:
            expected, answer = (server.call(f"/etcdserverpb.{name}", request) for server in pair)
            assert answer == expected, f"{name} {request}"

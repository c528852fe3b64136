"""Backups between Racos and stock etcd, by the programs that operators use."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

import grpc
import pytest

from cluster.stock import EtcdCluster
from cluster.supervisor import LocalCluster
from etcdshim.pb import rpc_pb2 as pb
from etcdshim.pb.rpc_pb2_grpc import KVStub, LeaseStub
from tests.compat.endpoints import channel
from tests.e2e.backups import Dump, dump, etcdctl, member_flags, racos, restore_into
from tests.e2e.serving import contents

pytestmark = [pytest.mark.process, pytest.mark.slow]

BIG = random.Random(1).randbytes(400_000)


def fill(endpoint: str) -> None:
    """Some of everything, with a compaction in the middle."""
    with channel(endpoint) as open_channel:
        kv = KVStub(open_channel)  # type: ignore[no-untyped-call]
        lease = LeaseStub(open_channel)  # type: ignore[no-untyped-call]
        granted = lease.LeaseGrant(pb.LeaseGrantRequest(TTL=3600)).ID
        lease.LeaseGrant(pb.LeaseGrantRequest(TTL=7200, ID=77))
        for number in range(30):
            kv.Put(pb.PutRequest(key=b"k%d" % (number % 7), value=b"v%d" % number))
        middle = kv.Put(pb.PutRequest(key=b"leased", value=b"x", lease=granted)).header.revision
        kv.DeleteRange(pb.DeleteRangeRequest(key=b"k1", range_end=b"k3"))
        ops = [
            pb.RequestOp(request_put=pb.PutRequest(key=key, value=b"txn")) for key in (b"z", b"a")
        ]
        ops.append(pb.RequestOp(request_delete_range=pb.DeleteRangeRequest(key=b"k4")))
        kv.Txn(pb.TxnRequest(success=ops))
        kv.Put(pb.PutRequest(key=b"big", value=BIG))
        kv.Put(pb.PutRequest(key=b"k1", value=b"again"))
        kv.Compact(pb.CompactionRequest(revision=middle, physical=True))


@pytest.fixture(scope="module")
def from_racos(
    cluster: LocalCluster, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Dump]:
    """A backup of a running cluster, and what the cluster held."""
    fill(cluster.endpoints()[0])
    file = tmp_path_factory.mktemp("racos") / "backup.db"
    etcdctl(f"--endpoints={cluster.endpoints()[1]}", "snapshot", "save", str(file))
    return file, dump(cluster.endpoints()[1])


@pytest.fixture(scope="module")
def from_etcd(stock: EtcdCluster, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Dump]:
    fill(stock.endpoints()[0])
    file = tmp_path_factory.mktemp("etcd") / "backup.db"
    etcdctl(f"--endpoints={stock.endpoints()[0]}", "snapshot", "save", str(file))
    return file, dump(stock.endpoints()[0])


def test_status_of_a_backup(from_racos: tuple[Path, Dump]) -> None:
    file, held = from_racos
    status = json.loads(etcdctl("snapshot", "status", str(file), "-w", "json"))
    assert status["revision"] == held.revision
    assert status["totalSize"] == file.stat().st_size - 32
    told = racos("snapshot", "status", str(file))
    assert told.out == (
        f"hash {status['hash']:x}, revision {status['revision']}, {status['totalKey']} entries, "
        f"{status['totalSize']} bytes\n"
    )


def test_status_of_etcds_own_backup(from_etcd: tuple[Path, Dump]) -> None:
    file, _ = from_etcd
    status = json.loads(etcdctl("snapshot", "status", str(file), "-w", "json"))
    told = racos("snapshot", "status", str(file))
    assert told.out.startswith(f"hash {status['hash']:x}, revision {status['revision']}, ")


def test_stock_etcd_restored_from_racos(from_racos: tuple[Path, Dump]) -> None:
    file, held = from_racos
    with EtcdCluster(1, flags=("--unsafe-no-fsync", "--log-level=error")) as etcd:
        etcd.stop_all()
        (node,) = etcd.spec.nodes
        for path in sorted(etcd.data_path(node.name).rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        etcdctl("snapshot", "restore", str(file), *member_flags(etcd, node))
        etcd.start_all()
        etcd.wait_ready()
        assert dump(etcd.endpoints()[0]) == held


def test_racos_restored_from_etcd(from_etcd: tuple[Path, Dump], tmp_path: Path) -> None:
    file, held = from_etcd
    new = LocalCluster(3)
    restore_into(new, file)
    with new:
        assert [dump(endpoint) for endpoint in new.endpoints()] == [held] * 3
        hashes = etcdctl(f"--endpoints={new.endpoints()[0]}", "endpoint", "hashkv", "--cluster")
        assert len({line.split(", ")[1] for line in hashes.splitlines()}) == 1
        etcdctl(f"--endpoints={new.endpoints()[0]}", "put", "after", "it")
        again = tmp_path / "again.db"
        told = racos("snapshot", "save", str(again), "--endpoint", new.endpoints()[1])
        assert told.out == f"saved {again.stat().st_size} bytes to {again}\n"
        assert etcdctl("snapshot", "status", str(again))


def test_a_database_from_a_data_directory(stock: EtcdCluster, tmp_path: Path) -> None:
    """As it lies on the disk, under way, without a hash at the end."""
    live = next(stock.data_path("n1").rglob("db"))
    raw = tmp_path / "db"
    raw.write_bytes(live.read_bytes())
    held = dump(stock.endpoints()[0])
    target = str(tmp_path / "data")
    told = racos("restore", str(raw), "--data-dir", target)
    assert (told.code, told.err) == (
        1,
        f"racos: {raw}: snapshot missing hash but --skip-hash-check=false\n",
    )
    told = racos("restore", str(raw), "--data-dir", target, "--skip-hash-check")
    assert told.code == 0, told
    revision = re.search(r"at revision (\d+)", told.out)
    assert revision is not None
    assert 1 <= int(revision[1]) <= held.revision


def test_a_revision_that_goes_up(from_racos: tuple[Path, Dump]) -> None:
    file, held = from_racos
    new = LocalCluster(1)
    restore_into(new, file, ("--bump-revision=1000000000", "--mark-compacted"))
    with new:
        endpoint = new.endpoints()[0]
        now = dump(endpoint)
        assert now.revision == now.compact_revision == held.revision + 1_000_000_000
        assert now.keys[now.revision] == held.keys[held.revision]
        assert now.leases == held.leases
        with channel(endpoint) as open_channel:
            stub = KVStub(open_channel)  # type: ignore[no-untyped-call]
            request = pb.RangeRequest(key=b"a", revision=held.revision)
            with pytest.raises(grpc.RpcError, match="compacted"):
                stub.Range(request)


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (("--bump-revision=5",), "--mark-compacted required if --revision-bump > 0"),
        (("--initial-cluster=x=http://127.0.0.1:1",), "couldn't find local name"),
    ],
)
def test_wrong_flags(
    from_racos: tuple[Path, Dump], flags: tuple[str, ...], reason: str, tmp_path: Path
) -> None:
    told = racos("restore", str(from_racos[0]), "--data-dir", str(tmp_path / "data"), *flags)
    assert told.code == 1
    assert told.err.startswith("racos: ")
    assert told.err.count("\n") == 1
    assert reason in told.err
    assert contents(tmp_path) == {}


def test_damaged_files(from_racos: tuple[Path, Dump], tmp_path: Path) -> None:
    good = from_racos[0].read_bytes()
    turned = bytearray(good)
    turned[len(good) // 2] ^= 0x40
    bad = tmp_path / "bad.db"
    for data, flags in ((turned, ()), (good[: len(good) // 2], ("--skip-hash-check",))):
        bad.write_bytes(data)
        told = racos("restore", str(bad), "--data-dir", str(tmp_path / "data"), *flags)
        assert told.code == 1
        assert told.err.startswith(f"racos: {bad}: ")
        assert told.err.count("\n") == 1
        assert sorted(contents(tmp_path)) == ["bad.db"]


def test_files_that_are_not_there(tmp_path: Path) -> None:
    missing = str(tmp_path / "missing.db")
    for words in (("restore", missing), ("snapshot", "status", missing)):
        told = racos(*words)
        assert (told.code, told.err) == (1, f"racos: {missing}: No such file or directory\n")
    told = racos("snapshot", "save", missing, "--endpoint", "127.0.0.1:1")
    assert told.code == 1
    assert told.err.startswith("racos: 127.0.0.1:1: ")
    assert told.err.count("\n") == 1
    assert contents(tmp_path) == {}

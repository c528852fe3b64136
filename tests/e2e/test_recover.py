"""`racos recover`, and a member whose log is an old copy: refused until it is used."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest

from cluster.commands import run
from cluster.supervisor import READY_TIMEOUT, ClusterError, LocalCluster
from tests.compat.endpoints import channel
from tests.e2e.calls import Client
from tests.e2e.serving import contents

pytestmark = [pytest.mark.process, pytest.mark.slow]

VALUES = 30

Told = Callable[..., tuple[int, str, str]]


@pytest.fixture
def told(capfd: pytest.CaptureFixture[str]) -> Told:
    """Exit code, stdout and stderr of `racos recover`."""

    def recover(directory: Path) -> tuple[int, str, str]:
        capfd.readouterr()
        code = run(["recover", str(directory)])
        captured = capfd.readouterr()
        return code, captured.out, captured.err

    return recover


def value(number: int) -> bytes:
    return b"value %d " % number * 2000


def put_all(cluster: LocalCluster, name: str, first: int) -> None:
    with channel(cluster.endpoint(name)) as opened:
        for number in range(first, first + VALUES):
            Client(opened).put(key=b"key/%03d" % number, value=value(number))


def values(cluster: LocalCluster, name: str) -> list[bytes]:
    with channel(cluster.endpoint(name)) as opened:
        return [kv.value for kv in Client(opened).range(key=b"key/", range_end=b"key0").kvs]


def test_an_old_copy_of_a_log_is_refused_and_rebuilt_by_racos_recover(
    told: Told, tmp_path: Path
) -> None:
    with LocalCluster(3) as cluster:
        data = cluster.data_path("n3")
        put_all(cluster, "n1", 0)
        cluster.stop("n3")
        shutil.copytree(data / "log", tmp_path / "log")
        cluster.start("n3")
        cluster.wait_ready(names=["n3"])
        put_all(cluster, "n3", VALUES)
        code, _, error = told(data)
        assert code == 1
        assert "is in use by another process" in error
        cluster.stop("n3")
        shutil.rmtree(data / "log")
        shutil.copytree(tmp_path / "log", data / "log")

        cluster.start("n3")
        with pytest.raises(ClusterError):
            cluster.wait_ready(names=["n3"])
        line = cluster.last_log_line("n3")
        assert "log and index do not belong together" in line
        assert "racos recover" in line

        code, out, error = told(data)
        assert (code, error) == (0, "")
        assert str(data / "damaged-1") in out
        assert "start n3 as before" in out
        assert sorted(each.name for each in (data / "damaged-1").iterdir()) == ["index", "log"]
        cluster.start("n3")
        cluster.wait_ready(names=["n3"])
        assert cluster.figure("n3", "racos_silent") == 0
        cluster.kill("n1")
        expected = [value(number) for number in range(2 * VALUES)]
        assert values(cluster, "n3") == expected
        put_all(cluster, "n3", 0)


def test_what_is_no_directory_of_a_node_is_left_alone(told: Told, tmp_path: Path) -> None:
    before = contents(tmp_path)
    for directory in (tmp_path, tmp_path / "none"):
        code, out, error = told(directory)
        assert (code, out) == (1, "")
        assert error.startswith("racos: ")
        assert len(error.splitlines()) == 1
    assert contents(tmp_path) == before


def test_one_that_is_alone_refuses_to_begin_anew(told: Told, tmp_path: Path) -> None:
    with LocalCluster(1, data_dir=tmp_path / "one") as cluster:
        put_all(cluster, "n1", 0)
        data = cluster.data_path("n1")
        cluster.stop("n1")
        assert told(data)[0] == 0
        code, _, error = told(data)
        assert code == 1
        assert "neither a log nor an index" in error
        cluster.start("n1")
        with pytest.raises(ClusterError):
            cluster.wait_ready(names=["n1"])
        line = cluster.last_log_line("n1")
        assert "damaged-1 has one that was put aside" in line
        for name in ("log", "index"):
            shutil.rmtree(data / name, ignore_errors=True)
            (data / "damaged-1" / name).rename(data / name)
        cluster.start("n1")
        cluster.wait_ready(names=["n1"])
        assert values(cluster, "n1") == [value(number) for number in range(VALUES)]


def test_what_a_member_shows_while_it_has_lost_everything_and_the_others_are_away(
    capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with LocalCluster(3, data_dir=tmp_path / "three") as cluster:
        put_all(cluster, "n1", 0)
        for name in cluster.names:
            cluster.kill(name)
        shutil.rmtree(cluster.data_path("n3"))
        cluster.start("n3")
        deadline = time.monotonic() + READY_TIMEOUT
        while cluster.figure("n3", "racos_silent") is None:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert cluster.figure("n3", "racos_silent") == 1
        assert cluster.figure("n3", "racos_silent_upto_round") == -1
        assert not cluster.is_ready("n3")
        with channel(cluster.endpoint("n3")) as opened, pytest.raises(grpc.RpcError) as refused:
            Client(opened).range(key=b"key/000", serializable=True)
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
        assert run(["cluster", "status", "--data-dir", str(cluster.directory)]) == 0
        told = [line.split() for line in capfd.readouterr().out.splitlines()]
        assert ["silent" in words for words in told if words[:1] == ["n3"]] == [True]
        for name in ("n1", "n2"):
            cluster.start(name)
        cluster.wait_ready()
        assert values(cluster, "n3") == [value(number) for number in range(VALUES)]

"""Stock etcd behind the supervisor, and the demonstration run against it as the oracle."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.demo import demonstrate
from cluster.find import NotFound, find_program
from cluster.spec import ClusterError
from cluster.stock import EtcdCluster

pytestmark = [pytest.mark.process, pytest.mark.slow]


@pytest.fixture(scope="module")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdCluster]:
    with EtcdCluster(3, data_dir=tmp_path_factory.mktemp("etcd")) as cluster:
        yield cluster


def test_a_killed_etcd_comes_back(etcd: EtcdCluster) -> None:
    etcd.kill("n2")
    etcd.start("n2")
    etcd.wait_ready()
    assert len(etcd.pids()) == 3


def test_another_supervisor_starts_it_again(etcd: EtcdCluster) -> None:
    found = EtcdCluster.open(etcd.directory)
    found.kill("n1")
    found.start("n1")
    found.wait_ready()
    assert len(found.pids()) == 3
    found.kill("n1")
    etcd.start("n1")
    etcd.wait_ready()


def test_the_demonstration_shows_what_it_says(
    etcd: EtcdCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    demonstrate(etcd)
    shown = capsys.readouterr().out
    for text in (
        "from the first node\n",
        "1048576 bytes, sha256 ",
        "the watch: PUT hello-",
        "IS LEARNER",
        f"export ETCDCTL_ENDPOINTS={','.join(etcd.endpoints())}\n",
        f"cluster down --data-dir {etcd.directory}",
    ):
        assert text in shown


def test_the_demonstration_fails_in_one_line(
    etcd: EtcdCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "etcdctl"
    broken.write_text("#!/bin/sh\necho 'Error: no luck today' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    with pytest.raises(ClusterError, match="etcdctl put failed: Error: no luck today"):
        demonstrate(etcd)


def test_a_named_binary_must_exist(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="is not an executable file"):
        EtcdCluster(1, etcd=str(tmp_path / "etcd"))


def test_etcd_is_found_beside_this_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert Path(find_program("etcd")).name == "etcd"
    with pytest.raises(NotFound, match="nosuch is neither on PATH nor in"):
        find_program("nosuch")

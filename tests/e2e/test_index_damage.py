"""A node whose index is gone, old or damaged: it answers rightly all the same, or says why not."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from cluster.spec import ClusterSpec, lay_out
from tests.compat.endpoints import channel
from tests.e2e.calls import Client
from tests.e2e.serving import refusal, serve, serving

pytestmark = [pytest.mark.process, pytest.mark.slow]

VALUES = 400


def value(number: int) -> bytes:
    return b"value number %d " % number * 100


@pytest.fixture(scope="module")
def spec() -> ClusterSpec:
    return lay_out(1, system="racos", client_port=0)


@pytest.fixture(scope="module")
def pristine(spec: ClusterSpec, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with some values in it, left by an orderly stop, which flushes the index;
    beside it the index as it was when half of them were there."""
    data = tmp_path_factory.mktemp("data") / "n1"
    for half in range(2):
        with serving(flags(spec, data)) as process, channel(spec.nodes[0].endpoint) as opened:
            client = Client(opened)
            for number in range(half, VALUES, 2):
                client.put(key=b"key/%03d" % number, value=value(number))
            stop(process)
        if not half:
            shutil.copytree(data / "index", data.parent / "old")
    return data


@pytest.fixture
def data(pristine: Path, tmp_path: Path) -> Path:
    shutil.copytree(pristine, tmp_path / "n1")
    return tmp_path / "n1"


def flags(spec: ClusterSpec, data: Path) -> list[str]:
    return [*spec.node_flags(spec.nodes[0], data), "--log-level=warn"]


def stop(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0


def check(spec: ClusterSpec, data: Path) -> None:
    """A node that starts here has every value, and takes another."""
    with serving(flags(spec, data)) as process, channel(spec.nodes[0].endpoint) as opened:
        client = Client(opened)
        found = client.range(key=b"key/", range_end=b"key0")
        assert [kv.value for kv in found.kvs] == [value(number) for number in range(VALUES)]
        assert found.header.revision == VALUES + 1
        client.put(key=b"other", value=b"x")
        stop(process)


def gone(index: Path) -> None:
    shutil.rmtree(index)


def a_file_gone(index: Path) -> None:
    sorted(index.glob("*.sst"))[0].unlink()


def all_files_cut(index: Path) -> None:
    for path in index.glob("*.sst"):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def books_cut(index: Path) -> None:
    for path in index.glob("MANIFEST*"):
        path.write_bytes(path.read_bytes()[:40])


def bytes_flipped(index: Path) -> None:
    rng = random.Random(1)
    for path in sorted(index.glob("*.sst")) + sorted(index.glob("*.blob")):
        data = bytearray(path.read_bytes())
        for _ in range(5):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        path.write_bytes(data)


@pytest.mark.parametrize(
    "harm", [gone, a_file_gone, all_files_cut, books_cut], ids=lambda harm: harm.__name__
)
def test_it_is_rebuilt_from_the_log(
    spec: ClusterSpec, data: Path, harm: Callable[[Path], None]
) -> None:
    harm(data / "index")
    check(spec, data)


def test_an_older_copy_is_brought_up_to_date(spec: ClusterSpec, pristine: Path, data: Path) -> None:
    shutil.rmtree(data / "index")
    shutil.copytree(pristine.parent / "old", data / "index")
    check(spec, data)


def test_a_damaged_value_found_by_a_read_is_never_served(spec: ClusterSpec, data: Path) -> None:
    """The node stops with one line; it rebuilds the index when it starts again."""
    bytes_flipped(data / "index")
    served: list[bytes] = []
    with serving(flags(spec, data)) as process, channel(spec.nodes[0].endpoint) as opened:
        client = Client(opened)
        try:
            found = client.range(key=b"key/", range_end=b"key0")
            served = [kv.value for kv in found.kvs]
        except Exception:  # whatever the call ends with: the node is going down
            assert process.wait(10) == 70
            assert process.stderr is not None
            assert "index is damaged" in process.stderr.read()
    assert served in ([], [value(number) for number in range(VALUES)])
    check(spec, data)


def test_a_log_that_lacks_what_the_index_has_is_refused(spec: ClusterSpec, data: Path) -> None:
    shutil.rmtree(data / "log")
    told = refusal(serve(flags(spec, data)))
    assert "log and index do not belong together" in told


def test_an_index_of_another_member_is_refused_or_rebuilt(
    spec: ClusterSpec, data: Path, tmp_path: Path
) -> None:
    """It is somebody else's: nothing of it is used."""
    other = lay_out(1, system="racos", client_port=0)
    elsewhere = tmp_path / "elsewhere"
    with serving(flags(other, elsewhere)) as process:
        stop(process)
    shutil.rmtree(data / "index")
    shutil.copytree(elsewhere / "index", data / "index")
    check(spec, data)

"""Starts that must be refused: one clear line, an exit code, and not a byte of data changed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.spec import ClusterSpec, lay_out
from tests.compat.endpoints import channel
from tests.e2e.calls import Client
from tests.e2e.serving import contents, refusal, serve, serving, truth

pytestmark = [pytest.mark.process, pytest.mark.slow]

VALUES = 50
STOP_SECONDS_MAX = 2.0
SEGMENT = "log/0000000000000001.log"
MARK = "log/durable.mark"
SEGMENT_HEADER_BYTES = 512


class Home:
    """A single node's flags and its data directory, which no process uses."""

    def __init__(self, spec: ClusterSpec, data: Path) -> None:
        self.spec = spec
        self.data = data

    def flags(self, *more: str) -> list[str]:
        return [*self.spec.node_flags(self.spec.nodes[0], self.data), "--log-level=warn", *more]

    def refused(self, *more: str) -> str:
        """The one line of a start that is refused; the data is as it was."""
        before = truth(self.data)
        told = refusal(serve(self.flags(*more)))
        assert truth(self.data) == before
        return told

    def values(self) -> list[bytes]:
        """What a node that starts here answers."""
        with serving(self.flags()), channel(self.spec.nodes[0].endpoint) as opened:
            found = Client(opened).range(key=b"key/", range_end=b"key0")
        return [kv.value for kv in found.kvs]


def value(number: int) -> bytes:
    return b"value number %d, not found anywhere else" % number


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A data directory with some values in it, left by an orderly stop."""
    home = Home(lay_out(1, system="racos", client_port=0), tmp_path_factory.mktemp("data") / "n1")
    with serving(home.flags()) as process, channel(home.spec.nodes[0].endpoint) as opened:
        for number in range(VALUES):
            Client(opened).put(key=b"key/%02d" % number, value=value(number))
        process.send_signal(signal.SIGTERM)
        began = time.monotonic()
        assert process.wait(10) == 0
        assert time.monotonic() - began < STOP_SECONDS_MAX
    return home


@pytest.fixture
def home(pristine: Home, tmp_path: Path) -> Home:
    shutil.copytree(pristine.data, tmp_path / "n1")
    return Home(pristine.spec, tmp_path / "n1")


def patch(path: Path, offset: int, new: bytes) -> None:
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(new)


def flip(path: Path, offset: int) -> None:
    patch(path, offset, bytes([path.read_bytes()[offset] ^ 0x10]))


def log_end(path: Path) -> int:
    """Where the records end and the zeros written ahead begin (records end on a multiple of 8)."""
    end = len(path.read_bytes().rstrip(b"\0"))
    return end + -end % 8


class TestWrongFlags:
    @pytest.mark.parametrize(
        ("flags", "told"),
        [
            (["--no-such-flag"], "flag provided but not defined: -no-such-flag"),
            (["--name"], "flag needs an argument: -name"),
            (["--max-txn-ops=many"], 'invalid value "many" for -max-txn-ops'),
            (["serve"], "'serve' is not a valid flag"),
            (["--suspect-after=-1s"], "-suspect-after"),
            (["--listen-peer-urls=https://127.0.0.1:1"], "https:// is not supported yet"),
            (["--cert-file=a.pem"], "--cert-file is not supported yet"),
            (["--data-fragments=9"], "--data-fragments is 9"),
            (["--initial-cluster=n1=http://127.0.0.1:1"], "find local name"),
            (
                ["--initial-cluster", ",".join(f"n{i}=http://127.0.0.1:{i}" for i in range(1, 11))],
                "names 10 members: from 1 to 9",
            ),
        ],
        ids=lambda part: part if isinstance(part, str) else None,
    )
    def test_it_is_named(self, tmp_path: Path, flags: list[str], told: str) -> None:
        ended = serve([f"--data-dir={tmp_path / 'data'}", *flags])
        assert told in refusal(ended)
        assert list(tmp_path.iterdir()) == []

    def test_flag_and_variable_together(self, home: Home) -> None:
        before = contents(home.data)
        told = refusal(serve(home.flags(), environ={"ETCD_NAME": "n1"}))
        assert "ETCD_NAME is shadowed by the flag --name" in told
        assert contents(home.data) == before

    def test_python_without_assertions(self, home: Home) -> None:
        before = contents(home.data)
        assert "python -O" in refusal(serve(home.flags(), python=["-O"]))
        assert contents(home.data) == before


class TestBusyPorts:
    @pytest.fixture
    def busy(self) -> Iterator[int]:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            yield listener.getsockname()[1]

    def test_client_port(self, home: Home, busy: int) -> None:
        told = home.refused(f"--listen-client-urls=http://127.0.0.1:{busy}")
        assert f"127.0.0.1:{busy}" in told
        assert "address already in use" in told

    def test_peer_port(self, home: Home, busy: int) -> None:
        told = home.refused(f"--listen-peer-urls=http://127.0.0.1:{busy}")
        assert f"127.0.0.1:{busy}" in told
        assert "address already in use" in told.lower()

    def test_a_fresh_directory_can_still_be_used_otherwise(self, tmp_path: Path, busy: int) -> None:
        fresh = Home(lay_out(1, system="racos", client_port=0), tmp_path / "n1")
        refusal(serve(fresh.flags(f"--listen-client-urls=http://127.0.0.1:{busy}")))
        assert fresh.values() == []


class TestForeignData:
    def test_of_another_cluster(self, home: Home) -> None:
        assert "data directory belongs to cluster" in home.refused("--initial-cluster-token=other")

    def test_of_another_node(self, home: Home) -> None:
        peer = home.spec.nodes[0].peer_url
        told = home.refused("--name=n2", f"--initial-cluster=n2={peer}")
        assert "data directory belongs to the member named n1, not n2" in told

    def test_in_use_by_another_process(self, home: Home) -> None:
        with serving(home.flags()):
            told = refusal(serve(home.flags("--listen-client-urls=http://127.0.0.1:0")))
            assert "is in use by another process" in told
            with channel(home.spec.nodes[0].endpoint) as opened:  # the first one is unharmed
                Client(opened).put(key=b"key/next", value=b"goes on")
        assert home.values()[-1] == b"goes on"

    def test_a_directory_that_cannot_be_made(self, home: Home, tmp_path: Path) -> None:
        file = tmp_path / "file"
        file.write_text("not a directory")
        for path in (file, file / "below"):
            told = refusal(serve(home.flags(f"--data-dir={path}")))
            assert str(path) in told
        assert file.read_text() == "not a directory"

    def test_a_place_where_nobody_may_write(self, home: Home) -> None:
        assert "/proc/racos" in refusal(serve(home.flags("--data-dir=/proc/racos")))


class TestDamage:
    def test_a_flipped_bit_in_a_record(self, home: Home) -> None:
        path = home.data / SEGMENT
        flip(path, path.read_bytes().index(value(VALUES // 2)) + 3)
        told = home.refused()
        assert SEGMENT in told
        assert "damaged at offset" in told
        assert "nothing was changed" in told

    def test_a_flipped_bit_in_the_last_record(self, home: Home) -> None:
        path = home.data / SEGMENT
        flip(path, log_end(path) - 20)
        assert "were synced" in home.refused()

    def test_a_flipped_bit_in_the_segment_header(self, home: Home) -> None:
        flip(home.data / SEGMENT, SEGMENT_HEADER_BYTES // 2)
        assert "segment header damaged" in home.refused()

    def test_a_segment_of_a_newer_format(self, home: Home) -> None:
        patch(home.data / SEGMENT, len(b"RACOSLOG"), b"\x63")
        assert "format version 99 is newer than 2" in home.refused()

    def test_a_log_that_is_gone(self, home: Home) -> None:
        (home.data / SEGMENT).unlink()
        assert "log is missing" in home.refused()

    def test_a_truncated_identity(self, home: Home) -> None:
        path = home.data / "identity.json"
        path.write_bytes(path.read_bytes()[:20])
        assert "identity.json: damaged" in home.refused()

    def test_an_identity_of_a_newer_format(self, home: Home) -> None:
        path = home.data / "identity.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"version": 99}))
        assert "format version 99 is newer than 1" in home.refused()


class TestTornTail:
    """What a crash may leave behind the last promise is cut, and the node starts."""

    def test_garbage_after_the_last_record(self, home: Home) -> None:
        path = home.data / SEGMENT
        patch(path, log_end(path), b"\x9eRc\xd1 torn, torn, torn" * 10)
        assert home.values() == [value(number) for number in range(VALUES)]

    def test_a_last_record_cut_short_before_it_was_promised(self, home: Home) -> None:
        path = home.data / SEGMENT
        (home.data / MARK).unlink()  # as if power failed before it reached the disk
        os.truncate(path, log_end(path) - 8)
        assert len(home.values()) >= VALUES - 1

    def test_after_the_cut_it_starts_again(self, home: Home) -> None:
        path = home.data / SEGMENT
        patch(path, log_end(path), b"torn")
        first = home.values()
        assert home.values() == first

"""The stubs that are checked in are what the .proto files say."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from proto.generate import ROOT, generate

# The versions of the generator that wrote a stub; the rest must not differ.
_VERSIONS = re.compile(
    r"^# Protobuf Python Version: .*$|^GRPC_GENERATED_VERSION = .*$|^    \d+,$", re.MULTILINE
)


@pytest.mark.slow
def test_stubs_are_current(tmp_path: Path) -> None:
    written = generate(tmp_path)
    assert any(path.name == "rpc_pb2.py" for path in written)
    for path in written:
        fresh = _VERSIONS.sub("", (tmp_path / path).read_text())
        kept = _VERSIONS.sub("", (ROOT / path).read_text())
        assert fresh == kept, f"{path} is stale: run python -m proto.generate"


@pytest.mark.slow
def test_no_stub_is_left_over(tmp_path: Path) -> None:
    written = {str(path) for path in generate(tmp_path)}
    for target in ("etcdshim/pb", "racos/pb"):
        for path in (ROOT / target).glob("*_pb2*"):
            assert str(path.relative_to(ROOT)) in written


@pytest.mark.process
@pytest.mark.slow
def test_another_library_may_define_the_same_messages_in_the_same_process() -> None:
    """A client's stubs register etcd's full names in the common pool; ours live in their own."""
    script = """
from google.protobuf import descriptor_pb2, descriptor_pool
for name, package, message in (
    ("kv.proto", "mvccpb", "KeyValue"), ("rpc.proto", "etcdserverpb", "PutRequest"),
):
    file = descriptor_pb2.FileDescriptorProto(name=name, package=package)
    file.message_type.add(name=message)
    descriptor_pool.Default().AddSerializedFile(file.SerializeToString())
from etcdshim.pb import election_pb2, health_pb2, lease_pb2, lock_pb2, rpc_pb2
assert rpc_pb2.PutRequest(key=b"a").SerializeToString() == b"\\n\\x01a"
"""
    subprocess.run([sys.executable, "-W", "error", "-c", script], check=True, cwd=ROOT, timeout=60)

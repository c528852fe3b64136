"""Which stage of a request a module's work belongs to."""

from __future__ import annotations

from types import FrameType
from typing import Final

# The longest prefix counts. What belongs to none of them (tests, sockets and disks in memory) is
# not part of the product's cost.
_STAGES: Final = {
    "etcdshim": "services",
    "etcdshim.http2": "HTTP/2, gRPC",
    "etcdshim.grpc_unary": "HTTP/2, gRPC",
    "etcdshim.asgi": "HTTP/2, gRPC",
    "etcdshim.asgi_call": "HTTP/2, gRPC",
    "etcdshim.asgi_wire": "HTTP/2, gRPC",
    "racos.node": "driver",
    "racos.node.batch": "batches, coding",
    "racos.node.batcher": "batches, coding",
    "racos.node.changes": "batches, coding",
    "racos.erasure": "batches, coding",
    "racos.core": "agreement",
    "racos.node.wire": "frames to peers",
    "racos.transport": "frames to peers",
    "racos.storage": "log",
    "racos.node.records": "log",
    "racos.storage.memdisk": "",
    "racos.node.applier": "state machine",
    "racos.mvcc": "state machine",
    "racos.storage.index": "index",
}
STAGES: Final = tuple(dict.fromkeys(stage for stage in _STAGES.values() if stage))


def stage_of(module: str) -> str | None:
    """The stage of a module of the product; "" for one that does not count; None for others."""
    if not module.startswith(("racos", "etcdshim", "tests.")):
        return None
    while module:
        if module in _STAGES:
            return _STAGES[module]
        module = module.rpartition(".")[0]
    return ""


def stage_at(frame: FrameType | None) -> str:
    """Whose work a frame does: its own module's, or that of the nearest caller in the product, as
    for what the standard library does."""
    while frame is not None:
        stage = stage_of(frame.f_globals.get("__name__", ""))
        if stage is not None:
            return stage
        frame = frame.f_back
    return ""

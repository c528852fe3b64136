"""Every bound of the services in one place, with etcd's defaults where etcd has the same bound."""

from __future__ import annotations

from dataclasses import dataclass

KIB = 1024
GRPC_OVERHEAD_BYTES = 512 * KIB  # what etcd's gRPC layer allows above the request limit


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one server; the fields that are etcd flags carry the flag's name."""

    max_request_bytes: int = 1536 * KIB  # serialized write request, with etcd's small overhead
    max_txn_ops: int = 128  # compares, or operations of one branch; nested ones share the rest
    lease_ttl_min: int = 2  # seconds; etcd: one and a half election timeouts, rounded up
    lease_ttl_max: int = 9_000_000_000  # seconds
    lease_stream_waiting: int = 1000  # keep-alives of one stream taken ahead of their answers
    watch_progress_notify_interval: float = 600.0  # seconds between progress notices
    watch_progress_jitter: float = 0.1  # part of the interval by which it varies

    # A watch stream whose reader is slower than the writes keeps at most this much; what is beyond
    # is read from the history again when there is room.
    watch_outbox_bytes: int = 2048 * KIB
    watch_outbox_entries: int = 1000
    watch_catch_up_revisions: int = 1000  # revisions joined in one answer when reading history
    watch_catch_up_bytes: int = 1024 * KIB  # ... and its size, but never less than one revision

    no_leader_after: float = 3.0  # seconds without a quorum before `hasleader` streams are ended

    @property
    def watch_fragment_bytes(self) -> int:
        """Size at which an answer is split for a watcher that asked for fragments."""
        return self.max_request_bytes + GRPC_OVERHEAD_BYTES

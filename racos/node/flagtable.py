"""Every flag of etcd 3.5 and 3.6, and Racos's own: kind, default, and what Racos does with it."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple


class Kind(Enum):
    TEXT = "text"
    BARE = "bare"  # a text that may be left out
    BOOL = "bool"  # may stand without a value
    NUMBER = "number"
    SIZE = "size"  # a number that is not negative
    DURATION = "duration"


class Treatment(Enum):
    USED = "used"
    IGNORED = "ignored"  # tuning without a counterpart here: one warning
    REFUSED = "refused"  # accepting it would pretend a protection or a placement that is not there


class Flag(NamedTuple):
    name: str
    kind: Kind
    default: str
    treatment: Treatment
    help: str  # what it does; for an ignored or refused flag, why


def _used(name: str, kind: Kind, default: str, text: str) -> Flag:
    return Flag(name, kind, default, Treatment.USED, text)


def _each(treatment: Treatment, why: str, kind: Kind, flags: str) -> tuple[Flag, ...]:
    """Flags written as `name` or `name=default`, separated by blanks."""
    table = []
    for word in flags.split():
        name, _, default = word.partition("=")
        if kind is Kind.BOOL:
            default = default or "false"
        table.append(Flag(name, kind, default, treatment, why))
    return tuple(table)


_MEMBER = (
    _used("name", Kind.TEXT, "default", "name of this member"),
    _used("data-dir", Kind.TEXT, "", "directory of the data; NAME.etcd when not given"),
    _used("listen-client-urls", Kind.TEXT, "http://localhost:2379", "where clients connect"),
    _used("advertise-client-urls", Kind.TEXT, "http://localhost:2379", "told to clients"),
    _used("listen-peer-urls", Kind.TEXT, "http://localhost:2380", "where members connect"),
    _used("initial-advertise-peer-urls", Kind.TEXT, "http://localhost:2380", "told to members"),
    _used("initial-cluster", Kind.TEXT, "", "NAME=URL,NAME=URL for each member; alone if absent"),
    _used("initial-cluster-state", Kind.TEXT, "new", "new or existing"),
    _used("initial-cluster-token", Kind.TEXT, "etcd-cluster", "sets clusters apart"),
    _used("quota-backend-bytes", Kind.NUMBER, "0", "space quota; 0: 2 GiB, negative: none"),
    _used("quota-auto-disarm", Kind.BOOL, "false", "clear the NOSPACE alarm when there is room"),
    _used("corrupt-check-time", Kind.DURATION, "1m", "pace of comparing members; 0: never"),
    _used("max-request-bytes", Kind.SIZE, "1572864", "largest request"),
    _used("max-txn-ops", Kind.SIZE, "128", "most operations in a transaction"),
    _used("watch-progress-notify-interval", Kind.DURATION, "10m", "pace of watch progress"),
    _used("log-level", Kind.TEXT, "info", "debug, info, warn, error, panic or fatal"),
    _used("suspect-after", Kind.DURATION, "250ms", "silence that makes a member suspect"),
    _used("lane-off-after", Kind.DURATION, "5s", "how long suspect until its lane is switched off"),
    _used("data-fragments", Kind.SIZE, "0", "fragments that rebuild a value; 0: n - f"),
    _used("inline-limit", Kind.SIZE, "2048", "values up to this many bytes are not coded"),
    _used("heal-rate", Kind.SIZE, "33554432", "bytes per second of missing fragments' values"),
    _used("rewrite-rate", Kind.SIZE, "33554432", "bytes per second moved to free log segments"),
    _used("scrub-rate", Kind.SIZE, "8388608", "bytes per second read to find damage; 0: none"),
    _used("segment-bytes", Kind.SIZE, "67108864", "size of one file of the log"),
    _used("history-bytes", Kind.SIZE, "268435456", "bytes of log kept for members that are away"),
    _used("engine", Kind.TEXT, "lanes", "lanes, or queue: the published algorithm, to compare"),
    Flag("version", Kind.BOOL, "false", Treatment.USED, "print the version"),
)

_NO_TLS = "TLS is not built; use http:// URLs on a trusted network"
_TLS = (
    *_each(
        Treatment.REFUSED,
        _NO_TLS,
        Kind.TEXT,
        """cert-file key-file trusted-ca-file client-crl-file client-cert-allowed-hostname
        client-cert-file client-key-file peer-cert-file peer-key-file peer-trusted-ca-file
        peer-crl-file peer-cert-allowed-cn peer-cert-allowed-hostname peer-client-cert-file
        peer-client-key-file cipher-suites tls-min-version tls-max-version ca-file peer-ca-file""",
    ),
    *_each(
        Treatment.REFUSED,
        _NO_TLS,
        Kind.BOOL,
        """client-cert-auth auto-tls peer-client-cert-auth peer-auto-tls
        peer-skip-client-san-verification""",
    ),
)

_SAFETY = (
    *_each(Treatment.REFUSED, "tokens are not built", Kind.TEXT, "auth-token=simple"),
    *_each(
        Treatment.REFUSED,
        "hosts and origins cannot be restricted here; put a proxy in front",
        Kind.TEXT,
        "cors=* host-whitelist=*",
    ),
    *_each(
        Treatment.REFUSED,
        "list the members in --initial-cluster",
        Kind.TEXT,
        """discovery discovery-proxy discovery-srv discovery-srv-name discovery-token
        discovery-endpoints discovery-user discovery-password discovery-cert discovery-key
        discovery-cacert""",
    ),
    *_each(
        Treatment.REFUSED, "membership cannot be rewritten here", Kind.BOOL, "force-new-cluster"
    ),
    *_each(Treatment.REFUSED, "the log is kept in --data-dir", Kind.TEXT, "wal-dir"),
    *_each(Treatment.REFUSED, "HTTP is on the client port", Kind.TEXT, "listen-client-http-urls"),
    *_each(Treatment.REFUSED, "give the same flags instead", Kind.TEXT, "config-file"),
)

_RAFT = "there is no leader, no election and no raft log here"
_STORE = "storage is not bbolt and is tuned otherwise"
_TUNING = (
    *_each(
        Treatment.IGNORED,
        _RAFT,
        Kind.SIZE,
        """heartbeat-interval=100 election-timeout=1000 snapshot-count snapshot-catchup-entries=5000
        max-snapshots=5 max-wals=5 max-learners=1""",
    ),
    *_each(
        Treatment.IGNORED,
        _RAFT,
        Kind.BOOL,
        "initial-election-tick-advance=true pre-vote=true strict-reconfig-check=true",
    ),
    *_each(Treatment.IGNORED, _RAFT, Kind.DURATION, "raft-read-timeout=5s raft-write-timeout=5s"),
    *_each(
        Treatment.IGNORED,
        _STORE,
        Kind.SIZE,
        "backend-batch-limit=0 bootstrap-defrag-threshold-megabytes=0 compaction-batch-limit=1000",
    ),
    *_each(
        Treatment.IGNORED,
        _STORE,
        Kind.DURATION,
        "backend-batch-interval=0 compaction-sleep-interval=10ms",
    ),
    *_each(Treatment.IGNORED, _STORE, Kind.TEXT, "backend-bbolt-freelist-type=map"),
    *_each(
        Treatment.IGNORED,
        _STORE,
        Kind.BOOL,
        "memory-mlock txn-mode-write-with-shared-buffer=true stop-grpc-service-on-defrag",
    ),
    *_each(Treatment.IGNORED, "every promise is synced to disk", Kind.BOOL, "unsafe-no-fsync"),
    *_each(
        Treatment.IGNORED,
        "compact with `etcdctl compaction`; it is not automatic yet",
        Kind.TEXT,
        "auto-compaction-mode=periodic auto-compaction-retention=0",
    ),
)

_NOT_HERE = "this part of etcd is not built"
_OTHER = (
    *_each(
        Treatment.IGNORED,
        _NOT_HERE,
        Kind.SIZE,
        """max-concurrent-streams=4294967295 auth-token-ttl=300 bcrypt-cost=10
        self-signed-cert-validity=1 proxy-failure-wait=5000 proxy-refresh-interval=30000
        proxy-dial-timeout=1000 proxy-write-timeout=5000 proxy-read-timeout=0
        distributed-tracing-sampling-rate=0""",
    ),
    *_each(
        Treatment.IGNORED,
        _NOT_HERE,
        Kind.DURATION,
        """grpc-keepalive-min-time=5s grpc-keepalive-interval=2h grpc-keepalive-timeout=20s
        compact-hash-check-time=1m warning-apply-duration=100ms
        warning-unary-request-duration=300ms downgrade-check-time=5s""",
    ),
    *_each(
        Treatment.IGNORED,
        _NOT_HERE,
        Kind.BOOL,
        """socket-reuse-port socket-reuse-address enable-pprof enable-grpc-gateway=true
        enable-distributed-tracing initial-corrupt-check compact-hash-check-enabled
        enable-lease-checkpoint enable-lease-checkpoint-persist set-member-localaddr
        enable-log-rotation enable-v2 debug""",
    ),
    *_each(
        Treatment.IGNORED,
        _NOT_HERE,
        Kind.TEXT,
        """feature-gates discovery-fallback=proxy proxy=off enable-v2v3 v2-deprecation=not-yet
        distributed-tracing-address=localhost:4317 distributed-tracing-service-name=etcd
        distributed-tracing-instance-id log-rotation-config-json log-package-levels""",
    ),
    *_each(
        Treatment.IGNORED,
        "metrics and health are served on the client port",
        Kind.TEXT,
        "listen-metrics-urls metrics=basic",
    ),
    *_each(
        Treatment.IGNORED,
        "the log goes to stderr as text",
        Kind.TEXT,
        "log-outputs=default log-format=json logger=zap",
    ),
)

FLAGS: tuple[Flag, ...] = (*_MEMBER, *_TLS, *_SAFETY, *_TUNING, *_OTHER)

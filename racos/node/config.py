"""What one node is told at its start: one frozen object, checked once.

`parse` reads etcd's flags and ETCD_* variables (`racos.node.flags`); `NodeConfig` itself checks
that its parts fit together, however it was made.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from urllib.parse import urlsplit

from racos.core.engine import ENGINES, LANES, data_fragments_max
from racos.node.flags import Ask, Asked, ConfigError, Given, help_text, read

__all__ = ["Ask", "Asked", "ConfigError", "NodeConfig", "address", "help_text", "parse"]

CLIENT_URL = "http://localhost:2379"
PEER_URL = "http://localhost:2380"
MEMBERS_MAX = 9  # the agreement's cover table and fragment sets are checked for n <= 9
LOG_LEVELS = ("debug", "info", "warn", "error", "panic", "fatal")
QUOTA_BYTES = 2 * 1024**3
INLINE_LIMIT_MAX = 1024**2  # bytes; whole values weigh on every message that tells of them


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """The configuration of one member. Raises ConfigError when its parts do not fit together."""

    name: str = "default"
    data_dir: Path = Path("default.etcd")
    listen_client_urls: tuple[str, ...] = (CLIENT_URL,)
    advertise_client_urls: tuple[str, ...] = (CLIENT_URL,)
    listen_peer_urls: tuple[str, ...] = (PEER_URL,)
    initial_advertise_peer_urls: tuple[str, ...] = (PEER_URL,)
    initial_cluster: tuple[tuple[str, tuple[str, ...]], ...] = (("default", (PEER_URL,)),)
    initial_cluster_state: str = "new"  # or "existing"
    initial_cluster_token: str = "etcd-cluster"
    quota_backend_bytes: int = QUOTA_BYTES  # 0: no quota
    max_request_bytes: int = 1572864
    max_txn_ops: int = 128
    watch_progress_notify_interval: float = 600.0  # seconds
    log_level: str = "info"
    suspect_after: float = 0.25  # seconds of silence
    lane_off_after: float = 5.0  # seconds for which a member is suspect before its lane is off
    data_fragments: int = 0  # k of the erasure code; 0: n - f
    inline_limit: int = 2048  # bytes; larger values are erasure coded
    heal_bytes_per_second: int = 32 * 1024**2  # of values whose fragments are missing here
    rewrite_bytes_per_second: int = 32 * 1024**2  # of the log, to give back what is dead around it
    scrub_bytes_per_second: int = 8 * 1024**2  # read, to find damage; 0: none
    history_bytes: int = 256 * 1024**2  # of the log, kept for members that are away
    segment_bytes: int = 64 * 1024**2  # of a segment of the log
    engine: str = LANES
    quota_auto_disarm: bool = False  # take back the NOSPACE alarm when there is room again
    corrupt_check_seconds: float = 60.0  # between comparisons of the members; 0: none
    warnings: tuple[str, ...] = ()  # one line each, for the operator

    @property
    def n(self) -> int:
        """Voting members."""
        return len(self.initial_cluster)

    @property
    def f(self) -> int:
        """Members that may fail."""
        return (self.n - 1) // 2

    @property
    def k(self) -> int:
        """Fragments that rebuild a value, 1 <= k <= n - f (n - 2f for the queue engine)."""
        return self.data_fragments or data_fragments_max(self.engine, self.n, self.f)

    def describe(self) -> str:
        """The whole configuration in one line, for the log at start; the token keys the coin and is
        left out."""
        hidden = ("warnings", "initial_cluster_token")
        shown = (field.name for field in fields(self) if field.name not in hidden)
        return " ".join(f"{name}={_shown(getattr(self, name))}" for name in shown)

    def __post_init__(self) -> None:
        _check_bindable("--listen-client-urls", self.listen_client_urls)
        _check_bindable("--listen-peer-urls", self.listen_peer_urls)
        _check_urls("--advertise-client-urls", self.advertise_client_urls)
        _check_urls("--initial-advertise-peer-urls", self.initial_advertise_peer_urls)
        _check_choice("--initial-cluster-state", self.initial_cluster_state, ("new", "existing"))
        _check_choice("--log-level", self.log_level, LOG_LEVELS)
        _check_choice("--engine", self.engine, ENGINES)
        _check_cluster(self)
        _check_sizes(self)


def parse(argv: Sequence[str], environ: Mapping[str, str]) -> NodeConfig:
    """The configuration by etcd's flags (argv without the program's name) and ETCD_* variables.

    Raises ConfigError (one line), or Asked when help or the version is wanted.
    """
    given = read(argv, environ)
    name = given.text("name")
    advertised = given.words("initial-advertise-peer-urls")
    if "listen-client-urls" in given and "advertise-client-urls" not in given:
        raise ConfigError(
            "--advertise-client-urls is required when --listen-client-urls is set explicitly"
        )
    return NodeConfig(
        name=name,
        data_dir=Path(given.text("data-dir") or f"{name}.etcd"),
        listen_client_urls=given.words("listen-client-urls"),
        advertise_client_urls=given.words("advertise-client-urls"),
        listen_peer_urls=given.words("listen-peer-urls"),
        initial_advertise_peer_urls=advertised,
        initial_cluster=_members(given, ((name, advertised),)),
        initial_cluster_state=given.text("initial-cluster-state"),
        initial_cluster_token=given.text("initial-cluster-token"),
        quota_backend_bytes=_quota(given.number("quota-backend-bytes")),
        max_request_bytes=given.number("max-request-bytes"),
        max_txn_ops=given.number("max-txn-ops"),
        watch_progress_notify_interval=given.seconds("watch-progress-notify-interval"),
        log_level=given.text("log-level"),
        suspect_after=given.seconds("suspect-after"),
        lane_off_after=given.seconds("lane-off-after"),
        data_fragments=given.number("data-fragments"),
        inline_limit=given.number("inline-limit"),
        heal_bytes_per_second=given.number("heal-rate"),
        rewrite_bytes_per_second=given.number("rewrite-rate"),
        scrub_bytes_per_second=given.number("scrub-rate"),
        history_bytes=given.number("history-bytes"),
        segment_bytes=given.number("segment-bytes"),
        engine=given.text("engine"),
        quota_auto_disarm=given.truth("quota-auto-disarm"),
        corrupt_check_seconds=given.seconds("corrupt-check-time"),
        warnings=given.warnings,
    )


def address(url: str) -> tuple[str, int]:
    """Host (IPv6 without brackets) and port of a plain http URL. Raises ConfigError."""
    if "://" not in url:
        raise ConfigError(f'"{url}" is not a URL: write it as http://HOST:PORT')
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ConfigError(f'"{url}" is not a URL: {error}') from None
    if parts.scheme in ("https", "unix", "unixs"):
        raise ConfigError(f"{parts.scheme}:// is not supported yet ({url}): use http://")
    if parts.scheme != "http":
        raise ConfigError(f"URL scheme must be http ({url})")
    if not host or port is None:
        raise ConfigError(f'URL does not have the form "http://HOST:PORT" ({url})')
    if parts.path or parts.query or parts.fragment or parts.username is not None:
        raise ConfigError(f"URL must hold nothing but scheme, host and port ({url})")
    return host, port


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(_shown(part) for part in value) or '""'
    return str(value)


def _quota(given: int) -> int:
    """etcd's rule: 0 means the default, a negative number none."""
    return QUOTA_BYTES if given == 0 else max(given, 0)


def _members(
    given: Given, alone: tuple[tuple[str, tuple[str, ...]], ...]
) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """The members in the order given; a name given twice has several URLs, as in etcd."""
    if "initial-cluster" not in given:
        return alone
    members: dict[str, list[str]] = {}
    for word in given.words("initial-cluster"):
        name, equals, url = word.partition("=")
        if not equals or not name or not url:
            raise ConfigError(f'--initial-cluster: "{word}" is not of the form NAME=URL')
        members.setdefault(name, []).append(url)
    return tuple((name, tuple(urls)) for name, urls in members.items())


def _check_urls(flag: str, urls: Iterable[str]) -> None:
    seen = set()
    for url in urls:
        try:
            place = _comparable(url)
        except ConfigError as error:
            raise ConfigError(f"{flag}: {error}") from None
        if place in seen and place[1] != 0:  # several free ports may be asked for
            raise ConfigError(f"{flag}: {url} is given twice")
        seen.add(place)
    if not seen:
        raise ConfigError(f"{flag} is empty: give at least one http://HOST:PORT")


def _check_bindable(flag: str, urls: Iterable[str]) -> None:
    _check_urls(flag, urls)
    for url in urls:
        host, _ = address(url)
        if host != "localhost" and not _is_ip(host):
            raise ConfigError(f"{flag}: expected IP in URL for binding ({url})")


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _comparable(url: str) -> tuple[str, int]:
    """Host and port such that the two ways of writing the loopback address are one."""
    host, port = address(url)
    return ("127.0.0.1" if host == "localhost" else host), port


def _check_choice(flag: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise ConfigError(f'{flag} is "{value}": want one of {", ".join(choices)}')


def _check_cluster(config: NodeConfig) -> None:
    members = dict(config.initial_cluster)
    if not 1 <= config.n <= MEMBERS_MAX or len(members) != config.n:
        raise ConfigError(
            f"--initial-cluster names {config.n} members: from 1 to {MEMBERS_MAX} different ones "
            "are supported"
        )
    _check_urls("--initial-cluster", [url for urls in members.values() for url in urls])
    own = members.get(config.name)
    if own is None:
        raise ConfigError(
            f'couldn\'t find local name "{config.name}" in the initial cluster configuration: '
            f"--initial-cluster names {', '.join(members)}; set --name to one of them"
        )
    if {_comparable(url) for url in own} != {
        _comparable(url) for url in config.initial_advertise_peer_urls
    }:
        raise ConfigError(
            f"--initial-cluster has {config.name}={','.join(own)} but "
            f"--initial-advertise-peer-urls is {','.join(config.initial_advertise_peer_urls)}: "
            "they must be the same"
        )


def _check_sizes(config: NodeConfig) -> None:
    if not config.name:
        raise ConfigError("--name is empty: give this member a name")
    most = data_fragments_max(config.engine, config.n, config.f)
    if not 0 <= config.data_fragments <= most:
        raise ConfigError(
            f"--data-fragments is {config.data_fragments}: with {config.n} members, {config.f} of "
            f"which may fail, and --engine {config.engine}, want 1 to {most} (0 takes {most})"
        )
    for flag, size in (
        ("--max-request-bytes", config.max_request_bytes),
        ("--max-txn-ops", config.max_txn_ops),
        ("--suspect-after", config.suspect_after),
        ("--lane-off-after", config.lane_off_after),
        ("--heal-rate", config.heal_bytes_per_second),
        ("--rewrite-rate", config.rewrite_bytes_per_second),
        ("--segment-bytes", config.segment_bytes),
        ("--watch-progress-notify-interval", config.watch_progress_notify_interval),
    ):
        if size <= 0:
            raise ConfigError(f"{flag} must be above 0")
    if not 0 <= config.inline_limit <= INLINE_LIMIT_MAX:
        raise ConfigError(
            f"--inline-limit is {config.inline_limit}: want 0 to {INLINE_LIMIT_MAX} bytes"
        )

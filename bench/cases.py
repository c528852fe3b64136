"""The workloads by name, and cases: a workload at one value size, with so many clients."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from bench import pages
from bench.draws import DISTRIBUTIONS, LATEST, UNIFORM, ZIPFIAN
from bench.fill import Fill, Filling, FillMany
from bench.kube import Kube
from bench.leases import GrantAll, Grants, KeepAlives
from bench.mixes import RECIPES, SCAN_AVERAGE, VALUE_MIN, Mix
from bench.pages import Counts, Pages
from bench.swaps import Swaps
from bench.workload import Gets, Puts, Rewrites, Values, Workload

PUT: Final = "put"
REWRITE: Final = "rewrite"
GET: Final = "get"
GET_SERIALIZABLE: Final = "get-serializable"
GET_COLD: Final = "get-cold"
TXN: Final = "txn"
PAGE: Final = "page"
COUNT: Final = "count"
WATCH: Final = "watch"
LEASE_GRANT: Final = "lease-grant"
LEASE_KEEPALIVE: Final = "lease-keepalive"
KUBE: Final = "kube"

_UNITS: Final = {"": 1, "b": 1, "k": 2**10, "kib": 2**10, "m": 2**20, "mib": 2**20}


class _Kind(NamedTuple):
    """A workload's usual parameters, and the values that one operation moves on average."""

    text: str
    size: int
    clients: int
    moved: float = 1.0
    written: float = 0.0
    distribution: str = ""  # of the keys, where it can be chosen
    filled: bool = True  # all keys must have been put before
    changes: bool = True  # the keys do not hold afterwards what they were filled with
    size_min: int = 0
    unit: str = "clients"


def _mix(name: str, text: str, distribution: str) -> _Kind:
    recipe = RECIPES[name]
    written = recipe.update + recipe.insert + recipe.modify
    moved = recipe.read + recipe.modify + written + recipe.scan * SCAN_AVERAGE
    return _Kind(text, 1024, 100, moved, written, distribution, size_min=VALUE_MIN)


_KINDS: Final = {
    PUT: _Kind("put", 256, 100, written=1.0, filled=False),
    REWRITE: _Kind("put of the value the key has", 256, 100, written=1.0, changes=False),
    GET: _Kind("linearizable get", 256, 100, changes=False),
    GET_SERIALIZABLE: _Kind("serializable get", 256, 100, changes=False),
    GET_COLD: _Kind("linearizable get, not cached", 2**20, 16, changes=False),
    TXN: _Kind("compare-and-put", 256, 100, written=1.0, filled=False),
    PAGE: _Kind(f"page of {pages.LIMIT} keys", 256, 8, moved=pages.LIMIT, changes=False),
    COUNT: _Kind("exact count of all keys", 256, 8, moved=0.0, changes=False),
    "mixed": _mix("mixed", "70% get, 30% put", UNIFORM),
    "ycsb-a": _mix("ycsb-a", "YCSB A", ZIPFIAN),
    "ycsb-b": _mix("ycsb-b", "YCSB B", ZIPFIAN),
    "ycsb-c": _mix("ycsb-c", "YCSB C", ZIPFIAN),
    "ycsb-d": _mix("ycsb-d", "YCSB D", LATEST),
    "ycsb-e": _mix("ycsb-e", "YCSB E", ZIPFIAN),
    "ycsb-f": _mix("ycsb-f", "YCSB F", ZIPFIAN),
    KUBE: _Kind("Kubernetes-like mix", 1024, 100, moved=0.0, filled=False, size_min=VALUE_MIN),
    WATCH: _Kind("events to watchers", 256, 100, filled=False, size_min=VALUE_MIN, unit="watchers"),
    LEASE_GRANT: _Kind("lease grant and revoke", 0, 100, moved=0.0, filled=False, changes=False),
    LEASE_KEEPALIVE: _Kind("lease keep-alive", 0, 100, moved=0.0, changes=False),
}
WORKLOADS: Final = tuple(_KINDS)
_READS: Final = (GET, GET_SERIALIZABLE, GET_COLD)
_LEASES: Final = (LEASE_GRANT, LEASE_KEEPALIVE)
_FAULT_WORKLOADS: Final = (PUT, *_READS)

_KEYS: Final = 10_000
_KEY_SPACE_BYTES: Final = 64 * 2**20  # fewer keys for large values, lest filling them takes minutes
# More than two nodes of Racos keep of decoded values, so that reads in turns never meet one.
_COLD_BYTES: Final = 192 * 2**20
_LEASES_USUAL: Final = 1000
_KUBE_USUAL: Final = 2000  # objects
# So many small keys are put by transactions, lest filling takes longer than measuring.
_FILL_MANY: Final = 20_000
_FILL_MANY_SIZE_MAX: Final = 4096

# What `racos bench compare` runs unless told otherwise: NAME:SIZE:CLIENTS.
USUAL: Final = (
    "put:256:1",
    "put:256:100",
    "put:4k:100",
    "put:64k:32",
    "put:1m:16",
    "get:256:100",
    "get-serializable:256:100",
    "mixed:256:100",
    "ycsb-a:1k:100",
    "ycsb-a:64k:32",
    "ycsb-b:1k:100",
    "ycsb-c:1k:100",
    "ycsb-d:1k:100",
    "ycsb-e:1k:32",
    "ycsb-f:1k:100",
    "txn:256:100",
    "page:256:8",
    "kube:1k:100",
    "watch:256:100",
    "lease-grant::100",
    "lease-keepalive::100",
)


# What `racos bench grow` runs at each level: what keeps the keys as they were.
GROWTH: Final = ("get:256:100", "page:256:1", "count:256:1", "rewrite:256:100")


@dataclass(frozen=True, slots=True)
class Case:
    """A workload with its parameters; raises ValueError when they do not fit together."""

    workload: str
    size: int  # bytes of a value
    clients: int  # or, of WATCH, watchers
    distribution: str = ""  # of the keys; empty where the workload has an order of its own
    rate: float = 0.0  # operations offered per second (of WATCH: puts); 0: a closed loop
    keys: int = 0  # keys (or leases) in use; 0: as usual
    down: int = 0  # nodes killed before the load begins
    kill: float = 0.0  # seconds into the window when a node is killed; 0: none is

    def __post_init__(self) -> None:
        kind = _KINDS.get(self.workload)
        if kind is None:
            raise ValueError(f"{self.workload!r} is none of {', '.join(WORKLOADS)}")
        if self.clients < 1:
            raise ValueError("a workload needs at least one client")
        if min(self.rate, self.keys, self.down, self.kill) < 0:
            raise ValueError("rate, keys, down and kill cannot be negative")
        if bool(kind.distribution) != bool(self.distribution):
            raise ValueError(f"{self.workload} takes no distribution of keys")
        if self.size < kind.size_min:
            raise ValueError(f"{self.workload} needs values of at least {kind.size_min} bytes")
        if self.kill and self.workload not in _FAULT_WORKLOADS:
            raise ValueError(f"{self.workload} does not try again, so it cannot lose a node")
        if kind.distribution:
            self._check_distribution()

    def _check_distribution(self) -> None:
        if self.distribution not in DISTRIBUTIONS:
            raise ValueError(f"{self.distribution!r} is none of {', '.join(DISTRIBUTIONS)}")
        recipe = RECIPES[self.workload]
        if self.distribution == LATEST and (recipe.update or recipe.modify or recipe.scan):
            raise ValueError(f"{self.workload} changes or scans old keys, not the latest")

    @classmethod
    def parse(cls, text: str) -> Case:
        """A case from NAME[:SIZE[:CLIENTS[:DISTRIBUTION]]][,OPTION=NUMBER].. ; raises ValueError.

        Options: rate, keys, down, kill.
        """
        head, *options = text.strip().split(",")
        name, *rest = head.split(":")
        kind = _KINDS.get(name)
        if kind is None or len(rest) > 3:
            raise ValueError(
                f"{text!r} is no workload: want NAME[:SIZE[:CLIENTS[:DISTRIBUTION]]], "
                f"NAME one of {', '.join(WORKLOADS)}"
            )
        size, clients, distribution = (*rest, "", "", "")[:3]
        if clients and not clients.isdecimal():
            raise ValueError(f"{clients!r} is no number of clients")
        case = cls(
            name,
            parse_size(size) if size else kind.size,
            int(clients) if clients else kind.clients,
            distribution or kind.distribution,
        )
        for option in options:
            case = case._with(option)
        return case

    def _with(self, option: str) -> Case:
        name, _, number = option.strip().partition("=")
        match name:
            case "rate":
                return replace(self, rate=float(parse_count(number)))
            case "keys":
                return replace(self, keys=parse_count(number))
            case "down":
                return replace(self, down=parse_count(number))
            case "kill":
                return replace(self, kill=_seconds(number))
        raise ValueError(f"{option!r} is no option: want rate=, keys=, down= or kill=")

    @property
    def text(self) -> str:
        """What is done, in a few words."""
        keys = f", {self.distribution} keys" if self.distribution else ""
        return _KINDS[self.workload].text + keys

    @property
    def load_text(self) -> str:
        """How large, how many at once, and what else is special."""
        unit = _KINDS[self.workload].unit
        parts = [f"{self.clients} {unit[:-1] if self.clients == 1 else unit}"]
        if self.size:
            parts.insert(0, size_text(self.size))
        if self.rate:
            parts.append(f"{self.rate:,g}/s offered")
        if self.keys:
            parts.append(f"{self.keys:,} {'leases' if self.workload in _LEASES else 'keys'}")
        if self.down:
            parts.append(f"{self.down} down")
        if self.kill:
            parts.append(f"a node killed after {self.kill:g} s")
        return ", ".join(parts)

    @property
    def full_text(self) -> str:
        """All of it in one line."""
        return f"{self.text}, {self.load_text}"

    @property
    def moved_bytes(self) -> float:
        """Bytes of values that an operation reads or writes, on average."""
        return _KINDS[self.workload].moved * self.size

    @property
    def written_bytes(self) -> float:
        """Bytes of values that an operation writes, on average."""
        if self.workload == WATCH:
            return self.size / self.clients  # an operation is one watcher's event
        return _KINDS[self.workload].written * self.size

    @property
    def key_count(self) -> int:
        """Keys in use; a multiple of the clients, so that each client has keys of its own."""
        wanted = self.keys or self._usual_keys()
        return -(-wanted // self.clients) * self.clients

    def _usual_keys(self) -> int:
        if self.workload == GET_COLD:
            return max(1, _COLD_BYTES // max(1, self.size))
        if self.workload in _LEASES:
            return _LEASES_USUAL
        if self.workload == KUBE:
            return _KUBE_USUAL
        return min(_KEYS, max(1, _KEY_SPACE_BYTES // max(1, self.size)))

    @property
    def needs_keys(self) -> bool:
        """Whether all keys must have been put before."""
        return _KINDS[self.workload].filled

    @property
    def changes_keys(self) -> bool:
        """Whether the keys hold something else afterwards than what they were filled with."""
        return _KINDS[self.workload].changes

    @property
    def fills_one_node(self) -> bool:
        """Whether the keys are put through the first node, and read from the others."""
        return self.workload == GET_COLD

    @property
    def items(self) -> int:
        """Keys or watchers that the servers hold when the load begins."""
        if self.counts_events:
            return self.clients
        return self.key_count if self.needs_keys and not self.fills_leases else 0

    @property
    def fills_leases(self) -> bool:
        """Whether what must be there before are leases, not keys."""
        return self.workload == LEASE_KEEPALIVE

    @property
    def uses_streams(self) -> bool:
        """Whether each client asks over a stream of its own."""
        return self.workload == LEASE_KEEPALIVE

    @property
    def counts_events(self) -> bool:
        """Whether an operation is an event that a watcher sees."""
        return self.workload == WATCH

    def workload_of(self, values: Values, keys: int, seed: int, token: int = 0) -> Workload:
        """Its requests and checks, over so many keys; `token` differs from run to run."""
        if self.workload in RECIPES:
            return Mix(values, keys, RECIPES[self.workload], self.distribution, seed)
        if self.workload in _READS:
            return Gets(values, keys, serializable=self.workload == GET_SERIALIZABLE)
        if self.workload == KUBE:
            return Kube(values, keys, self.clients, seed)
        if self.workload == LEASE_GRANT:
            return Grants(token)
        if self.workload == LEASE_KEEPALIVE:
            return KeepAlives(token, keys)
        return _PLAIN[self.workload](values, keys)

    def filling_of(self, values: Values, first: int, keys: int, token: int) -> Filling:
        """The puts (or grants) that must come before, of keys `first` to `keys` - 1."""
        if self.fills_leases:
            return GrantAll(token, keys)
        if keys - first >= _FILL_MANY and self.size <= _FILL_MANY_SIZE_MAX:
            return FillMany(values, first, keys)
        return Fill(values, first, keys)


_PLAIN: Final[dict[str, Callable[[Values, int], Workload]]] = {
    PUT: Puts,
    REWRITE: Rewrites,
    TXN: Swaps,
    PAGE: Pages,
    COUNT: Counts,
    WATCH: Puts,
}


def parse_count(text: str) -> int:
    """A number such as `500`, `10k` or `1m` (thousands, millions); raises ValueError."""
    match = re.fullmatch(r"(\d+)([km]?)", text.strip().lower())
    if match is None:
        raise ValueError(f"{text!r} is no number: want digits, or a number with k or m")
    return int(match[1]) * {"": 1, "k": 1000, "m": 1_000_000}[match[2]]


def _seconds(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{text!r} is no number of seconds") from None


def parse_size(text: str) -> int:
    """Bytes of `256`, `64k`, `64KiB` or `1M`; raises ValueError."""
    match = re.fullmatch(r"(\d+)\s*([a-z]*)", text.strip().lower())
    if match is None or match[2] not in _UNITS:
        raise ValueError(f"{text!r} is no size: want bytes, or a number with k or m")
    return int(match[1]) * _UNITS[match[2]]


def size_text(size: int) -> str:
    """A size in bytes as people say it."""
    for unit, name in ((2**20, "MiB"), (2**10, "KiB")):
        if size >= unit and size % unit == 0:
            return f"{size // unit} {name}"
    return f"{size} B"

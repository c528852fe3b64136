"""The workloads by name, and cases: a workload at one value size, with so many clients."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, NamedTuple

from bench import pages
from bench.draws import DISTRIBUTIONS, LATEST, UNIFORM, ZIPFIAN
from bench.mixes import RECIPES, VALUE_MIN, Mix
from bench.pages import Pages
from bench.swaps import Swaps
from bench.workload import Gets, Puts, Values, Workload

PUT: Final = "put"
GET: Final = "get"
GET_SERIALIZABLE: Final = "get-serializable"
TXN: Final = "txn"
PAGE: Final = "page"

_UNITS: Final = {"": 1, "b": 1, "k": 2**10, "kib": 2**10, "m": 2**20, "mib": 2**20}


class _Kind(NamedTuple):
    """A workload's usual parameters, and the values that one operation moves on average."""

    text: str
    size: int
    clients: int
    moved: float = 1.0
    written: float = 0.0
    distribution: str = ""  # of the keys, where it can be chosen


def _mix(name: str, text: str, distribution: str) -> _Kind:
    recipe = RECIPES[name]
    written = recipe.update + recipe.insert + recipe.modify
    return _Kind(text, 1024, 100, recipe.read + recipe.modify + written, written, distribution)


_KINDS: Final = {
    PUT: _Kind("put", 256, 100, written=1.0),
    GET: _Kind("linearizable get", 256, 100),
    GET_SERIALIZABLE: _Kind("serializable get", 256, 100),
    TXN: _Kind("compare-and-put", 256, 100, written=1.0),
    PAGE: _Kind(f"page of {pages.LIMIT} keys", 256, 8, moved=pages.LIMIT),
    "mixed": _mix("mixed", "70% get, 30% put", UNIFORM),
    "ycsb-a": _mix("ycsb-a", "YCSB A", ZIPFIAN),
    "ycsb-b": _mix("ycsb-b", "YCSB B", ZIPFIAN),
    "ycsb-c": _mix("ycsb-c", "YCSB C", ZIPFIAN),
    "ycsb-d": _mix("ycsb-d", "YCSB D", LATEST),
    "ycsb-f": _mix("ycsb-f", "YCSB F", ZIPFIAN),
}
WORKLOADS: Final = tuple(_KINDS)

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
    "ycsb-f:1k:100",
    "txn:256:100",
    "page:256:8",
)


@dataclass(frozen=True, slots=True)
class Case:
    """A workload with its parameters; raises ValueError when they do not fit together."""

    workload: str
    size: int  # bytes of a value
    clients: int
    distribution: str = ""  # of the keys; empty where the workload has an order of its own

    def __post_init__(self) -> None:
        kind = _KINDS.get(self.workload)
        if kind is None:
            raise ValueError(f"{self.workload!r} is none of {', '.join(WORKLOADS)}")
        if self.clients < 1:
            raise ValueError("a workload needs at least one client")
        if bool(kind.distribution) != bool(self.distribution):
            raise ValueError(f"{self.workload} takes no distribution of keys")
        if kind.distribution:
            self._check_mix()

    def _check_mix(self) -> None:
        if self.size < VALUE_MIN:
            raise ValueError(f"{self.workload} needs values of at least {VALUE_MIN} bytes")
        if self.distribution not in DISTRIBUTIONS:
            raise ValueError(f"{self.distribution!r} is none of {', '.join(DISTRIBUTIONS)}")
        recipe = RECIPES[self.workload]
        if self.distribution == LATEST and (recipe.update or recipe.modify):
            raise ValueError(f"{self.workload} changes old keys, so it cannot read the latest")

    @classmethod
    def parse(cls, text: str) -> Case:
        """A case from NAME[:SIZE[:CLIENTS[:DISTRIBUTION]]]; raises ValueError."""
        name, *rest = text.strip().split(":")
        kind = _KINDS.get(name)
        if kind is None or len(rest) > 3:
            raise ValueError(
                f"{text!r} is no workload: want NAME[:SIZE[:CLIENTS[:DISTRIBUTION]]], "
                f"NAME one of {', '.join(WORKLOADS)}"
            )
        size, clients, distribution = (*rest, "", "", "")[:3]
        if clients and not clients.isdecimal():
            raise ValueError(f"{clients!r} is no number of clients")
        return cls(
            name,
            parse_size(size) if size else kind.size,
            int(clients) if clients else kind.clients,
            distribution or kind.distribution,
        )

    @property
    def text(self) -> str:
        """What is done, in a few words."""
        keys = f", {self.distribution} keys" if self.distribution else ""
        return _KINDS[self.workload].text + keys

    @property
    def load_text(self) -> str:
        """How large and how many at once."""
        clients = "1 client" if self.clients == 1 else f"{self.clients} clients"
        return f"{size_text(self.size)}, {clients}"

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
        return _KINDS[self.workload].written * self.size

    @property
    def needs_keys(self) -> bool:
        """Whether all keys must have been put before."""
        return self.workload not in (PUT, TXN)

    def workload_of(self, values: Values, keys: int, seed: int) -> Workload:
        """Its requests and checks, over so many keys."""
        if self.workload == PUT:
            return Puts(values, keys)
        if self.workload == TXN:
            return Swaps(values, keys)
        if self.workload == PAGE:
            return Pages(values, keys)
        if self.workload in RECIPES:
            return Mix(values, keys, RECIPES[self.workload], self.distribution, seed)
        return Gets(values, keys, serializable=self.workload == GET_SERIALIZABLE)


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

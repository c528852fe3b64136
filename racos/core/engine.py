"""What drives agreement, as its driver sees it: `core.replica.Replica`, or the queue engine.

Both are synchronous and pure; `replica` tells how to feed one and carry out its effects. Positions
name batches: for lanes their slots, which are also their order; for the queue engine `names` in an
AppliedRecord and a Chunk say which batch is in which slot.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol

from racos.core.config import Change, Config, Configs
from racos.core.effects import Chunk, Effects
from racos.core.messages import Message, Payload, Record
from racos.core.peers import Peers
from racos.core.quorum import Quorum
from racos.core.reads import Barrier
from racos.core.replica import Settings

LANES: Final = "lanes"  # docs/protocol.md
QUEUE: Final = "queue"  # the published algorithm, for comparison: docs/queue-engine.md
ENGINES: Final = (LANES, QUEUE)


def data_fragments_max(engine: str, nodes: int, faults: int) -> int:
    """The largest k: the queue engine never widens, so it needs n >= 2f + k, as published."""
    return nodes - faults if engine == LANES else nodes - 2 * faults


class OpenBatch(Protocol):
    """A batch that is not applied."""

    @property
    def payload(self) -> Payload | None: ...

    @property
    def decided(self) -> int | None: ...

    @property
    def round(self) -> int: ...

    @property
    def lane(self) -> int: ...


class Progress(Protocol):
    """How far a replica is."""

    @property
    def frontier(self) -> int:
        """The lowest slot not applied."""

    @property
    def round(self) -> int: ...

    @property
    def slots(self) -> Mapping[int, OpenBatch]: ...

    def forget_below(self, position: int) -> None:
        """Give up what was decided below; who asks for it takes the state of this replica."""


class Counting(Protocol):
    @property
    def statistics(self) -> dict[str, int]:
        """Decisions by kind, phases, and what else an engine counts."""


class Said(Protocol):
    """A batch found in the log and not applied."""

    payload: Payload | None


class History(Protocol):
    """What a log says, record by record; the state that a replica starts from."""

    configs: tuple[Config, ...]  # upon which `changes` come

    @property
    def frontier(self) -> int: ...

    @property
    def slots(self) -> Mapping[int, Said]: ...

    @property
    def changes(self) -> list[tuple[int, Change]]:
        """Of the configuration among the batches shown: the driver adds them, in order."""

    def add(self, record: Record) -> list[int]:
        """Take the next record; returns the positions it shows to be applied, in order."""


class Engine(Protocol):
    """See `racos.core.replica.Replica` for the meaning of each."""

    @property
    def settings(self) -> Settings: ...
    @property
    def quorum(self) -> Quorum: ...
    @property
    def peers(self) -> Peers: ...
    @property
    def barrier(self) -> Barrier: ...
    @property
    def window(self) -> Progress: ...
    @property
    def agreement(self) -> Counting: ...
    @property
    def configs(self) -> Configs: ...
    @property
    def highest_round(self) -> int: ...
    def tick(self, now: float) -> None: ...
    def peer_up(self, peer: int) -> None: ...
    def peer_down(self, peer: int) -> None: ...
    def receive(self, sender: int, message: Message) -> None: ...
    def propose(self, payload: Payload) -> int | None: ...
    def can_propose(self) -> bool: ...
    def read(self, ticket: int) -> None: ...
    def persisted(self, token: int) -> None: ...
    def rebuilt(self, position: int, payload: Payload, held: int) -> None: ...
    def install(self, sender: int, chunk: Chunk) -> None: ...
    def change(self, position: int, change: Change) -> Config | None: ...
    def take_effects(self) -> Effects: ...

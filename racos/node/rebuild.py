"""Fragments of a batch made again from its values, for whoever should hold them and does not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

from racos.core.engine import Engine
from racos.core.messages import Payload
from racos.core.quorum import bits
from racos.erasure.codec import BadFragment, Buffer, Codec
from racos.erasure.verify import check_fragment
from racos.errors import Corrupt, RequestTimedOut
from racos.mvcc.command import CodedValue
from racos.node.batch import coded_values

Found: TypeAlias = dict[CodedValue, bytes]
Fragments: TypeAlias = dict[int, list[Buffer]]  # index -> that fragment of each value of the batch


class Load(Protocol):
    """Gets the verified bytes of all values, or the first failure."""

    def __call__(
        self, values: Sequence[CodedValue], done: Callable[[Found | Exception], None], /
    ) -> None: ...


def rebuild(
    load: Load,
    codec: Codec,
    values: Sequence[CodedValue],
    mask: int,
    done: Callable[[Fragments | Exception], None],
) -> None:
    """Call `done` with the fragments `mask` (bit set) of a batch's values, or with why not.

    Corrupt when a fragment is not the one that was agreed on: no replica has a better one.
    """

    def loaded(outcome: Found | Exception) -> None:
        if isinstance(outcome, Exception):
            done(outcome)
            return
        try:
            fragments = _encode(codec, values, outcome, mask)
        except BadFragment as bad:
            done(Corrupt(str(bad)))
            return
        done(fragments)

    load(values, loaded)


def rebuild_open(
    replica: Engine,
    load: Load,
    codec: Codec,
    report: Callable[[str], None],
    position: int,
    mask: int,
) -> None:
    """Tell a replica the fragments `mask` that it should hold of an open batch, from those that
    others hold; tried again until there are enough, or the batch is decided.
    """
    slot = replica.window.slots.get(position)
    if slot is None or slot.payload is None or slot.decided is not None:
        return
    descriptor = slot.payload.descriptor

    def done(outcome: Fragments | Exception) -> None:
        if isinstance(outcome, RequestTimedOut):
            rebuild_open(replica, load, codec, report, position, mask)
        elif isinstance(outcome, Exception):
            report(f"value.rebuild_failed position={position}: {outcome}")
        else:
            replica.rebuilt(position, Payload(descriptor, True, outcome), mask)

    rebuild(load, codec, coded_values(descriptor, slot.round, slot.lane), mask, done)


def _encode(codec: Codec, values: Sequence[CodedValue], found: Found, mask: int) -> Fragments:
    fragments: Fragments = {index: [] for index in bits(mask)}
    for value in values:
        encoded = codec.encode(found[value])
        for index, parts in fragments.items():
            check_fragment(encoded[index], value.fragment_digests[index])
            parts.append(encoded[index])
    return fragments

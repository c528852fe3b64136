"""Fragments of a batch made again from its values, for whoever should hold them and does not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

from racos.core.quorum import bits
from racos.erasure.codec import BadFragment, Codec
from racos.erasure.verify import check_fragment
from racos.errors import Corrupt
from racos.mvcc.command import CodedValue

Found: TypeAlias = dict[CodedValue, bytes]
Fragments: TypeAlias = dict[int, list[bytes]]  # index -> that fragment of each value of the batch


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


def _encode(codec: Codec, values: Sequence[CodedValue], found: Found, mask: int) -> Fragments:
    fragments: Fragments = {index: [] for index in bits(mask)}
    for value in values:
        encoded = codec.encode(found[value])
        for index, parts in fragments.items():
            check_fragment(encoded[index], value.fragment_digests[index])
            parts.append(encoded[index])
    return fragments
